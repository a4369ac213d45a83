"""Conversion: picked channels, mixed to mono, resampled, FLAC; and a source converted so."""

from __future__ import annotations

import threading
from dataclasses import dataclass
from typing import Final

import numpy as np
import soxr
from msgspec.structs import replace
from typing_extensions import override

from sender.errors import SourceError
from sonoduct.audio.samples import Samples, to_float32
from sonoduct.wire import CHANNELS, Buffer, Compression, Encoding, Format

from . import Source, identity

QUALITY: Final = "VHQ"
"""soxr's quality: its noise is below the last of 24 bits, at about half its default speed."""

FARTHEST: Final = 256
"""The largest factor between two samplerates: it bounds the memory that one block becomes."""

BLOCK_FRAMES: Final = 4096
"""
Frames of the source that are converted at once, counted from its first.

The cuts are always the same, so that the samples do not depend on how soxr treats other cuts.
"""


@dataclass(frozen=True)
class Conversion:
    """The requested conversion. By default samples stay unchanged."""

    samplerate: int | None = None
    """Hertz."""
    mono: bool = False
    channels: tuple[int, ...] = ()
    """Channels to send, in this order, counted from 1. Mixing comes after this."""
    flac: bool = False
    """Whether samples travel as FLAC, which changes their bytes on the wire and nothing else."""


def parse_channels(text: str) -> tuple[int, ...]:
    """
    Return the channels that *text* names, such as ``1,3``.

    Raises:
        ValueError: if it names none, or a channel twice.
    """
    parts = text.split(",")
    channels = tuple(int(part) for part in parts if part.isascii() and part.isdecimal())
    if len(set(channels)) != len(parts) or any(each not in CHANNELS for each in channels):
        expected = f"different numbers from 1 to {CHANNELS.stop - 1} with commas between"
        raise ValueError(f"channels {text!r}, expected {expected}")
    return channels


class Converter:
    """
    Converts the canonical bytes of one stream, from its first frame to its last.

    It picks channels from the bytes, which keeps the encoding. It mixes by adding the picked
    channels in float64, one after the other, dividing by their number, and rounding once to
    float32. Last, soxr changes the samplerate.
    """

    def __init__(
        self, conversion: Conversion, source: Format, requested: Encoding | None, name: str
    ) -> None:
        """
        *requested* is the encoding that the user chose; None for the smallest exact one.

        Raises:
            SourceError: naming *name*, if *source* cannot be converted so.
        """
        self.source = source
        self._picked = _picked(conversion.channels, source, name)
        left = len(self._picked) or source.channels
        self._mixed = conversion.mono and left > 1
        samplerate = conversion.samplerate or source.samplerate
        self.resampled = samplerate != source.samplerate
        """Whether frames depend on their neighbours; if not, each can be converted alone."""
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
        """The facts in which the converted samples differ from the source's; empty if in none."""
        by = (self.format.samplerate, QUALITY, soxr.__libsoxr_version__) if self.resampled else ()
        packed = (Compression.FLAC,) * (self.format.compression is Compression.FLAC)
        return (*self._picked, *(("mono",) * self._mixed), *by, *packed)

    def convert(self, data: Buffer, *, last: bool = False) -> Buffer:
        """
        Convert *data*, the next frames; with *last*, also return the frames that soxr still holds.

        Blocks of any size give the same samples; blocks of 4096 frames are fastest.
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
        """Start again: the first frame comes next."""
        if self.resampled:
            rates, count = (self.source.samplerate, self.format.samplerate), self.format.channels
            self._resampler = soxr.ResampleStream(*rates, count, dtype="float32", quality=QUALITY)


def _picked(requested: tuple[int, ...], source: Format, name: str) -> tuple[int, ...]:
    """Return the channels to pick; none if that would change nothing."""
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


def converted(source: Source, conversion: Conversion, requested: Encoding | None = None) -> Source:
    """
    Return *source* converted; *source* itself, if there is nothing to convert.

    *requested* is the encoding that the user chose; None for the smallest exact one.

    Raises:
        SourceError: if it cannot be converted so; *source* is closed then.
    """
    try:
        converter = Converter(conversion, source.pcm, requested, source.name)
    except BaseException:
        source.close()
        raise
    return Converted(source, converter) if converter.facts else source


class Converted(Source):
    """
    The samples of another source, converted.

    Resampled frames depend on their neighbours, so going back starts again at the first frame.
    """

    def __init__(self, source: Source, converter: Converter) -> None:
        self.name = source.name
        self.live = source.live
        self.decoder = source.decoder
        self.format = converter.format
        self.stream = identity(source.stream, *converter.facts)
        self.units = source.units
        if source.units is not None:
            self.units = round(source.units * self.format.samplerate / source.pcm.samplerate)
        self._source = source
        self._converter = converter
        self._turn = threading.Lock()
        self._restart()

    @property
    @override
    def evidence(self) -> str:
        return self._source.evidence

    @property
    @override
    def growing(self) -> bool:
        return self._source.growing

    @property
    @override
    def first(self) -> int:
        return self._source.first

    @override
    def read(self, offset: int, units: int) -> Buffer:
        if not self._converter.resampled:
            return self._converter.convert(self._source.read(offset, units))
        with self._turn:
            if offset < self._start:
                self._restart()
            width = self.unit_bytes
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

    @override
    def release(self, offset: int) -> None:
        if not self._converter.resampled:
            self._source.release(offset)

    @override
    def forget(self) -> None:
        self._source.forget()

    @override
    def close(self) -> None:
        self._source.close()

    def _restart(self) -> None:
        self._converter.restart()
        self._taken = 0
        self._ended = False
        self._start = 0
        self._ready = bytearray()
        """Converted frames from `_start` on."""

    def _convert_block(self) -> Buffer:
        width, block = self._source.unit_bytes, b""
        while frames := BLOCK_FRAMES - len(block) // width:
            piece = self._source.read(self._taken + len(block) // width, frames)
            if not piece:
                self._ended = True
                break
            block += piece
        self._taken += len(block) // width
        return self._converter.convert(block, last=self._ended)
