"""Who has a stream, and what a claim on it gives."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass, field

from wire import Receipt, Terms, WireError

from .stream import Holder, Stream


@dataclass
class Entry:
    """One stream id: who holds it, and the stream itself once it is claimed."""

    instance: str
    """Which sender process the holder is."""

    holder: Holder | None
    since: float
    """When the holder came, or went, by the event loop's clock."""

    stream: Stream | None = None
    turn: asyncio.Lock = field(default_factory=asyncio.Lock)
    """Claims and commits of one stream take turns."""

    def advanced(self) -> None:
        """More is kept (called by the store)."""
        if self.stream is not None:
            self.stream.advanced()

    def failed(self, error: WireError) -> None:
        """The store takes nothing more under this claim (called by the store)."""
        if self.holder is not None:
            self.holder.stop(error)


@dataclass(frozen=True, slots=True)
class Lease:
    """A stream, for as long as one connection holds it."""

    stream: Stream
    terms: Terms


@dataclass(frozen=True, slots=True)
class Complete:
    """A stream that needs nothing more."""

    epoch: int
    receipt: Receipt
