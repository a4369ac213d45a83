"""A connection as a session knows it, without the library; websocket.py has the real one."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Protocol, TypeAlias

from sonoduct.wire import Buffer

Take: TypeAlias = Callable[[Buffer], None]


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

        If there is a *take*, it gets the binary messages that arrive while this waits, and they
        are not returned: so no task has to wake for them.

        Raises:
            LinkClosedError: if the connection is closed.
            WireError: if the peer broke WebSocket's own rules, so that the library closed it.
        """

    def work(self, seconds: float) -> None:
        """Charge the client with *seconds* of work beside the one of reading its messages."""

    @property
    def is_abusive(self) -> bool:
        """Whether the client takes more than its share, again and again, for next to no audio."""

    @property
    def has_room(self) -> bool:
        """Whether `send` would return at once, because the peer reads."""

    def send_now(self, texts: Sequence[str]) -> None:
        """Send *texts* in one write, without waiting; they are lost if the connection is closed."""

    async def send(self, text: str) -> None:
        """
        Send *text*; waits while the peer does not read.

        Raises:
            LinkClosedError: if the connection is closed.
        """

    async def close(self, code: int, reason: str) -> None:
        """Close with *code*; return when the peer has answered, or after the library's timeout."""
