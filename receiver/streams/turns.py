"""Whose file is decoded next: owners take turns, and within one the shortest file comes first."""

from __future__ import annotations

from collections import Counter
from typing import NamedTuple


class Ticket(NamedTuple):
    """One file that waits for a decoder."""

    owner: str
    """Who sent it: a token's name, or an address."""
    size: int
    """Bytes of the file."""
    number: int
    """Of the tickets of one receiver, in their order."""


class Turns:
    """
    Decides, and does nothing else: callers start and end decoders, and wake those who wait.

    An owner whose files are decoded already comes after all that have none. And there is one place
    more, for owners who have none: files of others that take long cannot keep them waiting.
    """

    def __init__(self, at_once: int, most: int) -> None:
        """Let *at_once* files be decoded at once, and one more; let *most* wait."""
        self._at_once = at_once
        self._most = most
        self._waiting: dict[str, list[Ticket]] = {}
        """By owner; who comes first had no turn for the longest time."""
        self._running: Counter[str] = Counter()
        self._count = 0

    @property
    def waiting(self) -> int:
        """The number of files that wait."""
        return sum(map(len, self._waiting.values()))

    def take(self, owner: str, size: int) -> Ticket:
        """Return a ticket for a file of *size* bytes, which waits from now on."""
        self._count += 1
        ticket = Ticket(owner, size, self._count)
        self._waiting.setdefault(owner, []).append(ticket)
        return ticket

    def crowded_out(self) -> Ticket | None:
        """
        Return the ticket that there is no room for, which waits no longer; None if there is room.

        It belongs to the owner with the most, so owners with few keep theirs. Of theirs it is the
        one that would come last.
        """
        if self.waiting <= self._most:
            return None
        owner = max(self._waiting, key=lambda each: len(self._waiting[each]))
        last = max(self._waiting[owner], key=_order)
        self._leave(last)
        return last

    def next(self) -> Ticket | None:
        """Return the ticket whose file is decoded from now on; None if none may start now."""
        if not self._waiting:
            return None
        owner = min(self._waiting, key=lambda each: self._running[each])  # the first of equals
        free = self._at_once - self._running.total()
        if free < 0 or (not free and self._running[owner]):
            return None
        ticket = min(self._waiting[owner], key=_order)
        self._leave(ticket)
        if owner in self._waiting:
            self._waiting[owner] = self._waiting.pop(owner)  # to the end
        self._running[owner] += 1
        return ticket

    def give_back(self, ticket: Ticket, *, started: bool) -> None:
        """End the use of *ticket*, whether its file has *started*, waits, or was crowded out."""
        if not started:
            self._leave(ticket)
            return
        self._running[ticket.owner] -= 1
        if not self._running[ticket.owner]:
            del self._running[ticket.owner]

    def _leave(self, ticket: Ticket) -> None:
        tickets = self._waiting.get(ticket.owner, [])
        if ticket in tickets:
            tickets.remove(ticket)
            if not tickets:
                del self._waiting[ticket.owner]


def _order(ticket: Ticket) -> tuple[int, int]:
    return ticket.size, ticket.number
