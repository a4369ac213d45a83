"""
A disk of Linux: every system call of the journal, in one place.

Tests put a disk that fails in its place.
"""

from __future__ import annotations

import ctypes
import errno
import fcntl
import os
import platform
import re
import sys
import time
import uuid
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from io import BufferedReader
from math import inf
from pathlib import Path
from typing import Final, NamedTuple

from sonoduct.wire import Buffer, StorageFailed

INODES: Final = 1000
INODE_SHARE: Final = 10
"""
Inodes kept free for the segments and recordings of open streams.

On a small file system a tenth of its inodes is kept free instead.
"""

MOST_BUFFERS: Final = 512
"""Buffers in one writev; Linux takes 1024 (IOV_MAX)."""

KNOWN: Final = {0xEF53: "ext4", 0x58465342: "xfs", 0x9123683E: "btrfs"}
"""File systems on which syncfs reports faults, by f_type of statfs(2)."""

SINCE: Final = (5, 8)
"""Version of Linux since which it does."""

KEEP_SIZE: Final = 1
"""The flag of fallocate(2) that leaves the file's size as it is: FALLOC_FL_KEEP_SIZE."""

_STATFS_BYTES: Final = 512  # 120 are used; f_type is the first of its fields
_LIBC: Final = ctypes.CDLL(None, use_errno=True)


class Facts(NamedTuple):
    """What a folder says about a file; the file need not be opened."""

    idle: float
    """Seconds since the file was last written to."""
    size: int


class Room(NamedTuple):
    """The size of a file system, for everybody and for this user."""

    total_bytes: int
    total_inodes: float
    """Infinite on a file system that makes inodes when it needs them, such as btrfs."""
    free_inodes: float


class Draft(NamedTuple):
    """A small file that has another name until it is durable."""

    path: Path
    handle: int


