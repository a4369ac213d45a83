"""The journal's Disk, in memory: a call may be the last, be late, or fail."""

from __future__ import annotations

import errno
from contextlib import contextmanager
from pathlib import Path

from receiver.stores.journal.disk import Draft

from .storage import File, Folder, Mark, failure


class Reading:
    """A file that one actor reads while another writes it."""

    def __init__(self, file, pause):
        self._file = file
        self._pause = pause
        self._position = 0

    def read(self, size=-1):
        """Read as BinaryIO does."""
        self._pause()
        cache = self._file.cache
        end = len(cache) if size < 0 else self._position + size
        data = bytes(cache[self._position : end])
        self._position += len(data)
        return data

    def seek(self, offset, whence=0):
        """Seek as BinaryIO does, from the beginning or the end."""
        self._position = offset + (len(self._file.cache) if whence else 0)
        return self._position


class ModelDisk:
    """A disk as receiver.stores.journal uses it; composite calls have the steps of PosixDisk."""

    def __init__(self, storage, label=""):
        self.storage = storage
        self.label = label
        self.handles = {}  # number: [file, failures that it knows of]
        self._number = 0
        self._known = storage.failures

    def step(self, name, what):
        """Run before each system call; simulations override this."""

    def glance(self):
        """Run before each read of an open file."""

    def fails(self, *codes):
        """Return one of *codes* if the disk refuses the call, otherwise None."""

    def torn(self, size):
        """Return how many of *size* bytes are written before the disk refuses."""
        return size

    # From here on, the methods of PosixDisk.

    def names(self, folder):
        self.step("names", folder)
        found = self.storage.find(folder)
        return list(found.entries) if found else []

    def make_folder(self, folder):
        self.step("is_dir", folder)
        if self.storage.find(folder):
            return
        self.make_folder(folder.parent)
        self.add_folder(folder)
        self.sync_folder(folder.parent)

    def add_folder(self, folder):
        self.step("mkdir", folder)
        entries = self.storage.require(folder.parent).entries
        new = folder.name not in entries
        entries.setdefault(folder.name, Folder())
        return new

    def create(self, path):
        self.step("create", path)
        folder = self.storage.require(path.parent)
        if path.name in folder.entries:
            raise failure(errno.EEXIST)
        self._refuse(errno.EIO, errno.ENOSPC)
        folder.entries[path.name] = File()
        return self._open(path)

    def reserve(self, handle, size):
        self.step("reserve", handle)

    def write(self, handle, buffers):
        self.step("write", handle)
        file, data = self.handles[handle][0], b"".join(buffers)
        if data and (code := self.fails(errno.EIO, errno.ENOSPC)):
            file.append(data[: self.torn(len(data))])
            raise failure(code)
        file.append(data)

    def sync(self, handle):
        self.step("sync", handle)
        self._flush(self.handles[handle])

    def close(self, handle):
        self.step("close", handle)
        del self.handles[handle]

    def linked(self, handle):
        self.step("linked", handle)
        return self.handles[handle][0].links > 0

    def exists(self, path):
        self.step("exists", path)
        return self.storage.find(path) is not None

    def idle(self, path):
        self.step("idle", path)
        return 0.0

    @contextmanager
    def read(self, path):
        self.step("open", path)
        yield Reading(self.storage.require(path), self.glance)

    def sync_file(self, path):
        self.step("open", path)
        file = self.storage.require(path)
        known, size = [file, file.failures], len(file.cache)
        self.step("fsync", path)
        self._flush(known)
        self.step("evict", path)
        file.evict()
        return size

    def evict(self, path):
        self.step("evict", path)
        self.storage.require(path).evict()

    def sync_all(self):
        """Sync every file and folder; fail if data was lost since the last such call, by anyone."""
        self.step("sync_all", None)
        for node in self.storage.nodes():
            if isinstance(node, Folder):
                node.sync()
            elif node.clean < len(node.cache) and self.fails(errno.EIO):
                self._lose(node)
            else:
                node.flush()
        if self._known != self.storage.failures:
            self._known = self.storage.failures
            raise failure(errno.EIO)

    def sync_folder(self, folder):
        self.step("sync_folder", folder)
        self._refuse(errno.EIO)
        self.storage.require(folder).sync()

    def replace(self, path, data):
        self._number += 1
        draft = path.with_name(f".{path.name}.{self.label}.{self._number}")
        handle = self.create(draft)
        try:
            self.write(handle, [data])
            self.sync(handle)
            self.rename(draft, path)
        except OSError:
            self.remove(draft)
            raise
        finally:
            self.close(handle)

    @contextmanager
    def draft(self, path, data):
        self._number += 1
        draft = path.with_name(f".{path.name}.{self.label}.{self._number}")
        handle = self.create(draft)
        try:
            self.write(handle, [data])
            yield Draft(draft, handle)
        finally:
            self.remove(draft)
            self.close(handle)

    def rename(self, path, target):
        self.move(path, target)
        self.sync_folder(target.parent)

    def move(self, path, target):
        self.step("rename", path)
        folder = self.storage.require(path.parent)
        file = folder.entries.pop(path.name)
        self._unlink(target)
        folder.entries[target.name] = file

    def take(self, path, owner):
        self.step("take", path)
        return self.storage.require(path.parent).entries.setdefault(path.name, Mark(owner)).owner

    def taken(self, path):
        self.step("taken", path)
        found = self.storage.find(path)
        return found and found.owner

    def remove(self, path):
        self.step("remove", path)
        self._unlink(path)

    def remove_folder(self, folder):
        self.step("remove_folder", folder)
        found, above = self.storage.find(folder), self.storage.find(folder.parent)
        if found is not None and not found.entries:
            del above.entries[folder.name]

    @contextmanager
    def lock(self, folder):
        self.step("lock", folder)
        found = self.storage.require(folder)
        mine = not found.locked
        found.locked = True
        try:
            yield mine
        finally:
            if mine:
                found.locked = False

    def free(self, folder):
        raise NotImplementedError

    def _open(self, path: Path):
        self._number += 1
        file = self.storage.require(path)
        self.handles[self._number] = [file, file.failures]
        return self._number

    def _flush(self, known):
        file = known[0]
        if file.clean < len(file.cache) and (code := self.fails(errno.EIO)):
            self._lose(file)
            known[1] = file.failures
            raise failure(code)
        if known[1] != file.failures:
            known[1] = file.failures
            raise failure(errno.EIO)
        file.flush()

    def _lose(self, file):
        self.spoil(file)
        self.storage.failures += 1

    def spoil(self, file):
        """Fail to write *file* to the platter."""

    def _unlink(self, path):
        node = self.storage.require(path.parent).entries.pop(path.name, None)
        if node is not None:
            node.links -= 1

    def _refuse(self, *codes):
        if code := self.fails(*codes):
            raise failure(code)
