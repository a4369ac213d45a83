"""One file that is to be decoded, and what that may take."""

from __future__ import annotations

import os
from dataclasses import dataclass

from sonoduct.runtime.cancellation import Cancellation
from sonoduct.runtime.child import Bounds
from sonoduct.wire import Encoding

from .containers.part import Part
from .means import Means


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
