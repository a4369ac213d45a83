"""The receiver's final word on a stream, which it sends and keeps."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, TypeAlias

import msgspec

Value: TypeAlias = int | float | str | bool | None
"""What a processor may report under one name."""
Values: TypeAlias = Mapping[str, Value]
Count: TypeAlias = Annotated[int, msgspec.Meta(ge=0, le=2**63 - 1)]
"""Units, bytes or milliseconds."""


class Receipt(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """The receiver's final word on a stream."""

    stream: str
    units: Count
    digest: str
    """xxh3-128 over the canonical bytes, 32 hexadecimal digits."""
    frames: Count
    samplerate: int
    channels: int
    seconds: float
    """frames / samplerate."""
    durable: bool
    """Whether it survives a power cut of the receiver's machine."""
    processors: dict[str, dict[str, Value]] = {}
    """What each processor reported at the end."""
    failures: dict[str, str] = {}
    """The processors that did not see all of it, and why."""
    sha256: str = ""
    """Of a file: what other tools know it by, 64 hexadecimal digits."""
    decoder: str = ""
    """Of a file: what turned it into frames."""
