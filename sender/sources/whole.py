"""Files that are sent unchanged; the receiver decodes them."""

from __future__ import annotations

import os
from pathlib import Path

from typing_extensions import override

from sender.errors import SourceError
from sonoduct.wire import Kind

from . import Source, identity, printable
from .fingerprint import Fingerprint, require_same, state_of


class WholeFile(Source):
    """
    The bytes of one file, which may not change between opening and the last byte.

    The id is made of the same facts as an AudioFile's, but differs: it is another stream.
    """

    kind = Kind.FILE
    format = None
    decoder = "raw"

    def __init__(self, path: Path) -> None:
        """
        Open *path*.

        Raises:
            SourceError: if it cannot be read, is not a regular file, or is empty.
        """
        self.name = printable(path)
        try:
            self._fingerprint = Fingerprint(path)
            self._handle = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
        except OSError as exc:
            raise SourceError(f"{self.name}: {exc.strerror}") from exc
        except ValueError as exc:
            raise SourceError(f"{self.name}: {exc}") from exc
        self.units = size = self._fingerprint.state.size
        if not size:
            os.close(self._handle)
            raise SourceError(f"{self.name}: 0 bytes, expected at least 1")
        self.stream = identity(*self._fingerprint.facts, "file")

    @property
    @override
    def evidence(self) -> str:
        return self._fingerprint.evidence

    @override
    def read(self, offset: int, units: int) -> bytes:
        try:
            data = os.pread(self._handle, units, offset)
        except OSError as exc:
            raise SourceError(f"{self.name}: byte {offset}: {exc.strerror}") from exc
        if not data:
            self._require_unchanged(offset)
        return data

    @override
    def release(self, offset: int) -> None:
        """Do nothing: a file can always be read again."""

    @override
    def forget(self) -> None:
        """Do nothing: the file belongs to the user."""

    @override
    def close(self) -> None:
        os.close(self._handle)

    def _require_unchanged(self, offset: int) -> None:
        expected = self._fingerprint.state
        require_same(self.name, state_of(os.fstat(self._handle)), expected, f"byte {offset}")
        if offset != expected.size:
            raise SourceError(f"{self.name}: {offset} bytes, expected {expected.size}")
