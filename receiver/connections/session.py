"""One connection, from its first message to its close code: where all parts of the path meet."""

from __future__ import annotations

import asyncio
from typing import Final

import structlog
from msgspec.structs import replace

from receiver.dialects import Dialect
from receiver.metrics import Metrics
from receiver.processing.processor import Finding
from receiver.streams.registry import Complete, Lease, Streams
from sonoduct import wire
from sonoduct.runtime.logs import LogLimit
from sonoduct.wire import Control, Deadlines, Drain, Draining, Error, WireError

from .link import Link, LinkClosedError
from .outbox import Acks, Outbox

RETRY_MS: Final = 500
"""What a draining receiver asks its senders to wait at most."""

_RESULTS: Final = {4409: "fenced", 1012: "drained", 1013: "refused", 4423: "refused"}


def result_of(error: WireError) -> str:
    """Return what metrics call a connection that ended with *error*."""
    return _RESULTS.get(error.close_code, "error")


def farewell(error: WireError) -> Control:
    """Return the message that comes before the close code."""
    if isinstance(error, Draining):
        return Drain(retry_ms=RETRY_MS)
    return Error(
        code=error.close_code, message=error.message, seen=error.seen, expected=error.expected
    )


log = structlog.get_logger()

_GOODBYES: Final = (1000, 1001)

LEAVING: Final = "receiver stops"


