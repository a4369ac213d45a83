"""Standard input: raw samples, audio that ffmpeg decodes as it comes, or a whole file first."""

from __future__ import annotations

import hashlib
import os
import re
import select
import tempfile
from functools import partial
from pathlib import Path
from typing import Final

from typing_extensions import override

from sender.errors import SourceError
from sonoduct.audio.decoding import DecodeOptions, StreamDecoder, find_ffmpeg
from sonoduct.wire import CHANNELS, SAMPLERATES, Encoding, Format

from . import identity
from .decoded import DecodedInput, started
from .file import DEFAULTS, AudioFile
from .live import Input

POLL_S: Final = 0.2
"""Seconds until a waiting read notices `close`."""

PIECE: Final = 64 * 1024
SPOOL_BYTES: Final = 1024 * 1024 * 1024
"""The longest file that a pipe may bring, if it is read to its end before it is sent."""

FILE_ONLY: Final = "if it is audio, its decoder has to go back in it: send it as a file"
"""Advice for formats that need seeking, such as CAF or an MP4 with its index at the end."""


class Pipe:
    """A file descriptor that a thread reads; `close` ends a read that waits."""

    def __init__(self, descriptor: int) -> None:
        self.closed = False
        """Whether `close` was called."""
        self._descriptor = descriptor

    def read_some(self, size: int) -> bytes:
        """
        Return up to *size* bytes as soon as there are any; no bytes at the end, or after `close`.

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
        """End a read that waits. The descriptor stays open: it belongs to the caller."""
        self.closed = True


class RawPipe(Pipe, Input):
    """Samples without a header."""

    decoder = "raw"

    def __init__(self, descriptor: int, audio_format: Format) -> None:
        super().__init__(descriptor)
        self._format = audio_format

    @override
    def begin(self) -> Format:
        return self._format


class SpooledPipe(AudioFile):
    """
    An audio file from a pipe, which goes into a temporary file first, since decoders seek.

    Its id is made of its bytes. If the same bytes are piped again, they continue the same stream.
    """

    live = True

    def __init__(
        self, pipe: Pipe, encoding: Encoding | None = None, options: DecodeOptions = DEFAULTS
    ) -> None:
        """
        Read *pipe* to its end, which takes as long as its writer does.

        Raises:
            SourceError: if it is longer than SPOOL_BYTES, or has no audio.
        """
        self._digest = hashlib.blake2b(digest_size=16)
        self._spool = tempfile.NamedTemporaryFile(prefix="sonoduct-")  # noqa: SIM115  # until close
        try:
            self._fill(pipe)
            super().__init__(Path(self._spool.name), encoding, "standard input", options)
        except BaseException:
            self._spool.close()
            raise
        self.stream = identity("standard input", self._digest.hexdigest(), self.pcm.encoding)

    @override
    def close(self) -> None:
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


def from_pipe(
    name: str, descriptor: int, options: DecodeOptions, requested: Encoding | None
) -> DecodedInput:
    """
    Start ffmpeg on *descriptor*.

    Raises:
        NoDecoder: without ffmpeg.
        SourceError: if ffmpeg cannot be started.
    """
    program = find_ffmpeg(options.ffmpeg)
    start = partial(StreamDecoder, program, descriptor, options.limits.memory_bytes)
    return DecodedInput(name, started(name, start), requested, FILE_ONLY)


def parse_raw(text: str) -> Format:
    """
    Return the format that ``encoding:samplerate:channels`` names, such as ``s16le:16000:1``.

    Raises:
        ValueError: if it names none.
    """
    match = re.fullmatch(r"([a-z0-9]+):([0-9]{1,6}):([0-9]{1,2})", text)
    if match is None or match[1] not in list(Encoding):
        raise ValueError(f"{text!r}, expected {'|'.join(Encoding)}:SAMPLERATE:CHANNELS")
    samplerate, channels = int(match[2]), int(match[3])
    if samplerate not in SAMPLERATES or channels not in CHANNELS:
        expected = f"samplerate 1 to {SAMPLERATES.stop - 1}, channels 1 to {CHANNELS.stop - 1}"
        raise ValueError(f"{text!r}, expected {expected}")
    return Format(samplerate=samplerate, channels=channels, encoding=Encoding(match[1]))
