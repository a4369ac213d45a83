"""
The streams of a receiver, and the connection that holds each: claims, fencing, expiry.

A connection claims a stream, may commit or cancel it, and detaches when it ends. A newer claim
fences the holder. A stream without a holder waits for its sender, for `resume_timeout` seconds.
"""

from __future__ import annotations

import asyncio
from collections import OrderedDict
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from math import inf
from typing import Final

import structlog

from receiver.metrics import Metrics
from receiver.processing.pipeline import Processing
from receiver.settings import CHUNK_COST, Limits
from receiver.stores import Store
from sonoduct import wire
from sonoduct.wire import (
    Draining,
    Eos,
    Fenced,
    Held,
    Hello,
    Level,
    Receipt,
    Terms,
    TooLarge,
    WireError,
)

from .budget import Budget
from .claims import ClaimRate
from .quotas import Quotas
from .stream import Holder, MakeStream, Stream

log = structlog.get_logger()

SWEEP_INTERVAL_S: Final = 1.0

TOUCH_S: Final = 100.0
"""Silence of a connected sender after which its stream is marked as one that is held."""

MOST_SILENT: Final = 100
"""Streams without any audio that wait for their senders; beyond it the oldest are forgotten."""

NEWER: Final = "a newer connection has claimed the stream"
STOPS: Final = "receiver stops"


@dataclass(frozen=True, slots=True)
class Lease:
    """A stream while one connection holds it."""

    stream: Stream
    terms: Terms
    offset: int
    """The unit at which the connection continued."""


@dataclass(frozen=True, slots=True)
class AlreadyCommitted:
    """A stream that is complete: its sender gets the receipt again."""

    epoch: int
    receipt: Receipt


