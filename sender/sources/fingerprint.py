"""Telling files apart, and noticing changes, without reading whole files."""

from __future__ import annotations

import os
import time
from pathlib import Path
from typing import Final, NamedTuple

import xxhash
from typing_extensions import override

from sender.errors import SourceError
from sonoduct.text import clean

from . import Source
from .within import open_regular

SAMPLE_BYTES: Final = 64 * 1024
"""Bytes that are read at the start, in the middle and at the end of a file."""

COARSE_S: Final = 2.0
"""Two changes within this time may leave equal times: FAT counts in steps of two seconds."""


class FileState(NamedTuple):
    """A file's inode and times; any change of the file's bytes changes one of them."""

    device: int
    inode: int
    size: int
    """Bytes."""

    modified: int
    changed: int
    """Nanoseconds since 1970. Setting `modified` back moves `changed`."""

    @property
    def content(self) -> tuple[int, int, int]:
        """The part that stays the same while the bytes do; a chmod may change the rest."""
        return self.inode, self.size, self.modified


def state_of(found: os.stat_result) -> FileState:
    """Return the state in *found*."""
    return FileState(
        found.st_dev, found.st_ino, found.st_size, found.st_mtime_ns, found.st_ctime_ns
    )


class Fingerprint:
    """One file's state when it was opened: facts for a stream's id, and evidence of no change."""

    def __init__(self, path: Path, handle: int) -> None:
        """
        Look at the regular file at *path*, by way of *handle*, its descriptor.

        Raises:
            OSError: if it cannot be read.
        """
        self._path = path
        found = os.fstat(handle)
        self.state = state_of(found)
        self._sample = _sample(handle, found.st_size)

    @property
    def facts(self) -> tuple[object, ...]:
        """The file's path, size and modification time, and a digest of some bytes."""
        return self._path.resolve(), self.state.size, self.state.modified, self._sample

    @property
    def evidence(self) -> str:
        """
        Text that differs after any change of the file; "" if that is not certain.

        It is not certain if the file changed after it was opened, or within COARSE_S before now.
        """
        try:
            now = state_of(self._path.stat())
        except OSError:
            return ""
        recent = time.time_ns() - COARSE_S * 1e9
        if now != self.state or max(now.modified, now.changed) > recent:
            return ""
        return ":".join(map(str, now))


class UnchangedFile(Source):
    """A regular file of the user, which may not change between opening and the last unit."""

    def __init__(self, path: Path, name: str = "", folder: Path | None = None) -> None:
        """
        Open *path*, and look at it; *name* is for people, by default the path.

        If *path* was found in *folder*, it may not be a link out of it.

        Raises:
            SourceError: if it cannot be read, is not a regular file, or lies outside of *folder*.
        """
        self.name = name or clean(path)
        self._path = path
        try:
            self._handle = open_regular(path, folder)
            try:
                self._fingerprint = Fingerprint(path, self._handle)
            except OSError:
                os.close(self._handle)
                raise
        except OSError as exc:
            raise SourceError(f"{self.name}: {exc.strerror}") from exc
        except ValueError as exc:
            raise SourceError(f"{self.name}: {exc}") from exc

    @property
    @override
    def evidence(self) -> str:
        return self._fingerprint.evidence

    @override
    def release(self, offset: int) -> None:
        """Do nothing: a file can always be read again."""

    @override
    def forget(self) -> None:
        """Do nothing: the file belongs to the user."""

    def _require_same(self, found: os.stat_result, place: str) -> None:
        """Check that the file, now in the state *found*, did not change while it was read."""
        seen, expected = state_of(found).content, self._fingerprint.state.content
        if seen != expected:
            raise SourceError(
                f"{self.name}: changed while it was read, at {place}: "
                f"inode, size and time {seen}, expected {expected}"
            )


def _sample(handle: int, size: int) -> str:
    """Return a digest of up to SAMPLE_BYTES from the start, the middle and the end of a file."""
    digest = xxhash.xxh3_128()
    for start in sorted({0, max(0, size // 2 - SAMPLE_BYTES // 2), max(0, size - SAMPLE_BYTES)}):
        digest.update(os.pread(handle, SAMPLE_BYTES, start))
    return digest.hexdigest()
