"""How to decode: which ffmpeg, how much memory and time; and one open file to decode so."""

from __future__ import annotations

import os
from dataclasses import dataclass, field
from typing import Final

from sonoduct.runtime.child import Cancellation, ChildLimits
from sonoduct.wire import Encoding

from .containers.part import Part

LEAST_MEMORY: Final = 512 * 1024 * 1024
"""Bytes of address space below which decoders do not start."""

SHARE_BYTES: Final = 16 * 1024 * 1024
"""A decoder gets its time once, and once more for each of these in the file."""


@dataclass(frozen=True, kw_only=True)
class Limits:
    """
    The limits of one decoder.

    Memory and time are enforced on child processes, the size of the output on every decoder.
    """

    memory_bytes: int = 1024 * 1024 * 1024
    """Address space. ffmpeg takes 100 to 500 MB, Python with libsndfile 300 MB."""

    cpu_seconds: int = 60
    """Seconds of computing, and as many again for each 16 MiB of the file."""

    wall_seconds: float = 60.0
    """Seconds that a reader may wait for output in all, and as many again for each 16 MiB."""

    expansion: int = 2000
    """Bytes of samples for each byte of the file. Digital silence in FLAC has 1200."""

    least_output: int = 256 * 1024 * 1024
    """Bytes of samples that even the smallest file may have: silence takes next to no bytes."""

    def child_limits(self, size: int) -> ChildLimits:
        """Return the limits of a child that decodes a file of *size* bytes."""
        shares = 1 + size / SHARE_BYTES
        return ChildLimits(
            memory_bytes=self.memory_bytes,
            cpu_seconds=int(self.cpu_seconds * shares),
            wall_seconds=self.wall_seconds * shares,
        )

    def most_output(self, size: int) -> int:
        """Return how many bytes of samples a file of *size* bytes may have."""
        return max(self.least_output, self.expansion * size)


@dataclass(frozen=True, kw_only=True)
class DecodeOptions:
    """The settings of a service that concern decoding."""

    ffmpeg: str | None = None
    """The program's path or name; None for the one on PATH."""

    limits: Limits = field(default_factory=Limits)


@dataclass(frozen=True, kw_only=True)
class OpenFile:
    """One open file, and how the caller wants it decoded."""

    descriptor: int
    size: int
    """Bytes of the whole file."""

    part: Part
    """The file without its tags."""

    options: DecodeOptions
    requested: Encoding | None
    """The encoding of the samples; None for the smallest exact one."""

    cancellation: Cancellation | None
    """Ends the children that decode this file."""

    @property
    def child_limits(self) -> ChildLimits:
        """The limits of one child that decodes this file."""
        return self.options.limits.child_limits(self.size)

    def rewound(self) -> int:
        """Move the descriptor to the beginning of the file, where decoders start; return it."""
        os.lseek(self.descriptor, 0, os.SEEK_SET)
        return self.descriptor
