"""How old files are, whatever happens to the clock that dates them."""

from __future__ import annotations

import threading
import time
from collections import deque
from collections.abc import Callable
from typing import Final

import msgspec

JUMP_S: Final = 2.0
"""A smaller difference between the two clocks is drift."""

JUMPS: Final = 64
"""Number of jumps that are remembered; the oldest are dropped first."""


class Clock(msgspec.Struct, frozen=True, kw_only=True):
    """The content of ``clock.json``: what the receivers of a store know of its files' dates."""

    wall: float
    """The wall clock when this was written."""
    jumps: list[tuple[float, float]] = []
    """For each jump the wall clock's time before it, and its seconds."""


class Ages:
    """
    Takes jumps of the wall clock out of the ages of files that were written before them.

    If the clock is set back, files look younger; that costs time and no audio. If it is set
    forward, they look older: without this correction, streams would expire while their senders are
    away for a moment.

    The time for which no receiver ran counts as a jump as well: whether the clock was set meanwhile
    is not known, and no sender could come.
    """

    def __init__(
        self, wall: Callable[[], float] = time.time, steady: Callable[[], float] = time.monotonic
    ) -> None:
        """*wall* is the clock that dates files; *steady* is never set."""
        self._wall = wall
        self._steady = steady
        self._difference = wall() - steady()
        self._jumps: deque[tuple[float, float]] = deque(maxlen=JUMPS)
        """For each jump the wall clock's time before it, and its seconds."""
        self._lock = threading.Lock()

    def resume(self, before: Clock) -> None:
        """Take over what a receiver noted *before*; it has not run since, or another one."""
        with self._lock:
            now = self._wall()
            known = {*before.jumps, *self._jumps}
            if now - before.wall > JUMP_S:
                known.add((before.wall, now - before.wall))
            self._jumps = deque(sorted(known), maxlen=JUMPS)

    def note(self, before: Clock) -> Clock:
        """Return what to note for the next start; *before* is what was noted last."""
        with self._lock:
            known = {*before.jumps, *self._jumps}
            return Clock(wall=self._wall(), jumps=sorted(known)[-JUMPS:])

    def steady(self, age: float) -> float:
        """Return the real age in seconds of a file that has *age* by the wall clock."""
        with self._lock:
            return self._steady_age(age)

    def _steady_age(self, age: float) -> float:
        now = self._wall()
        difference = now - self._steady()
        jump, written = difference - self._difference, now - age
        if abs(jump) > JUMP_S:
            self._difference = difference
            if jump > 0:
                self._jumps.append((now - jump, jump))
        if not self._jumps:
            return age
        return age - sum(seconds for before, seconds in self._jumps if written <= before)
