"""Credit: the bytes of messages that are not settled, in the order of their units."""

from __future__ import annotations

from collections import deque

from .errors import Malformed


class Ledger:
    """Bytes of messages in the order of their units; settling a unit frees all before it."""

    def __init__(self) -> None:
        self.added = 0
        """Bytes of all messages so far."""
        self.settled = 0
        """Bytes of the messages that are settled."""
        # (the unit after a message, its size); created late: a deque takes 600 bytes per stream
        self._ends: deque[tuple[int, int]] | None = None

    @property
    def outstanding(self) -> int:
        """Bytes that are not settled."""
        return self.added - self.settled

    @property
    def messages(self) -> int:
        """Messages that are not settled."""
        return len(self._ends) if self._ends else 0

    def add(self, end: int, size: int) -> None:
        """Add a message of *size* bytes whose last unit is the one before *end*."""
        if self._ends is None:
            self._ends = deque()
        self._ends.append((end, size))
        self.added += size

    def settle(self, offset: int) -> None:
        """Free every message whose units all lie before *offset*."""
        while self._ends and self._ends[0][0] <= offset:
            self.settled += self._ends.popleft()[1]


class Grant(Ledger):
    """The receiver's side: messages may come up to an edge, which moves as they are settled."""

    def __init__(self, window: int) -> None:
        super().__init__()
        self.window = window
        """Bytes that may be outstanding."""
        self.announced = window
        """The edge that the sender knows."""

    @property
    def edge(self) -> int:
        """Bytes of all messages that may have come."""
        return self.window + self.settled

    def spend(self, end: int, size: int) -> None:
        """
        Add a message of *size* bytes, if the sender knows of credit for it.

        Raises:
            Malformed: with the number of bytes above the credit; then nothing has changed.
        """
        over = self.added + size - self.announced
        if over > 0:
            raise Malformed("bytes over the window", seen=over, expected=0)
        self.add(end, size)

    def announce(self) -> None:
        """Note that the sender is told of the edge."""
        self.announced = self.edge
