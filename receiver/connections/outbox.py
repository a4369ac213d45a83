"""What is to be sent on one connection: in order, at once where there is room, and bounded."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Final

from receiver.dialects import Dialect
from sonoduct.wire import Ack, Control, Event

from .link import Link, LinkClosedError

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
