"""
The seam of dialects: the ways in which clients speak to a receiver.

A dialect turns the messages of one connection into the protocol's messages, and the answers back.
Everything behind it is shared: `wire.Inbound`, the store, the processors.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import ClassVar, Self

from sonoduct.wire import Buffer, Control, Event, Format, Message


@dataclass(frozen=True, kw_only=True)
class Request:
    """A client's handshake."""

    target: str
    """Path and query, such as ``/?samplerate=44100&channels=2``."""
    subprotocols: Sequence[str]
    """The WebSocket subprotocols that the client offers."""
    headers: Mapping[str, str]
    """The other headers, by their names in any case, such as ``authorization``."""
    default: Format
    """The receiver's format for samples whose client does not describe them."""

    @property
    def path(self) -> str:
        """The target without its query."""
        return self.target.partition("?")[0]


class Dialect(ABC):
    """One connection's way of speaking. It does no I/O."""

    name: ClassVar[str]
    """Its value of the label ``dialect`` in metrics."""

    path: ClassVar[str] = "/"
    """Where its clients connect to."""

    subprotocol: ClassVar[str | None] = None
    """The WebSocket subprotocol that the receiver chooses for it; None for no subprotocol."""

    credit: ClassVar[bool]
    """Whether its clients keep to the window; if not, the receiver stops reading instead."""

    resumable: ClassVar[bool]
    """Whether its clients can come back for their stream; they choose its id and its name."""

    @classmethod
    @abstractmethod
    def accepts(cls, request: Request) -> Self | None:
        """Return a dialect for the connection that *request* opens; None for another's client."""

    @classmethod
    def credential(cls, request: Request) -> str:
        """Return the token in *request*; empty without (RFC 6750, section 2.1)."""
        scheme, _, token = request.headers.get("Authorization", "").strip().partition(" ")
        return token.strip() if scheme.lower() == "bearer" else ""

    def greet(self) -> Iterable[Message]:
        """
        Return the messages that the handshake itself stands for.

        Raises:
            PeerError: if the receiver cannot serve the request.
        """
        return ()

    @abstractmethod
    def decode(self, data: str | Buffer) -> Iterable[Message]:
        """
        Yield the messages that *data* stands for; each is handled before the next is asked for.

        Raises:
            PeerError: if *data* breaks the dialect's rules.
        """

    def closed(self, code: int) -> Iterable[Message]:  # noqa: ARG002  # most dialects end a stream by a message
        """Return the messages that a close with *code* stands for; 1006 is a lost connection."""
        return ()

    @abstractmethod
    def encode(self, message: Control) -> Iterable[str]:
        """Return the texts that tell the client of *message*; none if the dialect has none."""

    def encode_events(self, events: Sequence[Event]) -> Iterable[str]:
        """Return the texts that tell the client of *events*."""
        return [text for event in events for text in self.encode(event)]
