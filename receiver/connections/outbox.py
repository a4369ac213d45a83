"""What is to be sent on one connection: in order, at once where there is room, and bounded."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Final

from receiver.dialects import Dialect
from sonoduct.wire import Ack, Control, Event, Inbound

from .link import Link, LinkClosedError

INTERVAL_S: Final = 0.5
"""
An ack waits this long for others to join it, unless a step of the window is waiting.

Nobody waits for it then: a sender without credit has a step under way. What it costs is that
a sender that is cut off sends half a second again.
"""

BEAT_S: Final = 10.0
"""While processors or a decoder work the last ack is repeated: no sender must think us dead."""


class Acks:
    """Coalesces one connection's acknowledgements by time and by bytes."""

    def __init__(
        self, inbound: Inbound, flush: Callable[[], None], observe: Callable[[float], None]
    ) -> None:
        self.waiting = False
        """Whether the peer's next chunk has come and there is no room for it yet."""
        self._inbound = inbound
        self._flush = flush
        self._observe = observe
        self._loop = asyncio.get_running_loop()
        self._timer: asyncio.TimerHandle | None = None
        self._oldest: float | None = None
        self._told = self._loop.time()
        self._moved: asyncio.Event | None = None
        self._cancelled = False

    def took(self, now: float) -> None:
        """A chunk has come."""
        if self._oldest is None:
            self._oldest = now
            self._soon()

    def released(self, step: int) -> None:
        """Room has become free; the peer is to hear of *step* bytes at once."""
        if self._moved is not None:
            self._moved.set()
        if self._inbound.unannounced >= step:
            self._flush()
        else:
            self._soon()

    def next(self) -> Ack | None:
        """Return the ack to send now; None if it would say nothing new."""
        ack = self._inbound.ack()
        oldest, self._oldest = self._oldest, None  # committed says it, too, if there is no ack
        if ack is not None:
            self._told = self._loop.time()
            if oldest is not None:
                self._observe(self._told - oldest)
        return ack

    def beat(self, now: float) -> None:
        """Repeat the last ack to a peer that has waited for long."""
        if now - self._told >= BEAT_S and self._inbound.busy and not self._cancelled:
            self._inbound.repeat()
            self._flush()

    async def room_for(self, size: int) -> None:
        """
        Wait until *size* bytes may come, or acks are cancelled: for peers that know no credit.

        What an ack would announce counts at once, since such a peer is not told.
        """
        self._moved = self._moved or asyncio.Event()
        self.waiting = True
        while self._inbound.room < size and not self._cancelled:
            self._moved.clear()
            await self._moved.wait()
        self.waiting = False
        self._inbound.ack()

    def cancel(self) -> None:
        """Send no more, and let nobody wait."""
        self._cancelled = True
        if self._moved is not None:
            self._moved.set()
        if self._timer is not None:
            self._timer.cancel()

    def _soon(self) -> None:
        if self._timer is None:
            self._timer = self._loop.call_later(INTERVAL_S, self._expire)

    def _expire(self) -> None:
        """Flush, unless an ack went out meanwhile: what came since then may wait for others."""
        self._timer = None
        rest = (self._oldest or 0.0) + INTERVAL_S - self._loop.time()
        if rest > INTERVAL_S / 10:
            self._timer = self._loop.call_later(rest, self._expire)
        else:
            self._flush()


EVENTS: Final = 64
"""Messages that may wait before events, and only events, are left out."""

GATHER_S: Final = 0.01
GATHERED: Final = 16
"""
An event that soon follows another message waits so long for others, up to so many, or for an ack.

Sending one, and the peer that it wakes, cost more than making it: a file at full speed has
thousands in a second, a live stream one.
"""


class Outbox:
    """
    Sends at once what the connection has room for; what has to wait gets a task that sends it.

    Events may wait a moment for others. Acks do not: they are asked for when one can be sent.
    """

    def __init__(self, link: Link, dialect: Dialect, next_ack: Callable[[], Ack | None]) -> None:
        self.dropped = 0
        """Events left out because the peer reads too slowly."""
        self._link = link
        self._dialect = dialect
        self._next_ack = next_ack
        self._loop = asyncio.get_running_loop()
        self._gathering: asyncio.TimerHandle | None = None
        self._flushed = 0.0
        self._tasks: asyncio.TaskGroup | None = None
        self._task: asyncio.Task[None] | None = None
        self._waiting: list[str] = []
        self._flushing = False
        self._closing: tuple[int, str] | None = None
        self._over = False

    def open(self, tasks: asyncio.TaskGroup) -> None:
        """Begin to send; what has to wait is sent by a task of *tasks*."""
        self._tasks = tasks

    def put(self, message: Control) -> None:
        """Send *message* after those before it, and an ack that is due along with it."""
        if isinstance(message, Event) and len(self._waiting) >= EVENTS:
            self.dropped += 1
            return
        self._waiting.extend(self._dialect.encode(message))
        if isinstance(message, Event) and self._may_wait():
            self._gather()
        else:
            self.flush()

    def flush(self) -> None:
        """Send an ack if there is one, and what was gathered."""
        self._flushed = self._loop.time()
        self._flushing = True
        self._send()

    def close(self, code: int, reason: str) -> None:
        """Close the connection after all that waits; the first call counts."""
        self._closing = self._closing or (code, reason)
        if self._gathering is not None:
            self._gathering.cancel()
        self._send()

    def _may_wait(self) -> bool:
        soon = self._loop.time() - self._flushed < GATHER_S
        return soon and len(self._waiting) < GATHERED and self._closing is None

    def _gather(self) -> None:
        if self._gathering is None:
            self._gathering = self._loop.call_at(self._flushed + GATHER_S, self._gathered)

    def _gathered(self) -> None:
        self._gathering = None
        if self._waiting:
            self.flush()

    def _send(self) -> None:
        if self._task is not None or self._over:
            return
        while self._link.has_room and (text := self._next()) is not None:
            self._link.send_now(text)
        if self._waiting or self._flushing or self._closing is not None:
            assert self._tasks is not None  # nobody sends before `open`
            self._task = self._tasks.create_task(self._send_waiting())

    def _next(self) -> str | None:
        """Return what is to be sent now: an ack that is due, then what waits."""
        if self._flushing:
            self._flushing = False
            if (ack := self._next_ack()) is not None:
                self._waiting[:0] = self._dialect.encode(ack)
        return self._waiting.pop(0) if self._waiting else None

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
