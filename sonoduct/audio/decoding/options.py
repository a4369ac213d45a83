"""One file that is to be decoded, and what that may take."""

from __future__ import annotations

import os
from dataclasses import dataclass, field
from typing import Final

from sonoduct.runtime.child import Bounds, Cancellation
from sonoduct.wire import Encoding

from .containers.part import Part

SHARE_BYTES: Final = 16 * 1024 * 1024
"""For each of these in the file, its time is granted once more."""


LEAST_MEMORY: Final = 512 * 1024 * 1024
"""Address space below which decoders do not start."""


@dataclass(frozen=True, kw_only=True)
class Limits:
    """
    Bounds of one decoder.

    Memory and time are enforced where it is a child process, the size of the output everywhere.
    """

    memory_bytes: int = 1024 * 1024 * 1024
    """Of address space. ffmpeg takes 100 to 500 MB of it, Python with libsndfile 300 MB."""

    cpu_seconds: int = 60
    """Of computing, and as much again for each 16 MiB of the file."""

    wall_seconds: float = 60.0
    """Of waiting for output, all in all, and as much again for each 16 MiB of the file."""

    expansion: int = 2000
    """Bytes of samples for each byte of the file; digital silence in FLAC has 1200."""

    least_output: int = 256 * 1024 * 1024
    """What even the smallest file may expand to: silence takes next to no bytes."""

    def bounds(self, size: int) -> Bounds:
        """What a child may use that decodes a file of *size* bytes."""
        shares = 1 + size / SHARE_BYTES
        return Bounds(
            memory_bytes=self.memory_bytes,
            cpu_seconds=int(self.cpu_seconds * shares),
            wall_seconds=self.wall_seconds * shares,
        )

    def most_output(self, size: int) -> int:
        """Bytes of samples that a file of *size* bytes may give."""
        return max(self.least_output, self.expansion * size)


@dataclass(frozen=True, kw_only=True)
class Job:
    """An open file, and how the caller wants it."""

    descriptor: int
    size: int
    part: Part
    """Of the file, without its tags."""
    means: Means
    wanted: Encoding | None
    """None for the smallest exact one."""
    cancellation: Cancellation | None
    """What can end its children."""

    @property
    def bounds(self) -> Bounds:
        """What one child may use."""
        return self.means.limits.bounds(self.size)

    def rewound(self) -> int:
        """The descriptor, at the beginning of the file: where a decoder goes on from."""
        os.lseek(self.descriptor, 0, os.SEEK_SET)
        return self.descriptor


@dataclass(frozen=True, kw_only=True)
class Means:
    """A service's settings, as far as they are decoding's."""

    ffmpeg: str | None = None
    """The program's path or name; None for the one on PATH."""

    limits: Limits = field(default_factory=Limits)
