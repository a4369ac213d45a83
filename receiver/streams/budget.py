"""The memory that streams share: no sum of windows ever exceeds it."""

from __future__ import annotations

from receiver.settings import MINIMUM_WINDOW, Limits
from sonoduct.wire import Overloaded


class Budget:
    """Hands out windows: full ones while there is plenty, the minimum to everybody."""

    def __init__(self, limits: Limits, window: int | None = None) -> None:
        """*window* is what a full one has, by default what *limits* say."""
        self.taken = 0
        """Bytes of all windows that are out."""
        self._limits = limits
        self._full = window or limits.window_bytes
        self._windows = 0

    def take(self) -> int:
        """
        Return the bytes that one more stream may hold.

        Raises:
            Overloaded: if not even the minimum is left.
        """
        free = self._limits.memory_bytes - self.taken
        others = max(0, self._limits.max_connections - self._windows - 1) * MINIMUM_WINDOW
        window = min(self._full, max(MINIMUM_WINDOW, free - others))
        if window > free:
            raise Overloaded("free memory for streams", seen=free, expected=MINIMUM_WINDOW)
        self.taken += window
        self._windows += 1
        return window

    def give_back(self, window: int) -> None:
        """A stream holds nothing any more."""
        self.taken -= window
        self._windows -= 1
