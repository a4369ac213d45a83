"""One timer for a connection's silence: it costs nothing per message."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Final

from wire import Inbound, WireError

from .acks import Acks

AGAIN_S: Final = 1.0
"""How soon a deadline that has moved is looked at again, at the earliest."""


class Deadline:
    """Looks at the clock when `Inbound` may run out of patience, and says so if it has."""

    def __init__(self, inbound: Inbound, acks: Acks, expired: Callable[[WireError], None]) -> None:
        self._inbound = inbound
        self._acks = acks
        self._expired = expired
        self._loop = asyncio.get_running_loop()
        self._timer = self._loop.call_at(inbound.deadline, self._check)

    def cancel(self) -> None:
        """Look no more."""
        self._timer.cancel()

    def _check(self) -> None:
        now = self._loop.time()
        try:
            if not self._acks.waiting:  # otherwise it is the receiver that is slow
                self._inbound.expire(now)
        except WireError as exc:
            self._expired(exc)
        else:
            when = max(self._inbound.deadline, now + AGAIN_S)
            self._timer = self._loop.call_at(when, self._check)
