"""One file that is to be decoded, and what that may take."""

from __future__ import annotations

import os
from dataclasses import dataclass

from runtime.child import Bounds
from wire import Encoding

from .limits import Limits


@dataclass(frozen=True, kw_only=True)
class Job:
    """An open file, and how the caller wants it."""

    descriptor: int
    size: int
    limits: Limits
    ffmpeg: str | None
    """The program's path or name; None for the one on PATH."""
    wanted: Encoding | None
    """None for the smallest exact one."""

    @property
    def bounds(self) -> Bounds:
        """What one child may use."""
        return self.limits.bounds(self.size)

    def rewound(self) -> int:
        """The descriptor, at the beginning of the file: where a decoder goes on from."""
        os.lseek(self.descriptor, 0, os.SEEK_SET)
        return self.descriptor
