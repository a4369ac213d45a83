"""`Probe`: how long a chunk takes until it is an array, and until it is durable."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Final, TypeAlias

EVERY_S: Final = 0.5
"""Least time between two measured chunks of a stream, so that measuring costs next to nothing."""

Observe: TypeAlias = Callable[[float], None]


class Probe:
    """Measures one chunk of a stream at a time."""

    __slots__ = ("_array", "_durable", "_since", "due", "end", "unkept", "untaken")

    def __init__(self, array: Observe | None, durable: Observe | None) -> None:
        """Each gets the seconds of each measured chunk; None measures nothing."""
        self.due = 0.0
        """The event loop's time from which on a chunk is worth measuring."""
        self.end = 0
        """The unit after the measured chunk."""
        self.untaken = self.unkept = False
        """Whether the processors have not seen it yet, and whether it is not durable yet."""
        self._array = array
        self._durable = durable
        self._since = 0.0

    def start(self, end: int, now: float) -> None:
        """Measure the chunk that ends at unit *end*, unless another one is being measured."""
        self.due = now + EVERY_S
        if not (self.untaken or self.unkept):
            self.untaken, self.unkept = self._array is not None, self._durable is not None
            self.end, self._since = end, time.monotonic()

    def cancel(self) -> None:
        """Measure nothing more: the chunk may come again on another connection."""
        self.untaken = self.unkept = False

    def taken(self) -> None:
        """Note that every processor has seen the chunk."""
        self.untaken = False
        if self._array is not None:
            self._array(time.monotonic() - self._since)

    def kept(self) -> None:
        """Note that the chunk is durable."""
        self.unkept = False
        if self._durable is not None:
            self._durable(time.monotonic() - self._since)
