"""Files that are sent as they are: the receiver decodes them."""

from __future__ import annotations

import os
from pathlib import Path
from typing import TypeAlias

from sender.errors import SourceError

from . import Source, identity, printable
from .fingerprint import Fingerprint, require_same, state_of


class WholeFile:
    """
    One file's bytes, which may not change between opening and the last of them; see Source.

    As an AudioFile it is named by path, size, modification time and some of its bytes, but it is
    another stream.
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
            self._fingerprint = Fingerprint(path)
            self._handle = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
        except OSError as exc:
            raise SourceError(f"{self.name}: {exc.strerror}") from exc
        except ValueError as exc:
            raise SourceError(f"{self.name}: {exc}") from exc
        self.units = self._fingerprint.state.size
        if not self.units:
            os.close(self._handle)
            raise SourceError(f"{self.name}: 0 bytes, expected at least 1")
        self.stream = identity(*self._fingerprint.facts, "file")

    @property
    def evidence(self) -> str:
        """See Source."""
        return self._fingerprint.evidence

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
        expected = self._fingerprint.state
        require_same(self.name, state_of(os.fstat(self._handle)), expected, f"byte {offset}")
        if offset != self.units:
            raise SourceError(f"{self.name}: {offset} bytes, expected {self.units}")


Sendable: TypeAlias = Source | WholeFile
"""What a receiver takes: samples, or a file as it is."""
