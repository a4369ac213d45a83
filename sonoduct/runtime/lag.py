"""How late the event loop is: the one figure that tells an overloaded process from a slow peer."""

from __future__ import annotations

import asyncio
from typing import Final

INTERVAL_S: Final = 0.5


class LoopLag:
    """Run `watch` as a task; `seconds` is the latest measurement."""

    def __init__(self) -> None:
        self.seconds = 0.0

    async def watch(self) -> None:
        """Measure every half second how much later than asked the loop wakes up."""
        loop = asyncio.get_running_loop()
        while True:
            due = loop.time() + INTERVAL_S
            await asyncio.sleep(INTERVAL_S)
            self.seconds = max(0.0, loop.time() - due)
