"""When a chunk of a paced stream is due."""

from __future__ import annotations


class Pacing:
    """
    Absolute deadlines from one frame on, so that no delay adds up.

    A frame is due when a microphone would have delivered it; after a pause of the network the
    frames that are overdue go out at once.
    """

    def __init__(self, rate: float, frame: int, now: float) -> None:
        """Have *frame* due *now*, and *rate* frames in each second after it."""
        self._rate = rate
        self._start = now - frame / rate

    def wait(self, frame: int, now: float) -> float:
        """Return the seconds from *now* until *frame* is due; 0 if it is."""
        return max(0.0, self._start + frame / self._rate - now)
