"""Recordings that are due: they wait while streams come in, but not for ever."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from pathlib import Path
from typing import Final

PAUSE_S: Final = 0.1
"""Without a commit, and there is time for recordings."""

LATEST_S: Final = 5.0
"""A recording waits no longer: with live streams there never is a pause."""


class Backlog:
    """
    Journals that are complete, in the order of their receipts. Lives on the event loop.

    A recording costs as much as receiving its stream did, and nobody waits for it as its sender
    waits for a receipt: a thousand short files have theirs in two thirds of the time.
    """

    def __init__(self, record: Callable[[Path], object], last_commit: Callable[[], float]) -> None:
        """*record* begins to make a recording; *last_commit* is by the event loop's clock."""
        self._record = record
        self._last_commit = last_commit
        self._loop = asyncio.get_running_loop()
        self._due: dict[Path, float] = {}
        self._timer: asyncio.TimerHandle | None = None

    def add(self, folder: Path) -> None:
        """The journal in *folder* is complete."""
        self._due.setdefault(folder, self._loop.time())
        if self._timer is None:
            self._timer = self._loop.call_later(PAUSE_S, self._look)

    def flush(self) -> None:
        """Begin with all of them."""
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        due, self._due = self._due, {}
        for folder in due:
            self._record(folder)

    def _look(self) -> None:
        now, oldest = self._loop.time(), next(iter(self._due.values()))
        if now - self._last_commit() >= PAUSE_S or now - oldest >= LATEST_S:
            self.flush()
        else:
            self._timer = self._loop.call_later(PAUSE_S, self._look)
