"""
The messages for one peer: in order, bounded, and sent at once while the peer reads.

Acks are sent seldom enough to cost nothing, and early enough that no sender waits for one.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Final

from receiver.dialects import Dialect
from sonoduct.wire import Ack, Control, Event, Inbound

from .link import Link, LinkClosedError

INTERVAL_S: Final = 1.0
"""
The longest wait of an ack, unless a step of the window is free and makes it due at once.

No sender waits for such an ack: one without credit has a whole step outstanding. A sender that
loses its connection sends this much again.
"""

KEEPALIVE_S: Final = 10.0
"""The last ack is repeated while processors or a decoder work, so that the sender waits on."""

EVENTS: Final = 64
"""If this many messages wait, further events are dropped. Other messages never are."""

GATHER_S: Final = 0.01
GATHERED: Final = 16
"""
An event that closely follows another message waits this long for more events, up to this many.

Sending an event and waking the peer costs more than making it, so gathered events go in one message
if the sender takes such messages, and in one write. A file at full speed has thousands of events
per second, a live stream one.
"""


class Acks:
    """Coalesces one connection's acknowledgements by time and by bytes."""

    def __init__(
        self, inbound: Inbound, flush: Callable[[], None], observe: Callable[[float], None]
    ) -> None:
        self.waiting = False
        """Whether the peer's next chunk waits for room."""
        self._inbound = inbound
        self._flush = flush
        self._observe = observe
        self._loop = asyncio.get_running_loop()
        self._timer: asyncio.TimerHandle | None = None
        self._oldest: float | None = None  # when the unit before _end came, of the first that waits
        self._end = 0
        self._later: float | None = None  # when the first chunk after _end came
        self._told = self._loop.time()
        self._moved: asyncio.Event | None = None
        self._cancelled = False

    def took(self, now: float) -> None:
        """Note that a chunk was received, at *now*."""
        if self._oldest is None:
            self._oldest, self._end = now, self._inbound.received
        elif self._later is None:
            self._later = now
        if self._timer is None:
            self._soon()

    def released(self, step: int) -> None:
        """Note that room became free; flush if the peer can get *step* bytes of it."""
        if self._moved is not None:
            self._moved.set()
        if self._inbound.unannounced >= step:
            self._flush()
        else:
            self._soon()

    def next(self) -> Ack | None:
        """Return the ack for now; None if it would say nothing new."""
        ack = self._inbound.ack()
        if ack is not None:
            self._told = self._loop.time()
            self._settle()
        elif not self._inbound.is_open:
            self._oldest = self._later = None  # committed or cancelled says it
        return ack

    def age(self, now: float) -> float:
        """Return the age of the oldest unit without an ack, in seconds; any thread may ask."""
        oldest = self._oldest
        return 0.0 if oldest is None else max(0.0, now - oldest)

    def keepalive(self, now: float) -> None:
        """Repeat the last ack if the peer has waited for `KEEPALIVE_S`."""
        if now - self._told >= KEEPALIVE_S and self._inbound.busy and not self._cancelled:
            self._inbound.repeat()
            self._flush()

    async def room_for(self, size: int) -> None:
        """
        Wait until there is room for *size* bytes, or acks are cancelled.

        This is for peers that know no credit. They get no acks, so freed room counts at once.
        """
        self._moved = self._moved or asyncio.Event()
        self.waiting = True
        while self._inbound.room < size and not self._cancelled:
            self._moved.clear()
            await self._moved.wait()
        self.waiting = False
        self._inbound.ack()

    def cancel(self) -> None:
        """Send no further ack, and end `room_for`."""
        self._cancelled = True
        if self._moved is not None:
            self._moved.set()
        if self._timer is not None:
            self._timer.cancel()

    def _settle(self) -> None:
        """Note the ack that was just made: chunks that it covers wait no more."""
        inbound = self._inbound
        if self._oldest is None or inbound.acknowledged < self._end:
            return
        self._observe(self._told - self._oldest)
        self._oldest, self._end, self._later = self._later, inbound.received, None
        if inbound.acknowledged == inbound.received:
            self._oldest = None

    def _soon(self) -> None:
        if self._timer is None:
            self._timer = self._loop.call_later(INTERVAL_S, self._expire)

    def _expire(self) -> None:
        """Flush; if an ack was sent since the timer was set, wait for the rest of the interval."""
        self._timer = None
        rest = (self._oldest or 0.0) + INTERVAL_S - self._loop.time()
        if rest > INTERVAL_S / 10:
            self._timer = self._loop.call_later(rest, self._expire)
        else:
            self._flush()


