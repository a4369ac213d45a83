"""Files that are sent unchanged; the receiver decodes them."""

from __future__ import annotations

import os
from pathlib import Path

from typing_extensions import override

from sender.errors import SourceError
from sonoduct.wire import Kind

from . import identity
from .fingerprint import UnchangedFile


class WholeFile(UnchangedFile):
    """
    The bytes of one file.

    The id is made of the same facts as an AudioFile's, but differs: it is another stream.
    """

    kind = Kind.FILE
    format = None
    decoder = "raw"

    def __init__(self, path: Path, folder: Path | None = None) -> None:
        """
        Open *path*; if it was found in *folder*, it may not be a link out of it.

        Raises:
            SourceError: if it cannot be read, is not a regular file, or is empty.
        """
        super().__init__(path, folder=folder)
        self.units = size = self._fingerprint.state.size
        if not size:
            os.close(self._handle)
            raise SourceError(f"{self.name}: 0 bytes, expected at least 1")
        self.stream = identity(*self._fingerprint.facts, "file")

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
    def close(self) -> None:
        os.close(self._handle)

    def _require_unchanged(self, offset: int) -> None:
        self._require_same(os.fstat(self._handle), f"byte {offset}")
        if offset != self.units:
            raise SourceError(f"{self.name}: {offset} bytes, expected {self.units}")
