"""One WebSocket connection: the library's, what is guarded about it, and how a session sees it."""

from __future__ import annotations

import asyncio
from typing import cast

from websockets.asyncio.server import ServerConnection, broadcast
from websockets.exceptions import ConnectionClosed
from websockets.frames import Frame, Opcode
from websockets.protocol import Event

from receiver.metrics import WEBSOCKET_FAULTS
from sonoduct.wire import WireError, error_for

from .link import LinkClosedError, Take


class GuardedConnection(ServerConnection):
    """
    A connection that stops reading while its peer does not read, and hands messages over at once.

    websockets answers each PING into the write buffer without flow control: a peer that sends
    PINGs and never reads would grow it by 70 MiB in 4 s.

    It also puts each message into a queue and wakes a task with a future: half of what a small one
    costs.
    """

    take: Take | None = None
    """Who takes binary messages at once: somebody who waits for the next one."""

    def process_event(self, event: Event) -> None:
        """Hand a whole binary message over, unless there are others that came before it."""
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
        """Have room for messages resume reading only while there is room for answers, too."""
        super().connection_made(transport)
        self.recv_messages.resume = self._resume_reading

    def pause_writing(self) -> None:
        """The write buffer is full: take nothing that would add to it."""
        super().pause_writing()
        self.transport.pause_reading()

    def resume_writing(self) -> None:
        """The write buffer has drained; reading goes on unless messages wait to be received."""
        super().resume_writing()
        self._resume_reading()

    def _resume_reading(self) -> None:
        if not (self.paused or self.recv_messages.paused):
            self.transport.resume_reading()


class WebSocketLink:
    """A connection as a Link."""

    def __init__(self, connection: GuardedConnection) -> None:
        self.peer = peer_of(connection)
        self._connection = connection

    def hold_little(self) -> None:
        """
        Read one message ahead instead of eight, and take no missing pong for a loss.

        For clients that know no credit: their messages may be 1 MiB, and while nothing is read from
        them, however long a processor takes, their pongs are not either.
        """
        messages = self._connection.recv_messages
        messages.high, messages.low = 1, 0
        self._connection.ping_timeout = None

    async def receive(self, take: Take | None = None) -> str | bytes:
        """See Link."""
        self._connection.take = take
        try:
            return await self._connection.recv()
        except ConnectionClosed as exc:
            raise _fault(exc) or _closed(exc) from exc
        finally:
            self._connection.take = None

    @property
    def has_room(self) -> bool:
        """See Link."""
        return not self._connection.paused

    def send_now(self, text: str) -> None:
        """See Link."""
        broadcast((self._connection,), text)

    async def send(self, text: str) -> None:
        """See Link."""
        try:
            await self._connection.send(text)
        except ConnectionClosed as exc:
            raise _closed(exc) from exc

    async def close(self, code: int, reason: str) -> None:
        """See Link."""
        await self._connection.close(code, reason)


def peer_of(connection: ServerConnection) -> str:
    """Return the address of the other end; behind a gateway, that is the gateway's."""
    address = connection.remote_address
    if not isinstance(address, tuple):  # gone before anybody asked
        return "unknown"
    host, port = address[:2]
    return f"[{host}]:{port}" if ":" in host else f"{host}:{port}"


def _closed(exc: ConnectionClosed) -> LinkClosedError:
    return LinkClosedError(exc.rcvd.code if exc.rcvd else 1006)


def _fault(exc: ConnectionClosed) -> WireError | None:
    """What the peer did to WebSocket itself; the library has closed the connection for it."""
    ours = exc.sent is not None and not exc.rcvd_then_sent and exc.sent.code in WEBSOCKET_FAULTS
    return error_for(exc.sent.code, exc.sent.reason) if ours and exc.sent else None
