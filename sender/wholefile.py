"""Files that are sent as they are: the receiver decodes them."""

from __future__ import annotations

import os
import stat
from pathlib import Path
from typing import TypeAlias

from .errors import SourceError
from .source import Source, identity, printable


class WholeFile:
    """
    One file's bytes, which may not change between opening and the last of them; see Source.

    As an AudioFile it is named by path, size and modification time, but it is another stream.
    """

    format = None
    decoder = "raw"
    live = growing = False
    first = 0

    def __init__(self, path: Path) -> None:
        """
        Open *path*.

        Raises:
            SourceError: if it cannot be read, is no regular file, or is empty.
        """
        self.name = printable(path)
        try:
            self._handle = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
        except OSError as exc:
            raise SourceError(f"{self.name}: {exc.strerror}") from exc
        found = os.fstat(self._handle)
        self.units, self._modified = found.st_size, found.st_mtime_ns
        if not (stat.S_ISREG(found.st_mode) and self.units):
            os.close(self._handle)
            what = "0 bytes, expected at least 1" if stat.S_ISREG(found.st_mode) else ""
            raise SourceError(f"{self.name}: {what or 'no regular file, expected one'}")
        self.stream = identity(path.resolve(), self.units, self._modified, "file")

    def read(self, offset: int, units: int) -> bytes:
        """See Source."""
        try:
            data = os.pread(self._handle, units, offset)
        except OSError as exc:
            raise SourceError(f"{self.name}: byte {offset}: {exc.strerror}") from exc
        if not data:
            self._require_unchanged(offset)
        return data

    def release(self, offset: int) -> None:
        """A file can always be read again."""

    def forget(self) -> None:
        """See Source: files are not ours."""

    def close(self) -> None:
        """See Source."""
        os.close(self._handle)

    def _require_unchanged(self, offset: int) -> None:
        found = os.fstat(self._handle)
        seen, expected = (found.st_size, found.st_mtime_ns), (self.units, self._modified)
        if seen != expected or offset != self.units:
            raise SourceError(
                f"{self.name}: changed while it was read, at byte {offset}: "
                f"size and time {seen}, expected {expected}"
            )


Sendable: TypeAlias = Source | WholeFile
"""What a receiver takes: samples, or a file as it is."""
