"""What a stream consists of: the kind of its units and, for samples, how they are to be read."""

from __future__ import annotations

import enum
from typing import Final

import msgspec

from .encodings import Encoding

SAMPLERATES: Final = range(1, 768_001)
CHANNELS: Final = range(1, 65)


class Kind(enum.StrEnum):
    """What the units of a stream are."""

    PCM = "pcm"
    """Frames of samples."""

    FILE = "file"
    """Bytes of an audio file."""


class Format(msgspec.Struct, frozen=True, kw_only=True):
    """How a ``pcm`` stream's samples are to be read."""

    samplerate: int
    """Hertz."""
    channels: int
    encoding: Encoding

    def __post_init__(self) -> None:
        _require_range("samplerate", self.samplerate, SAMPLERATES)
        _require_range("channels", self.channels, CHANNELS)

    @property
    def frame_bytes(self) -> int:
        """Bytes of one sample for each channel."""
        return self.channels * self.encoding.sample_bytes


def _require_range(what: str, seen: int, allowed: range) -> None:
    if seen not in allowed:
        raise ValueError(f"{what} {seen}, expected {allowed.start} to {allowed.stop - 1}")
