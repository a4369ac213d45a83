"""What is to be sent on one connection: in order, by one task, and bounded."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Callable
from typing import Final

from wire import Ack, Control, Event

from .dialect import Dialect
from .link import Link, LinkClosedError

EVENTS: Final = 64
"""Messages that may wait before events, and only events, are left out."""


class Outbox:
    """Messages wait here for the one task that sends them; acks are asked for when it is free."""

    def __init__(self, link: Link, dialect: Dialect, next_ack: Callable[[], Ack | None]) -> None:
        self.dropped = 0
        """Events left out because the peer reads too slowly."""
        self._link = link
        self._dialect = dialect
        self._next_ack = next_ack
        self._waiting: deque[str] = deque()
        self._wake = asyncio.Event()
        self._closing: tuple[int, str] | None = None

    def put(self, message: Control) -> None:
        """Send *message* after those before it."""
        if isinstance(message, Event) and len(self._waiting) >= EVENTS:
            self.dropped += 1
            return
        self._waiting.extend(self._dialect.encode(message))
        self._wake.set()

    def flush(self) -> None:
        """Send an ack if there is one."""
        self._wake.set()

    def close(self, code: int, reason: str) -> None:
        """Close the connection after all that waits; the first call counts."""
        self._closing = self._closing or (code, reason)
        self._wake.set()

    async def run(self) -> None:
        """Send until closed; run this as a task."""
        try:
            while self._closing is None or self._waiting:
                await self._wake.wait()
                self._wake.clear()
                await self._send_waiting()
        except LinkClosedError:
            return
        await self._link.close(*self._closing)

    async def _send_waiting(self) -> None:
        if (ack := self._next_ack()) is not None:
            for text in self._dialect.encode(ack):
                await self._link.send(text)
        while self._waiting:
            await self._link.send(self._waiting.popleft())
