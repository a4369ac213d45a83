"""How old files are, although the wall clock that dates them may be set forward meanwhile."""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Callable
from typing import Final

JUMP_S: Final = 2.0
"""A smaller difference between the two clocks is drift."""

JUMPS: Final = 64
"""Jumps that are remembered; the oldest go first."""


class Ages:
    """
    Takes jumps of the wall clock out of the ages of files that were written before them.

    A clock that is set back makes files younger, which costs time and no audio. One that is set
    forward makes them older: without this, streams would expire whose senders were away for a
    moment.
    """

    def __init__(
        self, wall: Callable[[], float] = time.time, steady: Callable[[], float] = time.monotonic
    ) -> None:
        """*wall* dates files; *steady* goes on by one second in each second."""
        self._wall = wall
        self._steady = steady
        self._difference = wall() - steady()
        self._jumps: deque[tuple[float, float]] = deque(maxlen=JUMPS)
        """Each with the wall clock's time before it, and its seconds."""

    def steady(self, age: float) -> float:
        """Return the seconds that a file of *age* by the wall clock has really existed."""
        now = self._wall()
        difference = now - self._steady()
        jump, written = difference - self._difference, now - age
        if abs(jump) > JUMP_S:
            self._difference = difference
            if jump > 0:
                self._jumps.append((now - jump, jump))
        return age - sum(seconds for before, seconds in self._jumps if written <= before)
