"""Ends what another thread waits for."""

from __future__ import annotations

import threading
from typing import Protocol


class Killable(Protocol):
    """What can be ended from any thread."""

    def kill(self) -> None:
        """End it soon; more than once is no harm."""


class Cancellation:
    """
    Kills what was started under it, and at once whatever is started after that.

    A thread cannot be cancelled; the child that it waits for can be killed, and the wait ends.
    """

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._running: set[Killable] = set()
        self._cancelled = False

    def cover(self, started: Killable) -> None:
        """Have `cancel` kill *started*, until it is released."""
        with self._lock:
            self._running.add(started)
            late = self._cancelled
        if late:
            started.kill()

    def release(self, ended: Killable) -> None:
        """Forget about *ended*; more than once is no harm."""
        with self._lock:
            self._running.discard(ended)

    def cancel(self) -> None:
        """Kill everything; more than once is no harm."""
        with self._lock:
            self._cancelled = True
            running = list(self._running)
        for each in running:
            each.kill()
