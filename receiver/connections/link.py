"""A connection, without the library that makes it: server.py provides the real one."""

from __future__ import annotations

from collections.abc import Callable
from typing import Protocol, TypeAlias

Take: TypeAlias = Callable[[bytes], None]


class LinkClosedError(ConnectionError):
    """The connection is closed, by either side; *code* is the peer's, 1006 if it gave none."""

    def __init__(self, code: int) -> None:
        super().__init__(f"closed with {code}")
        self.code = code


class Link(Protocol):
    """A connection, without the library that makes it."""

    peer: str
    """The other end's address, for the log."""

    async def receive(self, take: Take | None = None) -> str | bytes:
        """
        Return the next message.

        While none is there and this waits, binary messages go to *take* as they come, if it is
        given, and are not returned: so they need no task to be woken.

        Raises:
            LinkClosedError: when none will come any more.
            WireError: if that is because the peer broke the rules of the connection itself.
        """

    @property
    def has_room(self) -> bool:
        """Whether the peer reads what is sent: `send` would not wait."""

    def send_now(self, text: str) -> None:
        """Send *text*, for which there is room; it is lost if the connection is."""

    async def send(self, text: str) -> None:
        """
        Send *text*; waits while the peer does not read.

        Raises:
            LinkClosedError: if it cannot be sent any more.
        """

    async def close(self, code: int, reason: str) -> None:
        """Close with *code*; return when the peer knows, or has been given up."""
