"""When a frame of a paced stream is due."""

from __future__ import annotations


class Pacing:
    """
    Absolute deadlines, counted from one frame, so that delays do not add up.

    A frame is due when a microphone would have delivered it. After a pause of the network all
    frames that are overdue are sent at once.
    """

    def __init__(self, rate: float, frame: int, now: float) -> None:
        """Let *frame* be due *now*, and *rate* frames in each second after it."""
        self._rate = rate
        self._start = now - frame / rate

    def wait(self, frame: int, now: float) -> float:
        """Return the seconds from *now* until *frame* is due; 0 if it is overdue."""
        return max(0.0, self._start + frame / self._rate - now)
