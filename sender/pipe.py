"""Standard input as a Source: raw samples as they come, or a whole container."""

from __future__ import annotations

import os
import re
import select
import tempfile
import threading
import uuid
from pathlib import Path
from typing import Final

from wire import CHANNELS, SAMPLERATES, Encoding, Format

from .audiofile import AudioFile
from .errors import SourceError

POLL_S: Final = 0.2
"""How soon a waiting read notices that it is to end."""

PIECE: Final = 64 * 1024
SPOOL_BYTES: Final = 1024 * 1024 * 1024
"""How long a container on standard input may be; it is read to its end before it is sent."""


class Pipe:
    """A file descriptor read in threads; `close` ends a read that waits."""

    def __init__(self, descriptor: int) -> None:
        self._descriptor = descriptor
        self._closed = False

    def read(self, size: int) -> bytes:
        """
        Return *size* bytes, or fewer at the end or when closed.

        Raises:
            SourceError: if the descriptor cannot be read.
        """
        pieces = []
        while size and not self._closed:
            try:
                if not select.select([self._descriptor], [], [], POLL_S)[0]:
                    continue
                piece = os.read(self._descriptor, min(size, PIECE))
            except OSError as exc:
                raise SourceError(f"standard input: {exc.strerror}, expected samples") from exc
            if not piece:
                break
            pieces.append(piece)
            size -= len(piece)
        return b"".join(pieces)

    def close(self) -> None:
        """End a read that waits; the descriptor stays open, it is not ours."""
        self._closed = True


class RawPipe:
    """Samples from a pipe, without any header. Live: it keeps what may have to be sent again."""

    name = "standard input"
    units: int | None = None
    live = True

    def __init__(self, pipe: Pipe, format_: Format) -> None:
        self.format = format_
        self.stream = uuid.uuid4().hex
        self._pipe = pipe
        self._kept = bytearray()
        self._base = self._released = 0
        self._turn = threading.Lock()

    def read(self, offset: int, units: int) -> bytes:
        """See Source. What is kept is bounded by the window that the receiver grants."""
        with self._turn:
            self._trim()
            if offset < self._base:
                expected = f"expected {self._base} or more"
                raise SourceError(f"{self.name}: frame {offset} is gone, {expected}")
            width = self.format.frame_bytes
            start, end = (offset - self._base) * width, (offset - self._base + units) * width
            self._kept += self._pipe.read(max(0, end - len(self._kept)))
            whole = len(self._kept) - len(self._kept) % width
            if start >= whole and whole < len(self._kept):
                rest = len(self._kept) - whole
                raise SourceError(f"{self.name}: {rest} bytes at the end, expected {width} a frame")
            return bytes(self._kept[start : min(end, whole)])

    def release(self, offset: int) -> None:
        """See Source."""
        self._released = offset  # the next read trims: it may be waiting with the lock held

    def close(self) -> None:
        """See Source."""
        self._pipe.close()

    def _trim(self) -> None:
        gone = max(0, self._released - self._base)
        del self._kept[: gone * self.format.frame_bytes]
        self._base += gone


class SpooledPipe(AudioFile):
    """An audio file from a pipe: decoders seek, so all of it goes into a temporary file first."""

    live = True

    def __init__(self, pipe: Pipe, encoding: Encoding | None = None) -> None:
        """
        Read *pipe* to its end; this takes as long as whoever writes to it.

        Raises:
            SourceError: if it is longer than SPOOL_BYTES, or no audio.
        """
        self._spool = tempfile.NamedTemporaryFile(prefix="sonoduct-")  # noqa: SIM115  # until close
        try:
            self._fill(pipe)
            super().__init__(Path(self._spool.name), encoding, "standard input")
        except BaseException:
            self._spool.close()
            raise
        self.stream = uuid.uuid4().hex

    def close(self) -> None:
        """See Source."""
        super().close()
        self._spool.close()

    def _fill(self, pipe: Pipe) -> None:
        size = 0
        while piece := pipe.read(PIECE):
            size += len(piece)
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
