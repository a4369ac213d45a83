"""One connection, from its first message to its close code: where all parts of the path meet."""

from __future__ import annotations

import asyncio
from typing import Final

from wire import (
    Cancel,
    Chunk,
    Control,
    Deadlines,
    Drain,
    Draining,
    Eos,
    Error,
    Event,
    Hello,
    Inbound,
    Message,
    Value,
    WireError,
)

from .acks import Acks
from .dialect import Dialect
from .lease import Complete, Lease
from .link import Link, LinkClosedError
from .metrics import Metrics
from .outbox import Outbox
from .streams import Streams

RETRY_MS: Final = 500
"""What a draining receiver asks its senders to wait at most."""


_RESULTS: Final = {4409: "fenced", 1012: "drained", 1013: "refused", 4423: "refused"}
_GOODBYES: Final = (1000, 1001)


class Session:
    """
    Serves one connection. Chunks pass through `_take` without waiting for anything.

    Everything that the peer does wrong ends here as one error message and one close code.
    """

    def __init__(
        self, link: Link, dialect: Dialect, streams: Streams, metrics: Metrics, deadlines: Deadlines
    ) -> None:
        self.dialect = dialect
        self.result = "lost"
        """How the connection ended, as metrics call it."""
        self.ended = asyncio.Event()
        self._loop = asyncio.get_running_loop()
        self._link = link
        self._streams = streams
        self._metrics = metrics
        self._traffic = metrics.traffic[dialect.name]
        self._inbound = Inbound(deadlines, self._loop.time())
        self._acks = Acks(self._inbound, self._flush, metrics.ack_latency.observe)
        self._outbox = Outbox(link, dialect, self._acks.next)
        self._lease: Lease | None = None
        self._stopped = False
        self._idle = asyncio.Event()  # no control message is being handled
        self._idle.set()
        self._more_room = asyncio.Event()
        self._deadline = self._loop.call_at(self._inbound.deadline, self._check_deadline)

    async def run(self) -> None:
        """Serve the connection until it is closed."""
        try:
            async with asyncio.TaskGroup() as tasks:
                tasks.create_task(self._outbox.run())
                await self._serve()
        finally:
            self._deadline.cancel()
            self._acks.cancel()
            self._metrics.events_dropped.inc(self._outbox.dropped)
            await self._give_back(final=not self.dialect.resumable)
            self.ended.set()

    async def drain(self) -> None:
        """Acknowledge what came, and send the peer to another receiver; plain clients may end."""
        if not self.dialect.resumable:
            return
        await self._idle.wait()
        self._stopped = True
        if self._lease is not None:
            await self._lease.stream.settled()
            self.advanced()
        self.stop(Draining("receiver stops"))

    def advanced(self) -> None:
        """More is kept and processed (called by the stream)."""
        if self._lease is not None:
            self._inbound.release(self._lease.stream.released, self._loop.time())
            self._more_room.set()
            self._acks.released(self._lease.terms.window)

    def found(self, processor: str, offset: int, values: dict[str, Value]) -> None:
        """Tell the peer what a processor reported (called by the stream)."""
        self._outbox.put(Event(processor=processor, offset=offset, values=values))

    def stop(self, error: WireError) -> None:
        """Take nothing more from the peer, and close with *error* after what is to be said."""
        if self.result != "lost":
            return
        self._stopped = True
        self._more_room.set()
        self._outbox.flush()
        self.result = _RESULTS.get(error.close_code, "error")
        if self.result == "error":
            self._metrics.errors.labels(error.close_code).inc()
        self._outbox.put(_report(error))
        self._outbox.close(error.close_code, error.reason)

    async def _serve(self) -> None:
        try:
            await self._read()
        except LinkClosedError as exc:
            if exc.code in _GOODBYES and self._lease is None and not self._stopped:
                self.result = "ok"
            self._outbox.close(1000, "")
        except WireError as exc:
            self.stop(exc)
            await self._read_on()
        finally:
            self._stopped = True

    async def _read(self) -> None:
        for message in self.dialect.greet():
            await self._control(message)
        while True:
            data = await self._link.receive()
            for message in self.dialect.decode(data):
                if self._stopped:
                    return await self._read_on()
                if isinstance(message, Chunk):
                    if not self.dialect.credit:
                        await self._wait_for_room(message)
                    self._take(message)
                else:
                    await self._control(message)

    async def _read_on(self) -> None:
        """Let what is on its way pass by, until the closing handshake gets through."""
        try:
            while True:
                await self._link.receive()
        except LinkClosedError:
            return

    def _take(self, chunk: Chunk) -> None:
        now = self._loop.time()
        self._inbound.feed(chunk, now)
        assert self._lease is not None  # Inbound takes chunks only between opened and committed
        self._acks.took(now)
        self._lease.stream.append(chunk, self._traffic, now)

    async def _control(self, message: Message) -> None:
        self._idle.clear()
        try:
            self._inbound.feed(message, self._loop.time())
            match message:
                case Hello():
                    await self._open(message)
                case Eos():
                    await self._commit(message)
                case Cancel():
                    await self._cancel()
        finally:
            self._idle.set()

    async def _open(self, hello: Hello) -> None:
        granted = await self._streams.claim(hello, self)
        now = self._loop.time()
        if isinstance(granted, Complete):
            self._outbox.put(self._inbound.reopen(granted.epoch, granted.receipt, now))
            return
        self._lease = granted
        claim = granted.stream.claim
        self._outbox.put(self._inbound.open(claim.epoch, claim.offset, granted.terms, now))

    async def _commit(self, eos: Eos) -> None:
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
            await self._streams.cancel(self._lease.stream)
            self._outbox.put(self._inbound.cancel(self._loop.time()))
            await self._give_back()

    async def _give_back(self, *, final: bool = False) -> None:
        lease, self._lease = self._lease, None
        if lease is not None:
            await self._streams.detach(lease, self, final=final)

    async def _wait_for_room(self, chunk: Chunk) -> None:
        while self._inbound.room < len(chunk.message) and not self._stopped:
            self._more_room.clear()
            await self._more_room.wait()

    def _rest(self) -> None:
        """Close a connection that has served its streams and gets no other one."""
        self._stopped, self.result = True, "ok"
        self._outbox.close(1000, "idle")

    def _flush(self) -> None:
        self._outbox.flush()

    def _check_deadline(self) -> None:
        now = self._loop.time()
        try:
            self._inbound.expire(now)
        except WireError as exc:
            if self._inbound.epoch and self._lease is None:
                self._rest()
            else:
                self.stop(exc)
            return
        when = max(self._inbound.deadline, now + 1.0)
        self._deadline = self._loop.call_at(when, self._check_deadline)


def _report(error: WireError) -> Control:
    if isinstance(error, Draining):
        return Drain(retry_ms=RETRY_MS)
    return Error(
        code=error.close_code, message=error.message, seen=error.seen, expected=error.expected
    )
