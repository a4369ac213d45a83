"""The files of a machine: in the page cache, and on the disk."""

from __future__ import annotations

import errno
import os
from pathlib import Path


def failure(code):
    """Return the OSError of a system call that fails."""
    return OSError(code, os.strerror(code))


class File:
    """An append-only file; until a sync, its bytes are in the page cache only."""

    def __init__(self):
        self.cache = bytearray()
        """What every process reads."""
        self.platter = bytearray()
        """What a power cut leaves, of the first `clean` bytes."""
        self.clean = 0
        """The bytes before here need not be written to the platter any more."""
        self.links = 1
        self.failures = 0
        """Errors of writing to the platter; each open handle is told of each once."""

    def append(self, data):
        """Write to the page cache."""
        self.cache += data

    def flush(self):
        """Write all bytes to the disk."""
        self.platter[self.clean :] = self.cache[self.clean :]
        self.clean = len(self.cache)

    def spoil(self, rng):
        """Fail to write to the disk, and still mark the bytes as clean, as Linux does."""
        self.platter[self.clean :] = _torn(self.cache[self.clean :], rng)
        self.clean = len(self.cache)
        self.failures += 1

    def evict(self):
        """Drop clean bytes from memory, so that the next read reads the disk."""
        self.cache[: self.clean] = self.platter[: self.clean]

    def cut(self, rng):
        """Lose the power: any part of the unsynced bytes may be written."""
        if rng.random() < 0.8:
            self.platter[self.clean :] = _torn(self.cache[self.clean :], rng)
        self.cache[:] = self.platter
        self.clean = len(self.cache)

    def copy(self):
        """Return a copy, for a power cut that does not really happen."""
        other = File()
        other.cache, other.platter = self.cache[:], self.platter[:]
        other.clean, other.links, other.failures = self.clean, self.links, self.failures
        return other


class Mark(File):
    """A symbolic link to its owner: it is created whole, or not at all."""

    def __init__(self, owner):
        super().__init__()
        self.owner = owner

    def copy(self):
        """Return a copy."""
        return Mark(self.owner)


class Folder:
    """Names; before a sync, a power cut may lose any of them."""

    def __init__(self):
        self.entries = {}
        self.durable = {}
        self.locked = False
        """Whether a process that lives holds it."""

    def sync(self):
        """Make the names durable."""
        self.durable = dict(self.entries)

    def cut(self, rng):
        """Lose the power: any of the unsynced changes may be made."""
        for name in {**self.durable, **self.entries}:
            node = rng.choice((self.entries, self.durable)).get(name)
            if node is None:
                self.entries.pop(name, None)
            else:
                self.entries[name] = node
                node.cut(rng)
        self.sync()

    def copy(self):
        """Return a copy."""
        other = Folder()
        known = {id(node): node for node in (*self.entries.values(), *self.durable.values())}
        copies = {key: node.copy() for key, node in known.items()}
        other.entries = {name: copies[id(node)] for name, node in self.entries.items()}
        other.durable = {name: copies[id(node)] for name, node in self.durable.items()}
        return other


class Storage:
    """One file system; its root is durable."""

    def __init__(self):
        self.root = Folder()
        self.failures = 0
        """Errors of writing to the platter; each handle for `sync_all` is told of them."""

    def find(self, path: Path):
        """Return the file or folder at *path*; None if it is missing."""
        node = self.root
        for part in path.parts[1:]:
            node = node.entries.get(part)
            if node is None:
                return None
        return node

    def require(self, path: Path):
        """
        Return the file or folder that has the name *path*.

        Raises:
            FileNotFoundError: if it is missing.
        """
        node = self.find(path)
        if node is None:
            raise failure(errno.ENOENT)
        return node

    def nodes(self):
        """Return all files and folders that have names."""
        found, left = [], [self.root]
        while left:
            found.append(node := left.pop())
            left += getattr(node, "entries", {}).values()
        return found

    def copy(self):
        """Return a copy."""
        other = Storage()
        other.root = self.root.copy()
        return other

    def cut(self, rng):
        """Lose the power."""
        self.root.cut(rng)


def _torn(tail, rng):
    """Return a possible rest of *tail*: its beginning up to any byte, perhaps with a hole."""
    kept = tail[: rng.randint(0, len(tail))] if rng.random() < 0.8 else tail[:]
    if kept and rng.random() < 0.2:
        start = rng.randrange(len(kept))
        stop = rng.randint(start + 1, len(kept))
        kept[start:stop] = bytes(stop - start)
    return kept
