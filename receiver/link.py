"""A connection, without the library that makes it: server.py provides the real one."""

from __future__ import annotations

from typing import Protocol


class LinkClosedError(ConnectionError):
    """The connection is closed, by either side; *code* is the peer's, 1006 if it gave none."""

    def __init__(self, code: int) -> None:
        super().__init__(f"closed with {code}")
        self.code = code


class Link(Protocol):
    """A connection, without the library that makes it."""

    async def receive(self) -> str | bytes:
        """
        Return the next message.

        Raises:
            LinkClosedError: when none will come any more.
            WireError: if that is because the peer broke the rules of the connection itself.
        """

    async def send(self, text: str) -> None:
        """
        Send *text*; waits while the peer does not read.

        Raises:
            LinkClosedError: if it cannot be sent any more.
        """

    async def close(self, code: int, reason: str) -> None:
        """Close with *code*; return when the peer knows, or has been given up."""
