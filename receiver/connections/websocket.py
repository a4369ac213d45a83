"""A WebSocket connection: the library's, with two guards, and as a session knows it."""

from __future__ import annotations

import asyncio
from typing import Any, cast

from typing_extensions import override
from websockets.asyncio.server import ServerConnection, broadcast
from websockets.exceptions import ConnectionClosed
from websockets.frames import Frame, Opcode
from websockets.protocol import Event

from receiver.dialects import Dialect
from receiver.metrics import WEBSOCKET_FAULTS
from sonoduct.wire import WireError, error_for

from .link import Link, LinkClosedError, Take


class GuardedConnection(ServerConnection):
    """
    A connection that stops reading while its peer does not read, and hands messages over at once.

    websockets answers each PING into the write buffer without flow control. A peer that sends
    PINGs and never reads would grow the buffer by 70 MiB in 4 s.

    websockets also puts each message into a queue and wakes a task with a future, which is half of
    the cost of a small message.
    """

    # With one more attribute its dictionary would not share keys any more: 1.3 KiB for each.
    __slots__ = ("dialect", "take")

    dialect: Dialect | None
    """The dialect that accepted the handshake."""

    take: Take | None
    """Takes binary messages at once, while a session waits for the next message."""

    def __init__(self, *arguments: Any, **options: Any) -> None:
        super().__init__(*arguments, **options)
        self.dialect = self.take = None

    def process_event(self, event: Event) -> None:
        """Hand a whole binary message to `take`, unless earlier messages are still queued."""
        if (
            self.take is not None
            and isinstance(event, Frame)
            and event.opcode is Opcode.BINARY
            and event.fin
            and not self.recv_messages.frames
        ):
            self.take(cast("bytes", event.data))  # unmasked: always bytes
        else:
            super().process_event(event)

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Resume reading only if there is room for both messages and answers."""
        super().connection_made(transport)
        self.recv_messages.resume = self._resume_reading

    def pause_writing(self) -> None:
        """Stop reading as well: an answer would not fit into the write buffer."""
        super().pause_writing()
        self.transport.pause_reading()

    def resume_writing(self) -> None:
        """Resume reading as well, unless the queue of messages is full."""
        super().resume_writing()
        self._resume_reading()

    def _resume_reading(self) -> None:
        if not (self.paused or self.recv_messages.paused):
            self.transport.resume_reading()


class WebSocketLink(Link):
    """A GuardedConnection as a session knows it."""

    def __init__(self, connection: GuardedConnection) -> None:
        self.peer = peer_of(connection)
        self._connection = connection

    def hold_little(self) -> None:
        """
        Read one message ahead instead of eight, and do not take a missing pong for a lost peer.

        This is for clients that know no credit: their messages may have 1 MiB. While the receiver
        waits for a processor it reads nothing from them, and so no pong.
        """
        messages = self._connection.recv_messages
        messages.high, messages.low = 1, 0
        self._connection.ping_timeout = None

    @override
    async def receive(self, take: Take | None = None) -> str | bytes:
        self._connection.take = take
        try:
            return await self._connection.recv()
        except ConnectionClosed as exc:
            raise _fault(exc) or _closed(exc) from exc
        finally:
            self._connection.take = None

    @property
    @override
    def has_room(self) -> bool:
        return not self._connection.paused

    @override
    def send_now(self, text: str) -> None:
        broadcast((self._connection,), text)

    @override
    async def send(self, text: str) -> None:
        try:
            await self._connection.send(text)
        except ConnectionClosed as exc:
            raise _closed(exc) from exc

    @override
    async def close(self, code: int, reason: str) -> None:
        await self._connection.close(code, reason)


def peer_of(connection: ServerConnection) -> str:
    """Return the address of the other end; behind a gateway, that is the gateway's."""
    address = connection.remote_address
    if not isinstance(address, tuple):  # already closed
        return "unknown"
    host, port = address[:2]
    return f"[{host}]:{port}" if ":" in host else f"{host}:{port}"


def _closed(exc: ConnectionClosed) -> LinkClosedError:
    return LinkClosedError(exc.rcvd.code if exc.rcvd else 1006)


def _fault(exc: ConnectionClosed) -> WireError | None:
    """Return the peer's fault against WebSocket itself, for which the library has closed."""
    ours = exc.sent is not None and not exc.rcvd_then_sent and exc.sent.code in WEBSOCKET_FAULTS
    return error_for(exc.sent.code, exc.sent.reason) if ours and exc.sent else None
