"""The dialect of sonoduct's own senders: the protocol ``sonoduct.v1``, docs/protocol.md."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Self

from typing_extensions import override

from sonoduct.wire import (
    SUBPROTOCOL,
    Buffer,
    Control,
    Message,
    decode_chunk,
    decode_control,
    encode_control,
)

from .dialect import Dialect, Request


class Sonoduct(Dialect):
    """The protocol's own messages, unchanged."""

    name = "sonoduct"
    subprotocol = SUBPROTOCOL
    credit = True
    resumable = True

    @classmethod
    @override
    def accepts(cls, request: Request) -> Self | None:
        if request.path == cls.path and SUBPROTOCOL in request.subprotocols:
            return cls()
        return None

    @override
    def decode(self, data: str | Buffer) -> Iterable[Message]:
        return (decode_control(data) if isinstance(data, str) else decode_chunk(data),)

    @override
    def encode(self, message: Control) -> Iterator[str]:
        yield encode_control(message)
