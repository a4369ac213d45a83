"""The kind of a stream's units, and how to read samples: encoding, compression, format."""

from __future__ import annotations

import enum
from typing import Final

import msgspec

Buffer = bytes | bytearray | memoryview

SAMPLERATES: Final = range(1, 768_001)
CHANNELS: Final = range(1, 65)

FLAC_CHANNELS: Final = 8
FLAC_SAMPLERATES: Final = range(1, 65_536)
FLAC_TENS: Final = range(10, 655_351, 10)

# Noise grows in FLAC, which stores it unchanged: libFLAC adds 96 bytes at the start, and 9 to 26
# for each block of 4096 frames.
FLAC_HEADERS: Final = 256
FLAC_OVERHEAD: Final = 64
"""One more byte is reserved for each group of this many frames."""


class Kind(enum.StrEnum):
    """The units of a stream."""

    PCM = "pcm"
    """Frames of samples."""

    FILE = "file"
    """Bytes of an audio file."""


class Encoding(enum.StrEnum):
    """The payload of a ``pcm`` stream's chunks: little-endian samples, channels interleaved."""

    S16LE = "s16le"
    """16 bit signed integers."""

    S24LE = "s24le"
    """24 bit signed integers, packed in 3 bytes."""

    F32LE = "f32le"
    """32 bit floats, not clipped."""

    @property
    def sample_bytes(self) -> int:
        """Bytes of one sample."""
        return _SAMPLE_BYTES[self]


_SAMPLE_BYTES: Final = {Encoding.S16LE: 2, Encoding.S24LE: 3, Encoding.F32LE: 4}


class Compression(enum.StrEnum):
    """How the payload of a ``pcm`` stream's chunk holds the samples."""

    NONE = "none"
    """As canonical bytes."""

    FLAC = "flac"
    """As a complete FLAC stream (RFC 9639) in each chunk."""


class Format(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """How to read the samples of a ``pcm`` stream."""

    samplerate: int
    """Hertz."""
    channels: int
    encoding: Encoding
    """The canonical bytes of a sample; they do not depend on the compression."""
    compression: Compression = Compression.NONE

    def __post_init__(self) -> None:
        _require_range("samplerate", self.samplerate, SAMPLERATES)
        _require_range("channels", self.channels, CHANNELS)
        if self.compression is Compression.FLAC and not self.fits_flac:
            raise ValueError(
                f"flac of {self.encoding}, {self.channels} channels at {self.samplerate} Hz, "
                "expected s16le or s24le, 1 to 8 channels, and Hz that FLAC can say"
            )

    @property
    def frame_bytes(self) -> int:
        """Bytes of one sample for each channel."""
        return self.channels * self.encoding.sample_bytes

    @property
    def fits_flac(self) -> bool:
        """
        Whether FLAC holds such samples exactly.

        FLAC has no floats. Its frame headers can write each samplerate up to 65535 Hz, and above
        that only multiples of ten (RFC 9639, sections 9.1.2 and 9.1.3).
        """
        sayable = self.samplerate in FLAC_SAMPLERATES or self.samplerate in FLAC_TENS
        return self.encoding is not Encoding.F32LE and self.channels <= FLAC_CHANNELS and sayable

    def frames_in(self, size: int) -> int:
        """Return how many frames fit into a payload of *size* bytes, for any samples."""
        if self.compression is Compression.NONE:
            return size // self.frame_bytes
        spare = max(0, size - FLAC_HEADERS)
        return spare * FLAC_OVERHEAD // (self.frame_bytes * FLAC_OVERHEAD + 1)


def _require_range(what: str, seen: int, allowed: range) -> None:
    if seen not in allowed:
        raise ValueError(f"{what} {seen}, expected {allowed.start} to {allowed.stop - 1}")
