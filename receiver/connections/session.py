"""One connection, from its first message to its close code. All parts of the path meet here."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from dataclasses import dataclass
from typing import Final, TypeAlias

import structlog
from msgspec.structs import replace

from receiver.clients import Client
from receiver.dialects import Dialect
from receiver.metrics import CODES, REFUSALS, Metrics
from receiver.processing.processor import Finding
from receiver.streams.registry import AlreadyCommitted, Lease, StreamRegistry
from receiver.streams.stream import Holder, Stream
from sonoduct import wire
from sonoduct.runtime.logs import LogLimit
from sonoduct.wire import Control, Deadlines, Drain, Draining, Error, WireError
from sonoduct.wire.records import Origin

from .intake import CONTROL_S
from .link import Link, LinkClosedError
from .outbox import Acks, Outbox

log = structlog.get_logger()

Own: TypeAlias = Callable[..., tuple[Client, wire.Hello]]
"""Returns a client as it is now, and a hello as its own, or raises; `Access.own`."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Connection:
    """What a connection does at one moment: a line of `receiver streams`."""

    peer: str
    token: str
    """Name of the client's token; empty without tokens."""
    dialect: str
    stream: str
    """The first digits of the stream's id; empty before the first stream, and between two."""
    name: str
    instance: str
    """The first characters of the sending process's id."""
    format: str
    connected_s: float
    """Seconds since the stream began here; without a stream, since the last one ended."""
    received_s: float
    """Seconds of audio received since then; 0 for a file's bytes."""
    received_bytes: int
    """Bytes of payload received since then, before compression."""
    behind_s: float
    """Seconds of audio that were received and are not stored and processed yet."""
    unacknowledged_s: float
    """Age of the oldest unit that was received and not acknowledged."""
    idle_s: float
    """Seconds since the last chunk."""


SHOWN_DIGITS: Final = 8
"""Of an id. Whoever knows all of it, and the instance, could claim the stream."""

SPARED_S: Final = 5.0
"""Seconds of a stream, or between two, for which a connection is spared when places are short."""

SLOW: Final = 0.8
"""Seconds of audio in a second: a stream with less can wait better than a live one."""

SLOW_FILE: Final = 16 * 1024
"""Bytes in a second that stand for the sample rate of a file: two minutes of MP3 in a minute."""

RETRY_MS: Final = 500
"""The longest wait that a draining receiver asks its senders for."""

_RESULTS: Final = {4409: "fenced", 1012: "drained", 1013: "refused", 4423: "refused"}
_GOODBYES: Final = (1000, 1001)

LEAVING: Final = "receiver stops"
SHARE: Final = "no more than a share of the receiver's time"


