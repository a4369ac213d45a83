"""Standard input: its bytes as they come, and a whole container as a Source."""

from __future__ import annotations

import hashlib
import os
import re
import select
import tempfile
from pathlib import Path
from typing import Final

from sender.errors import SourceError
from sonoduct.audio.decoding import DecodeOptions
from sonoduct.wire import CHANNELS, SAMPLERATES, Encoding, Format

from . import identity
from .file import DEFAULTS, AudioFile

POLL_S: Final = 0.2
"""How soon a waiting read notices that it is to end."""

PIECE: Final = 64 * 1024
SPOOL_BYTES: Final = 1024 * 1024 * 1024
"""How long a container on standard input may be; it is read to its end before it is sent."""


class Pipe:
    """A file descriptor read in threads; `close` ends a read that waits."""

    def __init__(self, descriptor: int) -> None:
        self.closed = False
        """Whether nothing more is wanted."""
        self._descriptor = descriptor

    def read_some(self, size: int) -> bytes:
        """
        Return up to *size* bytes as soon as there are any; none at the end or when closed.

        Raises:
            SourceError: if the descriptor cannot be read.
        """
        try:
            while not self.closed:
                if select.select([self._descriptor], [], [], POLL_S)[0]:
                    return os.read(self._descriptor, size)
        except OSError as exc:
            raise SourceError(f"standard input: {exc.strerror}, expected samples") from exc
        return b""

    def close(self) -> None:
        """End a read that waits; the descriptor stays open, it is not ours."""
        self.closed = True


class RawPipe(Pipe):
    """Samples without a header; an Input."""

    decoder = "raw"

    def __init__(self, descriptor: int, audio_format: Format) -> None:
        super().__init__(descriptor)
        self._format = audio_format

    def begin(self) -> Format:
        """See Input: it was said what they are."""
        return self._format


class SpooledPipe(AudioFile):
    """
    An audio file from a pipe: decoders seek, so all of it goes into a temporary file first.

    The same bytes are the same stream, so that piping them again goes on where it stopped.
    """

    live = True

    def __init__(
        self, pipe: Pipe, encoding: Encoding | None = None, options: DecodeOptions = DEFAULTS
    ) -> None:
        """
        Read *pipe* to its end; this takes as long as whoever writes to it.

        Raises:
            SourceError: if it is longer than SPOOL_BYTES, or no audio.
        """
        self._digest = hashlib.blake2b(digest_size=16)
        self._spool = tempfile.NamedTemporaryFile(prefix="sonoduct-")  # noqa: SIM115  # until close
        try:
            self._fill(pipe)
            super().__init__(Path(self._spool.name), encoding, "standard input", options)
        except BaseException:
            self._spool.close()
            raise
        self.stream = identity("standard input", self._digest.hexdigest(), self.format.encoding)

    def close(self) -> None:
        """See Source."""
        super().close()
        self._spool.close()

    def _fill(self, pipe: Pipe) -> None:
        size = 0
        while piece := pipe.read_some(PIECE):
            size += len(piece)
            self._digest.update(piece)
            if size > SPOOL_BYTES:
                raise SourceError(f"standard input: {size} bytes, expected <= {SPOOL_BYTES}")
            self._spool.write(piece)
        self._spool.flush()


def parse_raw(text: str) -> Format:
    """
    Return the format that ``encoding:samplerate:channels`` stands for, such as ``s16le:16000:1``.

    Raises:
        ValueError: if it stands for none.
    """
    match = re.fullmatch(r"([a-z0-9]+):([0-9]{1,6}):([0-9]{1,2})", text)
    if match is None or match[1] not in list(Encoding):
        raise ValueError(f"{text!r}, expected {'|'.join(Encoding)}:SAMPLERATE:CHANNELS")
    samplerate, channels = int(match[2]), int(match[3])
    if samplerate not in SAMPLERATES or channels not in CHANNELS:
        expected = f"samplerate 1 to {SAMPLERATES.stop - 1}, channels 1 to {CHANNELS.stop - 1}"
        raise ValueError(f"{text!r}, expected {expected}")
    return Format(samplerate=samplerate, channels=channels, encoding=Encoding(match[1]))
