"""Who has a stream, and what a claim on it gives."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass, field
from typing import Final

from sonoduct.wire import Fenced, Held, Hello, Receipt, Terms, WireError

from .stream import Holder, Stream

NEWER: Final = "a newer connection has claimed the stream"


@dataclass(slots=True)
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

    def give_way(self, hello: Hello, now: float, limit: float) -> None:
        """
        Make the holder give way to *hello*: at once to its own sender, to others when it idles.

        Raises:
            Held: if it has made progress within *limit* seconds.
        """
        if self.holder is None:
            return
        idle = now - max(self.since, self.stream.last_chunk if self.stream else 0.0)
        if self.instance != hello.instance and idle < limit:
            expected = f"{limit:g} before another sender may take it over"
            what = "stream is held; seconds without progress"
            raise Held(what, seen=round(idle, 1), expected=expected)
        fenced = Fenced(NEWER)
        self.holder.stop(fenced)
        if self.stream is not None:
            self.stream.interrupt(fenced)

    def require(self, holder: Holder) -> None:
        """
        Check that nobody has claimed the stream since.

        Raises:
            Fenced: if somebody has.
        """
        if self.holder is not holder:
            raise Fenced(NEWER)

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
