"""What decoding is done with."""

from __future__ import annotations

from dataclasses import dataclass, field

from .limits import Limits


@dataclass(frozen=True, kw_only=True)
class Means:
    """A service's settings, as far as they are decoding's."""

    ffmpeg: str | None = None
    """The program's path or name; None for the one on PATH."""

    limits: Limits = field(default_factory=Limits)
