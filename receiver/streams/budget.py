"""The memory that streams share; the sum of their windows never exceeds it."""

from __future__ import annotations

from receiver.settings import MINIMUM_WINDOW, Limits
from sonoduct.wire import Overloaded


class Budget:
    """Hands out windows: full ones while there is memory, and the minimum to every connection."""

    def __init__(self, limits: Limits, window: int | None = None) -> None:
        """*window* is the size of a full window in bytes, by default `limits.window_bytes`."""
        self.taken = 0
        """Bytes of all windows that were handed out and not given back."""
        self._limits = limits
        self._full = window or limits.window_bytes
        self._windows = 0

    def take(self) -> int:
        """
        Return the bytes that one more stream may hold.

        Raises:
            Overloaded: if less than the minimum is left.
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
        """Take back the *window* of a stream that holds nothing any more."""
        self.taken -= window
        self._windows -= 1
