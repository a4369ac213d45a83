"""When to acknowledge: seldom enough to cost nothing, soon enough that no sender waits."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Final

from sonoduct.wire import Ack, Inbound

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
