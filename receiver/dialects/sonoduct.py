"""The dialect of sonoduct's own senders: the protocol ``sonoduct.v1``, docs/protocol.md."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from typing import Self

from typing_extensions import override

from sonoduct.wire import (
    SUBPROTOCOL,
    Buffer,
    Control,
    Event,
    Hello,
    Message,
    decode_chunk,
    decode_control,
    encode_control,
    encode_events,
)

from .dialect import Dialect, Request


class Sonoduct(Dialect):
    """The protocol's own messages, unchanged."""

    name = "sonoduct"
    subprotocol = SUBPROTOCOL
    credit = True
    resumable = True

    def __init__(self) -> None:
        self._batches = False  # whether the sender takes several events in a message

    @classmethod
    @override
    def accepts(cls, request: Request) -> Self | None:
        if request.path == cls.path and SUBPROTOCOL in request.subprotocols:
            return cls()
        return None

    @override
    def decode(self, data: str | Buffer) -> Iterable[Message]:
        if not isinstance(data, str):
            return (decode_chunk(data),)
        message = decode_control(data)
        if isinstance(message, Hello):
            self._batches = message.batches
        return (message,)

    @override
    def encode(self, message: Control) -> Iterator[str]:
        yield encode_control(message)

    @override
    def encode_events(self, events: Sequence[Event]) -> Iterable[str]:
        return encode_events(events) if self._batches else super().encode_events(events)