class StreamRegistry:
    """Every stream with a connection, and those whose senders may come back."""

    def __init__(
        self,
        store: Store,
        processing: Processing,
        make: MakeStream,
        metrics: Metrics,
        limits: Limits,
        quotas: Quotas,
    ) -> None:
        self._quotas = quotas
        self.draining = False
        """Whether new claims are refused."""
        self.budget = Budget(limits, limits.window(kept=store.level is Level.DURABLE))
        self._store = store
        self._processing = processing
        self._make = make
        self._metrics = metrics
        self._limits = limits
        self._slots: dict[str, Slot] = {}
        self._claims = ClaimRate()
        self._touched = 0.0
        self._silent: OrderedDict[str, Stream] = OrderedDict()
        self._now = asyncio.get_running_loop().time

    @property
    def slots(self) -> list[Slot]:
        """All streams at the moment; any thread may ask."""
        return list(self._slots.values())

    @property
    def full(self) -> bool:
        """Whether the store has no room for more."""
        return self._store.full

    async def claim(self, hello: Hello, holder: Holder) -> Lease | AlreadyCommitted:
        """
        Give the stream that *hello* names to *holder*, which returns it with `detach`.

        Raises:
            Held: if another sender is busy with the stream.
            Fenced: if a newer claim came in the meantime.
            Overloaded: if there is no memory for another window.
            Draining: if the receiver stops.
            TooFast: if the client has claimed the stream too often, and sent nothing.
            Gone: if the stream was cancelled or has expired.
            Malformed: if the stream exists in another format.
            StorageFailed: if the disk refuses.
        """
        if self.draining:
            raise Draining(STOPS)
        slot = self._take_over(hello, holder)
        async with slot.turn:
            slot.require(holder)
            try:
                return await self._claim(hello, slot, holder)
            finally:
                self._tidy(hello.stream, slot, holder)

    async def commit(self, stream: Stream, holder: Holder, eos: Eos) -> Receipt:
        """
        End *stream* and return its receipt.

        Raises:
            BadChecksum: if the digest is wrong; this ends the stream.
            ProcessingFailed: if the file is not audio; the stream ends, its sender may try again.
            TooLarge: if the decoded file is larger than a stream may be; the stream ends.
            Overloaded: if too many files wait for a decoder; the stream waits for its sender.
            Fenced: if *holder* does not hold the stream any more.
        """
        async with self._turn(stream, holder):
            try:
                receipt = await stream.commit(eos, self._store.level)
            except (wire.BadChecksum, wire.ProcessingFailed, wire.TooLarge):
                self._end(stream, "failed")
                raise
            size = max(stream.stored_bytes, stream.received * stream.unit_bytes)
            self._quotas.committed(holder.origin.token, size)
            self._end(stream, "committed")
            return receipt

    async def cancel(self, stream: Stream, holder: Holder) -> None:
        """
        Remove *stream* for good: its sender cancels it.

        Raises:
            Fenced: if *holder* does not hold the stream any more.
            StorageFailed: if the disk refuses; then nothing has changed.
        """
        async with self._turn(stream, holder):
            await stream.claim.discard()
            stream.abandon()
            self._end(stream, "cancelled")

    async def detach(self, lease: Lease, holder: Holder, *, final: bool) -> None:
        """Take the stream back from *holder*; if *final*, its sender cannot come back for it."""
        stream = lease.stream
        if stream.received > lease.offset:
            self._claims.forgive(stream.hello.stream, holder.client)
        slot = self._slots.get(stream.hello.stream)
        if slot is not None and slot.holder is holder:
            slot.holder = stream.holder = None
            slot.since = self._now()
            await stream.seal()
            if final:
                await self._abandon(stream)
            elif not stream.received:
                await self._forget_silent(stream)
        await stream.settled()
        self.budget.give_back(lease.terms.window)

    def give_up(self) -> None:
        """Stop waiting for processors and decoders: the receiver ends."""
        self._processing.give_up()
        for slot in self._slots.values():
            if slot.stream is not None:
                slot.stream.interrupt(Draining(STOPS))

    async def sweep(self) -> None:
        """End streams whose senders did not come back in time; run this as a task."""
        full = False
        while True:
            await asyncio.sleep(SWEEP_INTERVAL_S)
            if self.full is not full:
                full = self.full
                if full:
                    log.error("store_full", free_bytes=self._store.free_bytes)
                else:
                    log.info("store_has_room", free_bytes=self._store.free_bytes)
            await self._touch_held()
            for stream in self._expired(self._now() - self._limits.resume_timeout):
                await self._abandon(stream)

    @asynccontextmanager
    async def _turn(self, stream: Stream, holder: Holder) -> AsyncIterator[None]:
        slot = self._slots.get(stream.hello.stream) or Slot("", None, 0.0)
        async with slot.turn:
            slot.require(holder)
            yield

    def _take_over(self, hello: Hello, holder: Holder) -> Slot:
        slot, now = self._slots.get(hello.stream), self._now()
        self._silent.pop(hello.stream, None)
        if slot is not None:
            slot.require_free(hello, now, self._limits.takeover_timeout)
            self._claims.count(hello.stream, holder.client, now)  # not the first: it costs nothing
        if slot is None:
            token = holder.origin.token
            slot = self._slots[hello.stream] = Slot(hello.instance, holder, now, token)
            return slot
        slot.give_way()
        if slot.holder is not None:
            self._metrics.fenced.inc()
            log.info("holder_fenced", stream=hello.stream, **_facts(hello, holder))
        slot.instance, slot.holder, slot.since = hello.instance, holder, now
        return slot

    async def _claim(self, hello: Hello, slot: Slot, holder: Holder) -> Lease | AlreadyCommitted:
        if slot.stream is not None:
            await slot.stream.unpacked()  # for the previous claim, which ends now
        claim = await self._store.claim(
            hello, on_kept=slot.advanced, on_failed=slot.failed, origin=holder.origin
        )
        if claim.receipt is not None:
            return AlreadyCommitted(claim.epoch, claim.receipt)
        try:
            slot.require(holder)
            most_bytes = claim.offset * hello.unit_bytes + self._left(hello.stream, holder)
            window = self.budget.take()
        except WireError:
            await claim.seal()
            raise
        if slot.stream is None:
            slot.stream = self._make(hello, claim)
        else:
            slot.stream.resume(claim)
        slot.stream.holder, slot.stream.most_bytes = holder, most_bytes
        log.info("stream_opened", **slot.stream.facts, offset=claim.offset, **_facts(hello, holder))
        self._metrics.resumes.inc(claim.epoch > 1)
        level = self._store.level
        ack = hello.ack if level is Level.DURABLE else level
        kept = level is Level.DURABLE
        terms = Terms(window, self._limits.max_chunk(window), ack, kept, CHUNK_COST)
        return Lease(slot.stream, terms, claim.offset)

    def _left(self, stream: str, holder: Holder) -> float:
        """
        Return the bytes that the holder's token may still store.

        Raises:
            TooLarge: if there are none.
        """
        token, quota = holder.origin.token, holder.quota
        if quota is None:
            return inf
        others = (
            slot.stream
            for other, slot in self._slots.items()
            if slot.token == token and other != stream
        )
        under_way = sum(each.received * each.unit_bytes for each in others if each is not None)
        left = self._quotas.left(token, quota, under_way)
        if left <= 0:
            what = "bytes stored for the token"
            raise TooLarge(what, seen=int(quota - left), expected=f"less than {quota}")
        return left

    def _tidy(self, stream: str, slot: Slot, holder: Holder) -> None:
        """Take the stream from *holder* if its claim was refused."""
        if slot.holder is not holder or (slot.stream and slot.stream.holder is holder):
            return
        slot.holder = None
        if slot.stream is None:  # sweep looks at streams only
            del self._slots[stream]

    def _expired(self, limit: float) -> list[Stream]:
        return [
            slot.stream
            for slot in self._slots.values()
            if slot.stream is not None and slot.holder is None and slot.since < limit
        ]

    async def _abandon(self, stream: Stream) -> None:
        stream.abandon()
        await stream.claim.forget()
        self._end(stream, "abandoned")

    async def _touch_held(self) -> None:
        """Show, for streams whose senders are silent, that they are not away."""
        now = self._now()
        if now - self._touched < TOUCH_S:
            return
        self._touched = now
        for slot in self.slots:
            if (
                slot.holder is not None
                and slot.stream is not None
                and now - slot.progress > TOUCH_S
            ):
                await slot.stream.claim.touch()

    async def _forget_silent(self, stream: Stream) -> None:
        """Keep few streams of which nothing has come, however many clients say hello and go."""
        self._silent[stream.hello.stream] = stream
        while len(self._silent) > MOST_SILENT:
            stream_id, oldest = self._silent.popitem(last=False)
            slot = self._slots.get(stream_id)
            if slot is not None and slot.holder is None and not oldest.received:
                await self._abandon(oldest)

    def _end(self, stream: Stream, result: str) -> None:
        slot = self._slots.pop(stream.hello.stream)
        self._silent.pop(stream.hello.stream, None)
        holder, slot.holder = slot.holder, None  # a holder that waits for a turn is late
        self._metrics.streams.labels(result).inc()
        stream.log_unheard()
        peer = holder.facts if holder else {"peer": None}
        size = stream.received * stream.unit_bytes
        facts = {**stream.facts, "bytes": size, "instance": slot.instance, **peer}
        log.info("stream_ended", result=result, **facts)


