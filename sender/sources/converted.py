"""A source that can be read again, converted: the same frames from whatever offset on."""

from __future__ import annotations

import threading
from typing import Final

from sender.errors import SourceError
from sonoduct.wire import Encoding

from . import Source, identity
from .conversion import Conversion, Converter

BLOCK_FRAMES: Final = 4096
"""
How many frames of the source are converted at once, from its first on.

Always the same cuts, so that nobody has to rely on soxr's giving the same samples for others.
"""


def converted(source: Source, conversion: Conversion, wished: Encoding | None = None) -> Source:
    """
    Return *source* as *conversion* wants it; itself, if there is nothing to convert.

    *wished* is the encoding that was asked for.

    Raises:
        SourceError: if it cannot be had; then *source* is closed.
    """
    try:
        converter = Converter(conversion, source.format, wished, source.name)
    except BaseException:
        source.close()
        raise
    return Converted(source, converter) if converter.facts else source


class Converted:
    """
    Another Source, converted; see Source.

    With another samplerate frames depend on their neighbours: going back starts at the first one.
    """

    def __init__(self, source: Source, converter: Converter) -> None:
        self.name = source.name
        self.live = source.live
        self.decoder = source.decoder
        self.first = source.first
        self.format = converter.format
        self.stream = identity(source.stream, *converter.facts)
        self.units = source.units
        if source.units is not None:
            self.units = round(source.units * self.format.samplerate / source.format.samplerate)
        self._source = source
        self._converter = converter
        self._turn = threading.Lock()
        self._restart()

    @property
    def growing(self) -> bool:
        """See Source."""
        return self._source.growing

    @property
    def evidence(self) -> str:
        """See Source."""
        return self._source.evidence

    def read(self, offset: int, units: int) -> bytes:
        """See Source."""
        if not self._converter.resampled:
            return self._converter.convert(self._source.read(offset, units))
        with self._turn:
            if offset < self._start:
                self._restart()
            width = self.format.frame_bytes
            while True:
                passed = min(offset - self._start, len(self._ready) // width)
                del self._ready[: passed * width]
                self._start += passed
                if self._ended or len(self._ready) >= units * width:
                    break
                self._ready += self._convert_block()
            if self._start < offset:
                raise SourceError(f"{self.name}: ends at {self._start}, expected {offset}")
            return bytes(self._ready[: units * width])

    def release(self, offset: int) -> None:
        """See Source."""
        if not self._converter.resampled:
            self._source.release(offset)

    def forget(self) -> None:
        """See Source."""
        self._source.forget()

    def close(self) -> None:
        """See Source."""
        self._source.close()

    def _restart(self) -> None:
        self._converter.restart()
        self._taken = 0
        self._ended = False
        self._start = 0
        self._ready = bytearray()
        """Converted frames from `_start` on."""

    def _convert_block(self) -> bytes:
        width, block = self._source.format.frame_bytes, b""
        while frames := BLOCK_FRAMES - len(block) // width:
            piece = self._source.read(self._taken + len(block) // width, frames)
            if not piece:
                self._ended = True
                break
            block += piece
        self._taken += len(block) // width
        return self._converter.convert(block, last=self._ended)