class Session:
    """
    Serves one connection. A chunk passes through `_take` in one call that waits for nothing.

    Every fault of the peer ends here, as one error message and one close code.
    """

    def __init__(
        self,
        link: Link,
        dialect: Dialect,
        streams: StreamRegistry,
        metrics: Metrics,
        deadlines: Deadlines,
        limit: LogLimit,
        replica: str,
        client: Client,
        own: Own,
    ) -> None:
        """
        *limit* bounds how many faults of peers are logged; *replica* names this receiver.

        *own* makes a hello the *client*'s own, and refuses streams that are not the client's.
        """
        self.client = client
        self._own = own
        self._limit = limit
        self._hello: wire.Hello | None = None
        self.dialect = dialect
        self.result = "lost"
        """How the connection ended: its value of the label ``result`` in metrics."""
        self._loop = asyncio.get_running_loop()
        self._link = link
        self._streams = streams
        self._metrics = metrics
        self._replica = replica
        self._holder = self._holder_of("")
        self._since = self._loop.time()
        self._first = 0  # the unit at which the present stream began on this connection
        if not dialect.credit:  # its hello comes with its first audio
            deadlines = replace(deadlines, hello=deadlines.progress)
        self._inbound = wire.Inbound(deadlines, self._loop.time())
        self._acks = Acks(self._inbound, self._flush, metrics.ack.observe)
        self._outbox = Outbox(link, dialect, self._acks.next)
        self._lease: Lease | None = None
        self._step = 0
        """Bytes of the window that are worth a commit and an ack."""
        self._stopped = False
        self._tasks: asyncio.TaskGroup | None = None
        self._handled: asyncio.Event | None = None  # while a control message is handled

    def __repr__(self) -> str:
        stream = self._hello.stream[:8] if self._hello else "no stream"
        state = self.result if self._stopped else "open"
        return f"<Session {self.dialect.name} {self._link.peer} {stream}, {state}>"

    async def run(self) -> None:
        """Serve the connection until it is closed."""
        log.debug("connection_opened", peer=self._link.peer, dialect=self.dialect.name)
        try:
            async with asyncio.TaskGroup() as tasks:
                self._tasks = tasks
                self._outbox.open(tasks)
                await self._serve()
        finally:
            self._acks.cancel()
            if dropped := self._outbox.dropped:
                self._metrics.events_dropped.inc(dropped)
                log.warning("events_dropped", peer=self._link.peer, events=dropped)
            if (lease := self._lease) is not None:
                self._log_left(lease.stream)
            await self._give_back(final=not self.dialect.resumable)

    def age(self, now: float) -> float:
        """Return the age of the oldest unit without an ack, in seconds; any thread may ask."""
        return self._acks.age(now)

    def give_way(self) -> None:
        """Close the connection for a newcomer, which may have its memory at once."""
        error = wire.Overloaded("places are short, and this connection can wait")
        self.stop(error)
        assert self._tasks is not None  # it runs
        if self._handled is not None:  # the end of its stream, which gives everything back
            if self._lease is not None:
                self._lease.stream.interrupt(error)
            return
        self._tasks.create_task(self._give_back(final=not self.dialect.resumable))

    def idleness(self, now: float) -> int:
        """
        Return how well this connection can be spared when places are short; 0 for not at all.

        That is 3 if it has no stream, 2 if its stream is slower than its own sample rate, and 1 if
        it waits for the end of its stream.
        """
        if self._stopped or now - self._since < SPARED_S:
            return 0
        if (lease := self._lease) is None:
            return 3 if self._handled is None else 0
        if self._handled is not None:
            return 1 if self.dialect.resumable else 0
        hello, received = lease.stream.hello, lease.stream.received - self._first
        per_second = hello.format.samplerate if hello.format is not None else SLOW_FILE
        return 2 if received < SLOW * per_second * (now - self._since) else 0

    def now(self, now: float) -> Connection:
        """Return what this connection does at *now*; called by any thread."""
        hello, lease = self._hello, self._lease
        stream = lease.stream if lease is not None else None
        units = stream.received - self._first if stream is not None else 0
        unit_bytes = stream.unit_bytes if stream is not None else 0
        format_ = hello.format if hello is not None else None
        return Connection(
            peer=self._link.peer,
            token=self._holder.origin.token,
            dialect=self.dialect.name,
            stream=hello.stream[:SHOWN_DIGITS] if hello is not None and stream is not None else "",
            name=hello.name if hello is not None and stream is not None else "",
            instance=hello.instance[:SHOWN_DIGITS] if hello is not None else "",
            format=_words(hello) if hello is not None and stream is not None else "",
            connected_s=round(now - self._since, 3),
            received_s=round(units / format_.samplerate, 3) if format_ is not None else 0.0,
            received_bytes=units * unit_bytes,
            behind_s=round(stream.behind_s, 3) if stream is not None else 0.0,
            unacknowledged_s=round(self._acks.age(now), 3),
            idle_s=round(now - max(self._since, stream.last_chunk if stream else 0.0), 3),
        )

    def check(self, now: float) -> None:
        """Stop if the peer is silent for too long, or abusive; repeat the last ack if it waits."""
        self._acks.keepalive(now)
        if not self._stopped and self._link.is_abusive:
            self.stop(wire.TooFast("messages", seen="small ones without a pause", expected=SHARE))
        if self._stopped or self._acks.waiting:  # if it waits, the receiver is slow, not the peer
            return
        try:
            self._inbound.expire(now)
        except wire.WireError as exc:
            self._expire(exc)

    async def drain(self) -> None:
        """
        Acknowledge every chunk received, and send the peer to another receiver.

        A client that cannot resume may finish its stream.
        """
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
                self._release(lease.stream.released)
        finally:  # also when the time to wait is over
            self.stop(wire.Draining(LEAVING))

    def stop(self, error: wire.WireError) -> None:
        """Take nothing more from the peer; send what waits and *error*, and close."""
        if self.result != "lost":
            return
        self._stopped = True
        self._acks.cancel()
        self.result = close_result(error)
        if self.result == "error" and error.close_code in CODES:
            self._metrics.errors.labels(error.close_code).inc()
        if self.result in ("error", "refused"):
            self._log(error)
        self._outbox.put(close_message(error))
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
            self._outbox.close(1000, "")  # an earlier close counts

    async def _closed(self, code: int) -> None:
        """End the stream if its dialect says so: some clients end it by closing."""
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
            self._refused(refusal := wire.Draining(LEAVING))
            raise refusal  # before its first audio
        while True:
            direct = self.dialect.credit and self._lease is not None
            data = await self._link.receive(self._take_at_once if direct else None)
            for message in self.dialect.decode(data):
                await self._take_next(message)
                if self._stopped:
                    return await self._read_on()

    async def _take_next(self, message: wire.Message) -> None:
        if isinstance(message, wire.Chunk):
            if not self.dialect.credit and self._lease is not None:
                # A chunk that is larger than the window never fits; then it is refused.
                window = self._lease.terms.window
                cost = self._inbound.cost(len(message.message))
                await self._acks.room_for(min(cost, window))
            if not self._stopped:
                self._take(message)
        elif not self._stopped:
            await self._control(message)

    async def _read_on(self) -> None:
        """Drop what the peer still sends, until the closing handshake is done."""
        try:
            while True:
                await self._link.receive()
        except (LinkClosedError, wire.WireError):
            return

    def _take_at_once(self, data: wire.Buffer) -> None:
        """Take a binary message without waking `_read`."""
        if self._stopped:
            return
        try:
            for message in self.dialect.decode(data):
                assert isinstance(message, wire.Chunk)  # binary messages are chunks
                self._take(message)
        except wire.WireError as exc:
            self.stop(exc)

    def _take(self, chunk: wire.Chunk) -> None:
        now = self._loop.time()
        self._inbound.feed(chunk, now)
        lease = self._lease
        assert lease is not None  # Inbound takes chunks only between opened and committed
        self._acks.took(now)
        stream = lease.stream
        try:
            stream.append(chunk, now)
        except wire.WireError:
            self._inbound.refuse(chunk)  # the ack before the error must not say that it came
            raise
        if stream.unsafe_bytes >= self._step:
            stream.claim.flush_soon()

    def _release(self, offset: int) -> None:
        """Everything before *offset* is stored and processed (called by the stream)."""
        if self._lease is not None:  # the peer may be gone
            self._inbound.release(offset, self._loop.time())
            self._acks.released(self._step)

    def _found(self, processor: str, finding: Finding) -> None:
        """Tell the peer what *processor* found (called by the stream)."""
        start, end, values = finding
        self._outbox.put(
            wire.Event(processor=processor, offset=start, end=end, values=dict(values))
        )

    async def _control(self, message: wire.Message) -> None:
        self._handled = handled = asyncio.Event()
        self._link.work(CONTROL_S)
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
        try:
            self.client, own = self._own(self.client, hello, named=self.dialect.resumable)
            self._hello = own
            self._holder = self._holder_of(hello.stream if own.stream != hello.stream else "")
            granted = await self._streams.claim(own, self._holder)
        except wire.WireError as exc:
            self._refused(exc)
            raise
        now = self._loop.time()
        if isinstance(granted, AlreadyCommitted):
            receipt = self._for_sender(granted.receipt)
            self._outbox.put(self._inbound.reopen(granted.epoch, receipt, now))
            return
        self._since, self._first = now, granted.stream.claim.offset
        self._lease, self._step = granted, granted.terms.step
        claim = granted.stream.claim
        self._outbox.put(self._inbound.open(claim.epoch, claim.offset, granted.terms, now))

    def _for_sender(self, receipt: wire.Receipt) -> wire.Receipt:
        """Return *receipt* with the id that the sender knows the stream by."""
        known = self._holder.origin.sender_stream
        return replace(receipt, stream=known) if known else receipt

    def _holder_of(self, sender_stream: str) -> Holder:
        """Return this connection as the holder of a stream that the sender knows by that id."""
        token = self.client.token
        origin = Origin(
            replica=self._replica,
            peer=self._link.peer,
            token=token.name if token is not None else "",
            sender_stream=sender_stream,
        )
        traffic = self._metrics.traffic[self.dialect.name]
        quota = token.stored_bytes if token is not None else None
        key = self.client.key
        return Holder(traffic, self._release, self._found, self.stop, origin, key, quota)

    async def _commit(self, eos: wire.Eos) -> None:
        lease = self._lease
        assert lease is not None  # Inbound takes eos only between opened and committed
        began = self._loop.time()
        receipt = await self._streams.commit(lease.stream, self._holder, eos)
        now = self._loop.time()
        self._metrics.receipt[lease.stream.hello.kind].observe(now - began)
        self._outbox.put(self._inbound.commit(self._for_sender(receipt), now))
        await self._give_back()
        if not self.dialect.resumable:
            self.result = "ok"
            self._outbox.close(1000, "")

    async def _cancel(self) -> None:
        if self._lease is not None:
            await self._streams.cancel(self._lease.stream, self._holder)
            self._outbox.put(self._inbound.cancel(self._loop.time()))
            await self._give_back()

    async def _give_back(self, *, final: bool = False) -> None:
        lease, self._lease = self._lease, None
        self._since = self._loop.time()
        if lease is not None:
            await self._streams.detach(lease, self._holder, final=final)

    def _log_left(self, stream: Stream) -> None:
        """Say why the connection ends while its stream has not."""
        hello = stream.hello
        log.info(
            "stream_left",
            stream=hello.stream,
            name=hello.name,
            instance=self._hello.instance if self._hello else "",
            **self._holder.facts,
            result=self.result,
            offset=stream.received,
        )

    def _refused(self, error: wire.WireError) -> None:
        if reason := REFUSALS.get(error.close_code):
            self._metrics.refusals.labels(reason).inc()

    def _log(self, error: wire.WireError) -> None:
        stream = self._lease.stream if self._lease is not None else None
        if (more := self._limit.take()) is not None:
            log.warning(
                "connection_closed",
                **self._holder.facts,
                dialect=self.dialect.name,
                stream=self._hello and self._hello.stream,
                bytes=stream.received * stream.unit_bytes if stream is not None else 0,
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
        # Its streams are served and no other follows: not a fault, but the connection is of no use.
        self._stopped, self.result = True, "ok"
        self._outbox.close(1000, "idle")


def _words(hello: wire.Hello) -> str:
    """Return the format in the words of `receiver streams`."""
    if (form := hello.format) is None:
        return "file"
    compression = " flac" if hello.compressed else ""
    return f"{form.encoding}{compression} {form.samplerate} Hz {form.channels} ch"


def close_result(error: WireError) -> str:
    """Return the label ``result`` of a connection that ended with *error*."""
    return _RESULTS.get(error.close_code, "error")


def close_message(error: WireError) -> Control:
    """Return the message before the close code of *error*."""
    if isinstance(error, Draining):
        return Drain(retry_ms=RETRY_MS)
    return Error(
        code=error.close_code, message=error.message, seen=error.seen, expected=error.expected
    )
