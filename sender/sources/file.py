"""Audio files that this sender decodes."""

from __future__ import annotations

import threading
from pathlib import Path
from typing import Final

import structlog
from typing_extensions import override

from sender.errors import SourceError
from sonoduct.audio.decoding import DecodeError, DecodeOptions, Decoder, open_decoder
from sonoduct.runtime.child import Cancellation
from sonoduct.wire import Buffer, Encoding

from . import identity
from .fingerprint import UnchangedFile

log = structlog.get_logger()

DEFAULTS: Final = DecodeOptions()


class AudioFile(UnchangedFile):
    """
    One decoded file.

    The stream's id is made of the file's path, size, modification time and some of its bytes: the
    same file is the same stream, a changed file is another one.
    """

    def __init__(
        self,
        path: Path,
        encoding: Encoding | None = None,
        name: str = "",
        options: DecodeOptions = DEFAULTS,
        cancellation: Cancellation | None = None,
        folder: Path | None = None,
    ) -> None:
        """
        Open *path*.

        Args:
            path: a regular file.
            encoding: of the samples; by default the smallest exact one.
            name: for people; by default the path.
            options: how to decode.
            cancellation: ends a decoder, also while the file is being opened.
            folder: in which *path* was found, and which it may not leave by way of a link.

        Raises:
            SourceError: if it cannot be read, has no audio, or does not fit into *encoding*.
        """
        super().__init__(path, name, folder)
        self._decoder = self._open(encoding, options, cancellation)
        self.decoder, self.format = self._decoder.decoder, self._decoder.format
        self.units = self._decoder.frames
        self._position = 0
        self._turn = threading.Lock()  # a read of a lost connection may still be under way
        self.stream = identity(*self._fingerprint.facts, self.pcm.encoding)

    @override
    def read(self, offset: int, units: int) -> Buffer:
        with self._turn:
            return self._read(offset, units)

    @override
    def close(self) -> None:
        self._decoder.close()

    def _read(self, offset: int, units: int) -> Buffer:
        try:
            if offset != self._position:
                self._position = -1  # unknown after an error
                self._decoder.seek(offset)
            data = self._decoder.read(units)
        except DecodeError as exc:
            self._require_unchanged(offset)
            raise SourceError(f"{self.name}: {exc}") from exc
        if not data:
            self._require_unchanged(offset)
            self._warn()
        self._position = offset + len(data) // self.unit_bytes
        return data

    def _open(
        self, encoding: Encoding | None, options: DecodeOptions, cancellation: Cancellation | None
    ) -> Decoder:
        try:
            return open_decoder(
                self._handle, options, isolated=False, requested=encoding, cancellation=cancellation
            )
        except DecodeError as exc:
            raise SourceError(f"{self.name}: {exc}") from exc
        except OSError as exc:
            raise SourceError(f"{self.name}: {exc.strerror}") from exc

    def _require_unchanged(self, offset: int) -> None:
        try:
            found = self._path.stat()
        except OSError as exc:
            raise SourceError(f"{self.name}: {exc.strerror}") from exc
        self._require_same(found, f"frame {offset}")

    def _warn(self) -> None:
        if self._decoder.warning:
            log.warning("file_damaged", name=self.name, warning=self._decoder.warning)
            self._decoder.warning = ""
