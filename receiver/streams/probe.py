"""`Probe`: how long chunks take until they are arrays, and until they are durable."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from typing import Final, TypeAlias

EVERY_S: Final = 0.5
"""Least time between two measured chunks of a stream, so that measuring costs next to nothing."""

MOST: Final = 64
"""Chunks of one stream that are measured at once; while more wait, no others are measured."""

Observe: TypeAlias = Callable[[float], None]
Mark: TypeAlias = tuple[int, float]
"""The unit after a measured chunk, and when the chunk came."""


class Marks:
    """Measured chunks that wait for one thing, in their order."""

    __slots__ = ("_observe", "_waiting", "first")

    def __init__(self, observe: Observe | None) -> None:
        """*observe* gets the seconds of each; without it nothing is measured."""
        self.first = 0
        """The unit after the first chunk that waits; 0 if none does."""
        self._observe = observe
        self._waiting: Sequence[Mark] = ()

    def add(self, end: int) -> None:
        """Measure the chunk that ends before unit *end*, unless too many are being measured."""
        if self._observe is not None and len(self._waiting) < MOST:
            self._waiting = (*self._waiting, (end, time.monotonic()))
            self.first = self._waiting[0][0]

    def pass_(self, reached: int) -> None:
        """Observe the chunks before unit *reached*: they wait no more."""
        now, passed = time.monotonic(), 0
        for end, since in self._waiting:
            if end > reached:
                break
            passed += 1
            if self._observe is not None:
                self._observe(now - since)
        self._waiting = self._waiting[passed:]
        self.first = self._waiting[0][0] if self._waiting else 0

    def drop(self, *, observe: bool) -> None:
        """Measure them no more; if *observe*, they count as late as they are by now."""
        if observe and self._waiting:
            self.pass_(self._waiting[-1][0])
        self._waiting, self.first = (), 0


class Probe:
    """Measures some chunks of a stream."""

    __slots__ = ("due", "unkept", "untaken")

    def __init__(self, array: Observe | None, durable: Observe | None) -> None:
        """Each gets the seconds of each measured chunk; None measures nothing."""
        self.due = 0.0
        """The event loop's time from which on a chunk is worth measuring."""
        self.untaken = Marks(array)
        """Chunks that the processors have not seen."""
        self.unkept = Marks(durable)
        """Chunks that are not durable."""

    def start(self, end: int, now: float) -> None:
        """Measure the chunk that ends before unit *end*."""
        self.due = now + EVERY_S
        self.untaken.add(end)
        self.unkept.add(end)

    def resume(self, offset: int) -> None:
        """Continue at unit *offset*: chunks after it were not durable, and come again."""
        self.unkept.pass_(offset)
        self.unkept.drop(observe=True)
        self.untaken.drop(observe=False)