class Session:
    """
    Serves one connection. Chunks pass through `_take` without waiting for anything.

    Everything that the peer does wrong ends here as one error message and one close code.
    """

    def __init__(
        self,
        link: Link,
        dialect: Dialect,
        streams: Streams,
        metrics: Metrics,
        deadlines: Deadlines,
        limit: LogLimit,
    ) -> None:
        """Faults of peers are logged within *limit*."""
        self._limit = limit
        self._hello: wire.Hello | None = None
        self.dialect = dialect
        self.result = "lost"
        """How the connection ended, as metrics call it."""
        self._loop = asyncio.get_running_loop()
        self._link = link
        self._streams = streams
        self._metrics = metrics
        self._traffic = metrics.traffic[dialect.name]
        if not dialect.credit:  # it says hello with its first audio, whenever that comes
            deadlines = replace(deadlines, hello=deadlines.progress)
        self._inbound = wire.Inbound(deadlines, self._loop.time())
        self._acks = Acks(self._inbound, self._flush, metrics.ack_latency.observe)
        self._outbox = Outbox(link, dialect, self._acks.next)
        self._lease: Lease | None = None
        self._stopped = False
        self._handled: asyncio.Event | None = None  # while a control message is handled

    async def run(self) -> None:
        """Serve the connection until it is closed."""
        try:
            async with asyncio.TaskGroup() as tasks:
                self._outbox.open(tasks)
                await self._serve()
        finally:
            self._acks.cancel()
            self._metrics.events_dropped.inc(self._outbox.dropped)
            await self._give_back(final=not self.dialect.resumable)

    def look(self, now: float) -> None:
        """Look at the clock: stop if the peer is silent, tell it that we live if it waits."""
        self._acks.beat(now)
        if self._stopped or self._acks.waiting:  # then it is the receiver that is slow
            return
        try:
            self._inbound.expire(now)
        except wire.WireError as exc:
            self._expire(exc)

    async def drain(self) -> None:
        """Acknowledge what came, and send the peer to another receiver; plain clients may end."""
        if not self.dialect.resumable:
            if self._lease is None and self._handled is None:  # nothing has come
                self.stop(wire.Draining(LEAVING))
            return
        try:
            if self._handled is not None:
                if self._lease is not None:
                    self._lease.stream.interrupt(wire.Draining(LEAVING))
                await self._handled.wait()
            self._stopped = True
            if (lease := self._lease) is not None:
                await lease.stream.seal()
                await lease.stream.settled()
                self.advanced()  # unless the peer has gone meanwhile
        finally:  # also when there is no time left to wait
            self.stop(wire.Draining(LEAVING))

    def advanced(self) -> None:
        """More is kept and processed (called by the stream)."""
        if self._lease is not None:
            self._inbound.release(self._lease.stream.released, self._loop.time())
            self._acks.released(self._lease.terms.step)

    def found(self, processor: str, finding: Finding) -> None:
        """Tell the peer what a processor reported (called by the stream)."""
        start, end, values = finding
        self._outbox.put(
            wire.Event(processor=processor, offset=start, end=end, values=dict(values))
        )

    def stop(self, error: wire.WireError) -> None:
        """Take nothing more from the peer, and close with *error* after what is to be said."""
        if self.result != "lost":
            return
        self._stopped = True
        self._acks.cancel()
        self.result = result_of(error)
        if self.result == "error":
            self._metrics.errors.labels(error.close_code).inc()
        if self.result in ("error", "refused"):
            self._log(error)
        self._outbox.put(farewell(error))
        self._outbox.close(error.close_code, error.reason)

    async def _serve(self) -> None:
        try:
            await self._read()
        except LinkClosedError as exc:
            await self._closed(exc.code)
        except wire.WireError as exc:
            self.stop(exc)
            await self._read_on()
        finally:
            self._stopped = True
            self._outbox.close(1000, "")  # whatever said goodbye before counts

    async def _closed(self, code: int) -> None:
        """The connection is gone; for some clients that is how a stream ends."""
        if self._stopped:
            return
        try:
            for message in self.dialect.closed(code):
                await self._take_next(message)
        except wire.WireError as exc:
            self.stop(exc)
        if code in _GOODBYES and self._lease is None and not self._stopped:
            self.result = "ok"

    async def _read(self) -> None:
        for message in self.dialect.greet():
            await self._control(message)
        if not self.dialect.resumable and self._streams.draining:
            raise wire.Draining(LEAVING)  # its hello would come later
        take = self._take_at_once if self.dialect.credit else None
        while True:
            data = await self._link.receive(take)
            for message in self.dialect.decode(data):
                await self._take_next(message)
                if self._stopped:
                    return await self._read_on()

    async def _take_next(self, message: wire.Message) -> None:
        if isinstance(message, wire.Chunk):
            if not self.dialect.credit:
                await self._acks.room_for(len(message.message))
            if not self._stopped:
                self._take(message)
        elif not self._stopped:
            await self._control(message)

    async def _read_on(self) -> None:
        """Let what is on its way pass by, until the closing handshake gets through."""
        try:
            while True:
                await self._link.receive()
        except (LinkClosedError, wire.WireError):
            return

    def _take_at_once(self, data: bytes) -> None:
        """Take a message for which `_read` is not woken."""
        if self._stopped:
            return
        try:
            for message in self.dialect.decode(data):
                assert isinstance(message, wire.Chunk)  # what else could a binary message be
                self._take(message)
        except wire.WireError as exc:
            self.stop(exc)

    def _take(self, chunk: wire.Chunk) -> None:
        now = self._loop.time()
        self._inbound.feed(chunk, now)
        lease = self._lease
        assert lease is not None  # Inbound takes chunks only between opened and committed
        self._acks.took(now)
        lease.stream.append(chunk, self._traffic, now)
        if lease.stream.exposed >= lease.terms.step:
            lease.stream.claim.flush_soon()

    async def _control(self, message: wire.Message) -> None:
        self._handled = handled = asyncio.Event()
        try:
            self._inbound.feed(message, self._loop.time())
            match message:
                case wire.Hello():
                    await self._open(message)
                case wire.Eos():
                    await self._commit(message)
                case wire.Cancel():
                    await self._cancel()
        finally:
            self._handled = None
            handled.set()

    async def _open(self, hello: wire.Hello) -> None:
        self._hello = hello
        granted = await self._streams.claim(hello, self)
        now = self._loop.time()
        if isinstance(granted, Complete):
            self._outbox.put(self._inbound.reopen(granted.epoch, granted.receipt, now))
            return
        self._lease = granted
        claim = granted.stream.claim
        self._outbox.put(self._inbound.open(claim.epoch, claim.offset, granted.terms, now))

    async def _commit(self, eos: wire.Eos) -> None:
        lease = self._lease
        assert lease is not None  # Inbound takes eos only between opened and committed
        receipt = await self._streams.commit(lease.stream, self, eos)
        self._outbox.put(self._inbound.commit(receipt, self._loop.time()))
        await self._give_back()
        if not self.dialect.resumable:
            self.result = "ok"
            self._outbox.close(1000, "")

    async def _cancel(self) -> None:
        if self._lease is not None:
            await self._streams.cancel(self._lease.stream, self)
            self._outbox.put(self._inbound.cancel(self._loop.time()))
            await self._give_back()

    async def _give_back(self, *, final: bool = False) -> None:
        lease, self._lease = self._lease, None
        if lease is not None:
            await self._streams.detach(lease, self, final=final)

    def _log(self, error: wire.WireError) -> None:
        if (more := self._limit.take()) is not None:
            log.warning(
                "connection_closed",
                peer=self._link.peer,
                dialect=self.dialect.name,
                stream=self._hello and self._hello.stream,
                code=error.close_code,
                reason=str(error),
                **more,
            )

    def _flush(self) -> None:
        self._outbox.flush()

    def _expire(self, error: wire.WireError) -> None:
        if not self._inbound.epoch or self._lease is not None:
            self.stop(error)
            return
        # It has served its streams and gets no other one: no fault, but no use either.
        self._stopped, self.result = True, "ok"
        self._outbox.close(1000, "idle")
