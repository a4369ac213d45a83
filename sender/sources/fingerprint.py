"""What tells one file from another without reading all of it."""

from __future__ import annotations

import os
import stat
import time
from pathlib import Path
from typing import Final, NamedTuple

import xxhash

from sender.errors import SourceError

SAMPLE_BYTES: Final = 64 * 1024
"""Read from the start, the middle and the end of a file."""

COARSE_S: Final = 2.0
"""Two changes within this time may leave the same times: FAT counts in steps of two seconds."""


class FileState(NamedTuple):
    """A file's inode and times; any change of the file's bytes changes one of them."""

    device: int
    inode: int
    size: int
    """Bytes."""

    modified: int
    changed: int
    """Nanoseconds since 1970. `changed` also moves when somebody sets `modified` back."""

    @property
    def content(self) -> tuple[int, int, int]:
        """What cannot differ while the same bytes are read; a chmod may change the rest."""
        return self.inode, self.size, self.modified


def state_of(found: os.stat_result) -> FileState:
    """Return the state that *found* tells."""
    return FileState(
        found.st_dev, found.st_ino, found.st_size, found.st_mtime_ns, found.st_ctime_ns
    )


def require_same(name: str, seen: FileState, expected: FileState, place: str) -> None:
    """
    Check that a file has not changed while it was read up to *place*.

    Raises:
        SourceError: if it has.
    """
    if seen.content != expected.content:
        raise SourceError(
            f"{name}: changed while it was read, at {place}: "
            f"inode, size and time {seen.content}, expected {expected.content}"
        )


class Fingerprint:
    """One open file: facts for a stream's id, and evidence that it has not changed since."""

    def __init__(self, path: Path) -> None:
        """
        Look at *path*.

        Raises:
            OSError: if it cannot be read.
            ValueError: if it is no regular file.
        """
        self._path = path
        # O_NONBLOCK: opening a FIFO would wait for its writer.
        handle = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
        try:
            found = os.fstat(handle)
            if not stat.S_ISREG(found.st_mode):
                raise ValueError("no regular file, expected one")
            self.state = state_of(found)
            self._sample = _sample(handle, found.st_size)
        finally:
            os.close(handle)

    @property
    def facts(self) -> tuple[object, ...]:
        """What names the file: its path, size, modification time, and a digest of some bytes."""
        return self._path.resolve(), self.state.size, self.state.modified, self._sample

    @property
    def evidence(self) -> str:
        """
        What is different after any change of the file; "" if that cannot be relied on.

        It cannot for a file that has changed since it was opened, or within COARSE_S before.
        """
        try:
            now = state_of(self._path.stat())
        except OSError:
            return ""
        recent = time.time_ns() - COARSE_S * 1e9
        if now != self.state or max(now.modified, now.changed) > recent:
            return ""
        return ":".join(map(str, now))


def _sample(handle: int, size: int) -> str:
    """Return a digest of up to SAMPLE_BYTES from the start, the middle and the end of a file."""
    digest = xxhash.xxh3_128()
    for start in sorted({0, max(0, size // 2 - SAMPLE_BYTES // 2), max(0, size - SAMPLE_BYTES)}):
        digest.update(os.pread(handle, SAMPLE_BYTES, start))
    return digest.hexdigest()
