"""Which streams there are and who holds them: claims, fencing, expiry."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Final

import structlog

from receiver.metrics import Metrics
from receiver.processing.pipeline import Processing
from receiver.settings import Limits
from receiver.stores import Store
from sonoduct import wire
from sonoduct.wire import Draining, Eos, Fenced, Held, Hello, Level, Receipt, Terms, WireError

from .budget import Budget
from .stream import Holder, Make, Stream

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


log = structlog.get_logger()

SWEEP_INTERVAL_S: Final = 1.0


class Streams:
    """Every stream that has a connection, or had one a moment ago."""

    def __init__(
        self,
        store: Store,
        processing: Processing,
        make: Make,
        metrics: Metrics,
        limits: Limits,
    ) -> None:
        self.draining = False
        """Whether new claims are refused."""
        self.budget = Budget(limits, limits.window(kept=store.level is Level.DURABLE))
        self._store = store
        self._processing = processing
        self._make = make
        self._metrics = metrics
        self._limits = limits
        self._entries: dict[str, Entry] = {}
        self._now = asyncio.get_running_loop().time

    @property
    def active(self) -> int:
        """Streams that have a connection."""
        return sum(entry.holder is not None for entry in list(self._entries.values()))

    @property
    def full(self) -> bool:
        """Whether the store has no room for more."""
        return self._store.full

    @property
    def buffered(self) -> int:
        """Bytes of audio that came and are not kept and processed yet."""
        streams = [entry.stream for entry in list(self._entries.values()) if entry.stream]
        return sum(each.pending * each.hello.unit_bytes for each in streams)

    async def claim(self, hello: Hello, holder: Holder) -> Lease | Complete:
        """
        Give the stream that *hello* names to *holder*, who gives it back with `detach`.

        Raises:
            Held: if another sender is busy with it.
            Fenced: if a newer claim came meanwhile.
            Overloaded, Draining, Gone, Malformed, StorageFailed: as their names say.
        """
        if self.draining:
            raise Draining("receiver stops")
        entry = self._take_over(hello, holder)
        async with entry.turn:
            entry.require(holder)
            try:
                return await self._claim(hello, entry, holder)
            finally:
                self._tidy(hello.stream, entry, holder)

    async def commit(self, stream: Stream, holder: Holder, eos: Eos) -> Receipt:
        """
        End *stream* and return its receipt.

        Raises:
            BadChecksum: if the digest disagrees; the stream is over then, too.
            ProcessingFailed: if it is no audio; it is over here, and its sender may try again.
            Fenced: if *holder* does not hold it any more.
        """
        async with self._turn(stream, holder):
            try:
                receipt = await stream.commit(eos, self._store.level)
            except (wire.BadChecksum, wire.ProcessingFailed):
                self._end(stream, "failed")
                raise
            self._end(stream, "committed")
            return receipt

    async def cancel(self, stream: Stream, holder: Holder) -> None:
        """
        Give *stream* up for good, as its sender wishes.

        Raises:
            Fenced: if *holder* does not hold it any more.
            StorageFailed: if the disk refuses; nothing has changed then.
        """
        async with self._turn(stream, holder):
            await stream.claim.discard()
            stream.abandon()
            self._end(stream, "cancelled")

    async def detach(self, lease: Lease, holder: Holder, *, final: bool) -> None:
        """*holder* is gone; keep the stream for a while unless nobody could come back for it."""
        stream = lease.stream
        entry = self._entries.get(stream.hello.stream)
        if entry is not None and entry.holder is holder:
            entry.holder = stream.holder = None
            entry.since = self._now()
            await stream.seal()
            if final:
                await self._abandon(stream)
        await stream.settled()
        self.budget.give_back(lease.terms.window)

    def give_up(self) -> None:
        """Wait for no processor and no decoder any more: the receiver ends."""
        self._processing.give_up()
        for entry in self._entries.values():
            if entry.stream is not None:
                entry.stream.interrupt(Draining("receiver stops"))

    async def sweep(self) -> None:
        """End streams whose sender did not come back in time; run this as a task."""
        full = False
        while True:
            await asyncio.sleep(SWEEP_INTERVAL_S)
            if self.full is not full:
                full = self.full
                if full:
                    log.error("store_full", free_bytes=self._store.free_bytes)
                else:
                    log.info("store_has_room", free_bytes=self._store.free_bytes)
            for stream in self._expired(self._now() - self._limits.resume_timeout):
                await self._abandon(stream)

    @asynccontextmanager
    async def _turn(self, stream: Stream, holder: Holder) -> AsyncIterator[None]:
        entry = self._entries.get(stream.hello.stream) or Entry("", None, 0.0)
        async with entry.turn:
            entry.require(holder)
            yield

    def _take_over(self, hello: Hello, holder: Holder) -> Entry:
        entry = self._entries.get(hello.stream)
        if entry is None:
            entry = Entry(hello.instance, holder, self._now())
            self._entries[hello.stream] = entry
            return entry
        entry.give_way(hello, self._now(), self._limits.takeover_timeout)
        self._metrics.fenced.inc(entry.holder is not None)
        entry.instance, entry.holder, entry.since = hello.instance, holder, self._now()
        return entry

    async def _claim(self, hello: Hello, entry: Entry, holder: Holder) -> Lease | Complete:
        if entry.stream is not None:
            await entry.stream.unpacked()  # into the claim before, which ends now
        claim = await self._store.claim(hello, on_kept=entry.advanced, on_failed=entry.failed)
        if claim.receipt is not None:
            return Complete(claim.epoch, claim.receipt)
        try:
            entry.require(holder)
            window = self.budget.take()
        except WireError:
            await claim.seal()
            raise
        if entry.stream is None:
            entry.stream = self._make(hello, claim)
        else:
            entry.stream.resume(claim)
        entry.stream.holder = holder
        log.info("stream_opened", **entry.stream.facts, offset=claim.offset)
        self._metrics.resumes.inc(claim.epoch > 1)
        level = self._store.level
        ack = hello.ack if level is Level.DURABLE else level
        kept = level is Level.DURABLE
        return Lease(entry.stream, Terms(window, self._limits.max_chunk(window), ack, kept))

    def _tidy(self, stream: str, entry: Entry, holder: Holder) -> None:
        """After a claim: whoever did not get the stream does not hold it."""
        if entry.holder is not holder or (entry.stream and entry.stream.holder is holder):
            return
        entry.holder = None
        if entry.stream is None:  # no sweep would ever look at it
            del self._entries[stream]

    def _expired(self, limit: float) -> list[Stream]:
        return [
            entry.stream
            for entry in self._entries.values()
            if entry.stream is not None and entry.holder is None and entry.since < limit
        ]

    async def _abandon(self, stream: Stream) -> None:
        stream.abandon()
        await stream.claim.forget()
        self._end(stream, "abandoned")

    def _end(self, stream: Stream, result: str) -> None:
        self._entries.pop(stream.hello.stream).holder = None  # whoever waits for a turn is too late
        self._metrics.streams.labels(result).inc()
        log.info("stream_ended", **stream.facts, result=result)
