"""The header of a WAV that comes through a pipe: how ffmpeg says what its samples are."""

from __future__ import annotations

from typing import NamedTuple, Protocol

from .errors import GaveUp


class Readable(Protocol):
    """What has a read that gives fewer bytes at the end only."""

    def read(self, size: int) -> bytes:
        """Return *size* bytes, fewer at the end."""


class Samples(NamedTuple):
    """What the samples after the header are."""

    samplerate: int
    channels: int


def read_header(stream: Readable) -> Samples:
    """
    Read up to the first sample.

    Raises:
        GaveUp: if that is no WAV.
    """
    if (start := stream.read(12))[:4] + start[8:] != b"RIFFWAVE":
        raise GaveUp(f"it wrote {start!r}, expected RIFF....WAVE")
    samples = None
    while (head := stream.read(8)) and not head.startswith(b"data"):
        body = stream.read(int.from_bytes(head[4:], "little"))
        if head.startswith(b"fmt "):
            samples = Samples(
                samplerate=int.from_bytes(body[4:8], "little"),
                channels=int.from_bytes(body[2:4], "little"),
            )
    if samples is None or not head:
        raise GaveUp("it wrote a WAV without samples")
    return samples