class PosixDisk:
    """A local file system: files and folders. Every method raises OSError if the disk refuses."""

    def names(self, folder: Path) -> list[str]:
        """Return the names in *folder*; an empty list if the folder does not exist."""
        try:
            return os.listdir(folder)  # noqa: PTH208  # names, not paths
        except FileNotFoundError:
            return []

    def facts(self, folder: Path, name: str) -> Iterator[tuple[str, Facts | None]]:
        """Yield each name in *folder*, with the facts of the file *name* below it, if any."""
        for each in self.names(folder):
            facts = None
            with suppress(OSError):  # not a folder, or it is gone, or a look into it will tell
                stat = os.stat(f"{folder}/{each}/{name}")  # noqa: PTH116  # 3 µs instead of 10
                facts = Facts(time.time() - stat.st_mtime, stat.st_size)
            yield each, facts

    def make_folder(self, folder: Path) -> None:
        """Create *folder* and its missing parents, durably."""
        if folder.is_dir():
            return
        self.make_folder(folder.parent)
        self.add_folder(folder)
        self.sync_folder(folder.parent)

    def add_folder(self, folder: Path) -> bool:
        """Create *folder*, but do not make its name durable; return whether it was missing."""
        try:
            folder.mkdir()
        except FileExistsError:
            return False
        return True

    def make_folders(self, folder: Path, names: Sequence[str]) -> None:
        """Create the missing ones of *names* in *folder*; then all of them are durable."""
        for name in set(names) - set(self.names(folder)):
            self.add_folder(folder / name)
        self.sync_folder(folder)

    def create(self, path: Path) -> int:
        """
        Create a file to append to, and return its handle.

        Raises:
            FileExistsError: if it exists; of several processes that try, one succeeds.
        """
        flags = os.O_CREAT | os.O_EXCL | os.O_WRONLY | os.O_APPEND | os.O_CLOEXEC
        return os.open(path, flags, 0o644)

    def reserve(self, handle: int, size: int) -> None:
        """Reserve room for the first *size* bytes of a file; do nothing if that is refused."""
        if hasattr(_LIBC, "fallocate"):  # a refusal, or a full disk, does not matter before writes
            _LIBC.fallocate(handle, KEEP_SIZE, ctypes.c_long(0), ctypes.c_long(size))

    def write(self, handle: int, buffers: Sequence[Buffer]) -> None:
        """Append all of *buffers*; after an error, a part of them may be in the file."""
        while buffers:
            buffers = unwritten(buffers, os.writev(handle, buffers[:MOST_BUFFERS]))

    def sync(self, handle: int) -> None:
        """Make durable everything written to the file. After an error, it may be lost for good."""
        os.fdatasync(handle)

    def hold(self, folder: Path) -> int:
        """Return a handle for `sync_all`, which reports every fault from now on."""
        return os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)

    def syncs_all(self, handle: int) -> bool:
        """Whether `sync_all` is available here, and reports faults."""
        if sys.platform != "linux" or not hasattr(_LIBC, "syncfs"):
            return False
        found = re.match(r"(\d+)\.(\d+)", platform.release())
        new_enough = found is not None and (int(found[1]), int(found[2])) >= SINCE
        return new_enough and _type_of(handle) in KNOWN

    def together(self, *folders: Path) -> bool:
        """Whether all *folders* are on one file system, so that one `sync_all` serves them."""
        return len({folder.stat().st_dev for folder in folders}) == 1

    def sync_all(self, handle: int) -> None:
        """
        Make durable everything that any process has written to the file system of *handle*.

        It fails if data was lost since *handle* was opened, or since the last such error. After
        that, `sync` tells of each file.
        """
        if _LIBC.syncfs(handle) != 0:
            code = ctypes.get_errno()
            raise OSError(code, os.strerror(code))

    def close(self, handle: int) -> None:
        """Close a file or a folder."""
        os.close(handle)

    def linked(self, handle: int) -> bool:
        """Whether the file still has a name."""
        return os.fstat(handle).st_nlink > 0

    def exists(self, path: Path) -> bool:
        """Whether *path* exists."""
        with suppress(FileNotFoundError):  # other errors do not say whether it exists
            os.stat(path)  # noqa: PTH116  # 2 µs instead of 5, once for each commit
            return True
        return False

    def idle(self, path: Path) -> float:
        """Return the seconds since *path* was last written to."""
        return time.time() - path.stat().st_mtime

    def touch(self, path: Path) -> None:
        """Start `idle` at zero again, as a write to *path* would."""
        os.utime(path)

    def read(self, path: Path) -> BufferedReader:
        """Open a file to read."""
        return path.open("rb")

    def sync_file(self, path: Path) -> int:
        """
        Make durable everything that any process has written to *path*.

        Returns the file's size before: bytes up to there, if they are read later, come from the
        disk.
        """
        with _opened(path) as handle:
            size = os.fstat(handle).st_size
            os.fsync(handle)
            _evict(handle)
            return size

    def evict(self, path: Path) -> None:
        """Have *path*, which is durable, read from the disk and not from memory."""
        with _opened(path) as handle:
            _evict(handle)

    def sync_folder(self, folder: Path) -> None:
        """Make the names in *folder* durable."""
        with _opened(folder, os.O_DIRECTORY) as handle:
            os.fsync(handle)

    def replace(self, path: Path, data: bytes) -> None:
        """Make *data* the content of *path*, durably; readers never see a part of it."""
        with self.draft(path, data) as draft:
            os.fsync(draft.handle)
            self.rename(draft.path, path)

    @contextmanager
    def draft(self, path: Path, data: bytes) -> Iterator[Draft]:
        """Write *data* to a draft for *path*; the end of the context removes it if it is left."""
        draft = path.with_name(f".{path.name}.{uuid.uuid4().hex[:8]}")
        with draft.open("xb", buffering=0) as file:
            try:
                PosixDisk.write(self, file.fileno(), [data])
                yield Draft(draft, file.fileno())
            finally:
                draft.unlink(missing_ok=True)

    def take(self, path: Path, owner: str) -> str:
        """
        Create *path*, which names its owner; return its owner, *owner* or an earlier one.

        Of several processes that try, one succeeds. The name is durable once `rename` has returned
        in the same folder.
        """
        # A symbolic link to a name that does not exist is created together with its content.
        with suppress(FileExistsError):
            path.symlink_to(owner)
        return str(path.readlink())

    def taken(self, path: Path) -> str | None:
        """Return the owner of *path*; None if it has none."""
        try:
            return str(path.readlink())
        except FileNotFoundError:
            return None

    def rename(self, path: Path, target: Path) -> None:
        """Rename a file durably; a file that had the new name is gone."""
        self.move(path, target)
        self.sync_folder(target.parent)

    def move(self, path: Path, target: Path) -> None:
        """Do the same, but do not make the new name durable."""
        path.replace(target)

    def remove(self, path: Path) -> None:
        """Remove a file, if it exists."""
        path.unlink(missing_ok=True)

    def remove_folder(self, folder: Path) -> None:
        """Remove *folder*, if it exists and is empty."""
        try:
            folder.rmdir()
        except OSError as exc:
            if exc.errno not in (errno.ENOENT, errno.ENOTEMPTY):
                raise

    def free(self, folder: Path) -> int:
        """Return the bytes that may still be written; 0 if no file can be created."""
        stat = os.statvfs(folder)
        # A file system without a number of inodes, such as btrfs, reports 0 of 0.
        inodes = not stat.f_files or stat.f_favail > min(INODES, stat.f_files // INODE_SHARE)
        if not inodes or stat.f_flag & os.ST_RDONLY:
            return 0
        return stat.f_bavail * stat.f_frsize

    def capacity(self, folder: Path) -> int:
        """Return the bytes of the file system that holds *folder*."""
        stat = os.statvfs(folder)
        return stat.f_blocks * stat.f_frsize

    def room(self, folder: Path) -> Room:
        """Return the size of the file system that holds *folder*."""
        facts = os.statvfs(folder)
        if not facts.f_files:
            return Room(facts.f_frsize * facts.f_blocks, inf, inf)
        return Room(facts.f_frsize * facts.f_blocks, facts.f_files, facts.f_favail)

    def size(self, path: Path) -> int:
        """Return the length of *path*; 0 if it is gone."""
        try:
            return path.stat().st_size
        except FileNotFoundError:
            return 0

    def sizes(self, folder: Path) -> Iterator[tuple[str, int]]:
        """Yield the name of each file in *folder*, and the bytes that it takes on the disk."""
        with suppress(FileNotFoundError), os.scandir(folder) as entries:
            for entry in entries:
                with suppress(FileNotFoundError):  # removed meanwhile
                    yield entry.name, entry.stat(follow_symlinks=False).st_blocks * 512

    def writable(self, folder: Path) -> bool:
        """Whether files can be created in *folder*; True if it does not exist."""
        return not folder.exists() or os.access(folder, os.W_OK | os.X_OK)

    @contextmanager
    def lock(self, folder: Path) -> Iterator[bool]:
        """Lock *folder* for the length of a context; gives False if it is locked already."""
        # If the process ends in any way, the kernel releases the lock.
        with _opened(folder, os.O_DIRECTORY) as handle:
            mine = False
            with suppress(BlockingIOError):
                fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
                mine = True
            yield mine


class DiskFull(StorageFailed):
    """The disk has no room. Nothing is lost; once there is room, the same call works again."""


def is_full(exc: OSError) -> bool:
    """Whether *exc* says that the disk, or the user's share of it, has no room."""
    return exc.errno in (errno.ENOSPC, errno.EDQUOT)


def unwritten(buffers: Sequence[Buffer], written: int) -> Sequence[Buffer]:
    """Return *buffers* without their first *written* bytes."""
    for index, buffer in enumerate(buffers):
        if written < len(buffer):
            return [memoryview(buffer)[written:], *buffers[index + 1 :]]
        written -= len(buffer)
    return []


@contextmanager
def _opened(path: Path, flags: int = 0) -> Iterator[int]:
    handle = os.open(path, os.O_RDONLY | os.O_CLOEXEC | flags)
    try:
        yield handle
    finally:
        os.close(handle)


def _evict(handle: int) -> None:
    # If a page could not be written, it may still be in memory and marked as clean:
    # https://www.usenix.org/conference/atc20/presentation/rebello
    os.posix_fadvise(handle, 0, 0, os.POSIX_FADV_DONTNEED)


def _type_of(handle: int) -> int:
    answer = ctypes.create_string_buffer(_STATFS_BYTES)
    if _LIBC.fstatfs(handle, answer) != 0:
        return 0
    return ctypes.c_ulong.from_buffer(answer).value
