"""A source that can be read again, converted: the same frames from whatever offset on."""

from __future__ import annotations

import threading
from dataclasses import dataclass
from typing import Final

import numpy as np
import soxr
from msgspec.structs import replace

from sender.errors import SourceError
from sonoduct.audio.samples import Samples, to_float32
from sonoduct.wire import CHANNELS, Compression, Encoding, Format

from . import Source, identity

QUALITY: Final = "VHQ"
"""Of soxr: its noise stays below the last of 24 bits, at about half the speed of its default."""

FARTHEST: Final = 256
"""How many times more or fewer frames a second there may be: bounds what one block becomes."""


@dataclass(frozen=True)
class Conversion:
    """What is asked for; without anything samples stay what they are."""

    samplerate: int | None = None
    """Hertz."""
    mono: bool = False
    channels: tuple[int, ...] = ()
    """Which ones, and in which order; the first is 1. Mixing comes after this."""
    flac: bool = False
    """Whether they travel as FLAC, which changes their bytes on the wire and nothing else."""


def parse_channels(text: str) -> tuple[int, ...]:
    """
    Return the channels that *text* names, such as ``1,3``.

    Raises:
        ValueError: if it names none, or one of them twice.
    """
    parts = text.split(",")
    channels = tuple(int(part) for part in parts if part.isascii() and part.isdecimal())
    known = len(set(channels)) == len(parts) and all(each in CHANNELS for each in channels)
    if not known:
        expected = f"different numbers from 1 to {CHANNELS.stop - 1} with commas between"
        raise ValueError(f"channels {text!r}, expected {expected}")
    return channels


class Converter:
    """
    Converts one stream, as canonical bytes, from its first frame to its last.

    Channels are picked from the bytes, which keeps the encoding. A mix is the sum of the picked
    channels, one after the other in float64, divided by their number and rounded once to float32.
    The samplerate is changed last, by soxr.
    """

    def __init__(
        self, conversion: Conversion, source: Format, requested: Encoding | None, name: str
    ) -> None:
        """
        *requested* is the encoding that was asked for.

        Raises:
            SourceError: naming *name*, if *source* cannot be converted so.
        """
        self.source = source
        self._picked = _picked(conversion.channels, source, name)
        left = len(self._picked) or source.channels
        self._mixed = conversion.mono and left > 1
        samplerate = conversion.samplerate or source.samplerate
        self.resampled = samplerate != source.samplerate
        """Whether frames depend on their neighbours; otherwise each can be converted alone."""
        computed = self._mixed or self.resampled
        self.format = Format(
            samplerate=samplerate,
            channels=1 if self._mixed else left,
            encoding=Encoding.F32LE if computed else source.encoding,
        )
        if conversion.flac:
            self.format = _compressed(self.format, name)
        if computed and requested not in (None, Encoding.F32LE):
            what = f"{name}: {requested} cannot hold mixed or resampled samples exactly"
            raise SourceError(f"{what}, expected {Encoding.F32LE}")
        low, high = -(-source.samplerate // FARTHEST), source.samplerate * FARTHEST
        if not low <= samplerate <= high:
            raise SourceError(f"{name}: samplerate {samplerate}, expected {low} to {high}")
        self.restart()

    @property
    def facts(self) -> tuple[object, ...]:
        """What makes the converted samples others than the source's; nothing if they are not."""
        by = (self.format.samplerate, QUALITY, soxr.__libsoxr_version__) if self.resampled else ()
        packed = (Compression.FLAC,) * (self.format.compression is Compression.FLAC)
        return (*self._picked, *(("mono",) * self._mixed), *by, *packed)

    def convert(self, data: bytes, *, last: bool = False) -> bytes:
        """
        Return what *data*, the frames that follow those before, become; *last* brings the rest.

        How the source is cut makes no difference, but one block of 4096 frames is fastest.
        """
        if self._picked:
            frames = np.frombuffer(data, np.uint8)
            shape = (-1, self.source.channels, self.source.encoding.sample_bytes)
            data = frames.reshape(shape)[:, [each - 1 for each in self._picked]].tobytes()
        if not (self._mixed or self.resampled):
            return data
        channels = len(self._picked) or self.source.channels
        samples = to_float32(data, self.source.encoding, channels)
        if self._mixed:
            samples = _mean(samples)
        if self.resampled:
            samples = self._resampler.resample_chunk(samples, last=last)
        return samples.astype("<f4", copy=False).tobytes()

    def restart(self) -> None:
        """Have the first frame come next."""
        if self.resampled:
            rates, count = (self.source.samplerate, self.format.samplerate), self.format.channels
            self._resampler = soxr.ResampleStream(*rates, count, dtype="float32", quality=QUALITY)


def _picked(requested: tuple[int, ...], source: Format, name: str) -> tuple[int, ...]:
    """Which channels are taken; none for all of them as they are."""
    for each in requested:
        if each > source.channels:
            raise SourceError(f"{name}: channel {each}, expected 1 to {source.channels}")
    return () if requested == tuple(range(1, source.channels + 1)) else requested


def _compressed(audio_format: Format, name: str) -> Format:
    try:
        return replace(audio_format, compression=Compression.FLAC)
    except ValueError as exc:
        raise SourceError(f"{name}: {exc}; --encoding auto sends any samples exactly") from exc


def _mean(samples: Samples) -> Samples:
    total = samples[:, 0].astype(np.float64)
    with np.errstate(invalid="ignore"):  # a float source's infinities
        for channel in range(1, samples.shape[1]):
            total += samples[:, channel]
    mean: Samples = (total / samples.shape[1]).astype(np.float32)[:, np.newaxis]
    return mean


BLOCK_FRAMES: Final = 4096
"""
How many frames of the source are converted at once, from its first on.

Always the same cuts, so that nobody has to rely on soxr's giving the same samples for others.
"""


def converted(source: Source, conversion: Conversion, requested: Encoding | None = None) -> Source:
    """
    Return *source* as *conversion* wants it; itself, if there is nothing to convert.

    *requested* is the encoding that was asked for.

    Raises:
        SourceError: if it cannot be had; then *source* is closed.
    """
    try:
        converter = Converter(conversion, source.format, requested, source.name)
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