class Outbox:
    """
    Sends messages at once while the connection has room; a task sends the ones that have to wait.

    Events may wait a moment for further events. An ack is made at the moment of sending.
    """

    def __init__(self, link: Link, dialect: Dialect, next_ack: Callable[[], Ack | None]) -> None:
        self.dropped = 0
        """Events dropped because the peer reads too slowly."""
        self._link = link
        self._dialect = dialect
        self._next_ack = next_ack
        self._loop = asyncio.get_running_loop()
        self._gathering: asyncio.TimerHandle | None = None
        self._flushed = 0.0
        self._tasks: asyncio.TaskGroup | None = None
        self._task: asyncio.Task[None] | None = None
        self._waiting: list[str] = []
        self._events: list[Event] = []  # behind those that wait, and not encoded yet
        self._flushing = False
        self._closing: tuple[int, str] | None = None
        self._over = False

    def open(self, tasks: asyncio.TaskGroup) -> None:
        """Start; a task of *tasks* sends the messages that have to wait."""
        self._tasks = tasks

    def put(self, message: Control) -> None:
        """Send *message* after the messages before it, together with an ack if there is news."""
        if not isinstance(message, Event):
            self._pack_events()
            self._waiting.extend(self._dialect.encode(message))
            self.flush()
        elif len(self._waiting) + len(self._events) >= EVENTS:
            self.dropped += 1
        else:
            self._events.append(message)
            if self._may_wait():
                self._gather()
            else:
                self.flush()

    def flush(self) -> None:
        """Send an ack if there is news, and the gathered events."""
        self._flushed = self._loop.time()
        self._flushing = True
        self._send()

    def close(self, code: int, reason: str) -> None:
        """Close the connection after the messages that wait; the first call counts."""
        self._closing = self._closing or (code, reason)
        if self._gathering is not None:
            self._gathering.cancel()
        self._send()

    def _may_wait(self) -> bool:
        soon = self._loop.time() - self._flushed < GATHER_S
        return soon and len(self._events) < GATHERED and self._closing is None

    def _gather(self) -> None:
        if self._gathering is None:
            self._gathering = self._loop.call_at(self._flushed + GATHER_S, self._gathered)

    def _gathered(self) -> None:
        self._gathering = None
        if self._events:
            self.flush()

    def _send(self) -> None:
        if self._task is not None or self._over:
            return
        if self._link.has_room:
            self._link.send_now(list(iter(self._next, None)))
        if self._waiting or self._events or self._flushing or self._closing is not None:
            assert self._tasks is not None  # set by `open`
            self._task = self._tasks.create_task(self._send_waiting())

    def _next(self) -> str | None:
        """Return the next text: an ack if one is due, then the oldest that waits."""
        if self._flushing:
            self._flushing = False
            if (ack := self._next_ack()) is not None:
                self._waiting[:0] = self._dialect.encode(ack)
        self._pack_events()
        return self._waiting.pop(0) if self._waiting else None

    def _pack_events(self) -> None:
        if self._events:
            self._waiting.extend(self._dialect.encode_events(self._events))
            self._events = []

    async def _send_waiting(self) -> None:
        try:
            while (text := self._next()) is not None:
                await self._link.send(text)
            if self._closing is not None:
                self._over = True
                await self._link.close(*self._closing)
        except LinkClosedError:
            self._over = True
        finally:
            self._task = None
