"""
A dialect turns a connection's messages into the protocol's, and the answers back.

Everything behind it is shared: `Inbound`, the store, the processors.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Protocol

from sonoduct.wire import Control, Message, decode_chunk, decode_control, encode_control


class Dialect(Protocol):
    """One connection's way of speaking. It does no I/O."""

    name: str
    """What metrics call it."""

    credit: bool
    """Whether its clients keep to the window; if not, the receiver stops reading instead."""

    resumable: bool
    """Whether its clients can come back for their stream."""

    def greet(self) -> Iterable[Message]:
        """
        Return what the connection itself says, before any message.

        Raises:
            PeerError: if that cannot be served.
        """

    def decode(self, data: str | bytes) -> Iterable[Message]:
        """
        Yield the messages that *data* amounts to; each is handled before the next is asked for.

        Raises:
            PeerError: if it is none.
        """

    def closed(self, code: int) -> Iterable[Message]:
        """Return what a close with *code* amounts to, by the client or 1006: the stream's end."""

    def encode(self, message: Control) -> Iterable[str]:
        """Return the texts that tell the client of *message*, if its dialect has any."""


class Sonoduct:
    """The protocol ``sonoduct.v1`` itself: docs/protocol.md."""

    name = "sonoduct"
    credit = True
    resumable = True

    def greet(self) -> Iterable[Message]:
        """A sonoduct client speaks for itself."""
        return ()

    def decode(self, data: str | bytes) -> Iterable[Message]:
        """See Dialect."""
        return (decode_control(data) if isinstance(data, str) else decode_chunk(data),)

    def closed(self, code: int) -> Iterable[Message]:  # noqa: ARG002  # the sender comes again
        """See Dialect."""
        return ()

    def encode(self, message: Control) -> Iterator[str]:
        """See Dialect."""
        yield encode_control(message)