def _facts(hello: Hello, holder: Holder) -> dict[str, str]:
    """Return the fields of the log that name the sending process and its address."""
    return {"instance": hello.instance, **holder.facts}


@dataclass(slots=True)
class Slot:
    """A stream id: its holder, and the stream itself once a claim is granted."""

    instance: str
    """The holder's sender process."""

    holder: Holder | None
    since: float
    """The event loop's time at which the holder came, or left."""

    token: str = ""
    """Name of the token that the stream belongs to."""
    stream: Stream | None = None
    turn: asyncio.Lock = field(default_factory=asyncio.Lock)
    """Claims and commits of one stream take turns."""

    @property
    def progress(self) -> float:
        """The event loop's time of the last chunk, or of the holder's coming or leaving."""
        return max(self.since, self.stream.last_chunk) if self.stream is not None else self.since

    def require_free(self, hello: Hello, now: float, limit: float) -> None:
        """
        Check that *hello* may take the stream: its own sender may at once, others if it idles.

        Raises:
            Held: if the holder has made progress within *limit* seconds.
        """
        idle = now - self.progress
        if self.holder is not None and self.instance != hello.instance and idle < limit:
            expected = f"{limit:g} before another sender may take it over"
            what = "stream is held; seconds without progress"
            raise Held(what, seen=round(idle, 1), expected=expected)

    def give_way(self) -> None:
        """Stop the holder, if there is one."""
        if self.holder is not None:
            fenced = Fenced(NEWER)
            self.holder.stop(fenced)
            if self.stream is not None:
                self.stream.interrupt(fenced)

    def require(self, holder: Holder) -> None:
        """
        Check that *holder* still holds the stream.

        Raises:
            Fenced: if a newer connection has claimed it.
        """
        if self.holder is not holder:
            raise Fenced(NEWER)

    def advanced(self) -> None:
        """Tell the stream that more is stored (called by the store)."""
        if self.stream is not None:
            self.stream.advanced()

    def failed(self, error: WireError) -> None:
        """Close the holder's connection: its claim has failed (called by the store)."""
        if self.holder is not None:
            self.holder.stop(error)
