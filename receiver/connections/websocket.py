"""A WebSocket connection: the library's, with two guards, and as a session knows it."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from typing import Any, Final, Protocol

from typing_extensions import override
from websockets.asyncio.server import ServerConnection
from websockets.exceptions import ConnectionClosed
from websockets.frames import Frame, Opcode
from websockets.protocol import State

from receiver.clients import Client
from receiver.dialects import Dialect
from receiver.metrics import WEBSOCKET_FAULTS
from sonoduct.runtime.address import place
from sonoduct.wire import Buffer, WireError, error_for

from .frames import FrameReader
from .intake import Account, Meter
from .link import Link, LinkClosedError, Take

END: Final = b"\r\n\r\n"
"""Of a handshake."""


class Door(Protocol):
    """Lets connections in before their handshake, and hears of their end."""

    def let_in(self, connection: GuardedConnection) -> bool:
        """Return whether *connection*, which was just made, may send a handshake."""

    def let_out(self, connection: GuardedConnection) -> None:
        """Note that *connection*, which was let in, is gone."""


class GuardedConnection(ServerConnection):
    """
    A connection that stops reading while its peer does not read, and hands messages over at once.

    websockets answers each PING into the write buffer without flow control. A peer that sends
    PINGs and never reads would grow the buffer by 70 MiB in 4 s.

    websockets also puts each message into a queue and wakes a task with a future, which is half of
    the cost of a small message. `read_frames` and `take` avoid that.
    """

    # With one more attribute its dictionary would not share keys any more: 1.3 KiB for each.
    __slots__ = (
        *("_asked", "_door", "account", "client", "dialect", "early", "forwarded"),
        *("handshaking", "inside", "lost", "meter", "reader", "take"),
    )

    account: Account
    """Where its frames are charged, once the handshake is accepted."""

    client: Client | None
    """Whom the connection belongs to, once the handshake is accepted."""

    dialect: Dialect | None
    """The dialect that accepted the handshake."""

    early: bool
    """Whether frames have come before the answer to the handshake: RFC 6455, section 4.1."""

    forwarded: str
    """The client's address as the gateway says; empty without a gateway that may say it."""

    handshaking: bool
    """Whether the connection has a place for its handshake."""

    inside: bool
    """Whether the connection has a place, beyond its handshake."""

    lost: bool
    """Whether the connection is gone, which may be before its handshake is looked at."""

    meter: Meter | None
    """The meter of its client, or of its address before the handshake."""

    reader: FrameReader | None
    """Reads for it, once the handshake is accepted."""

    take: Take | None
    """Takes binary messages at once, while a session waits for the next message."""

    def __init__(self, door: Door, *arguments: Any, **options: Any) -> None:
        super().__init__(*arguments, **options)
        self.client = self.dialect = self.meter = self.reader = self.take = None
        self.forwarded = ""
        self._door = door
        self._asked = b""  # the end of the handshake so far
        self.early = self.handshaking = self.inside = self.lost = False

    def data_received(self, data: bytes) -> None:
        """Keep from the library what comes behind the request, before the answer to it."""
        if self.reader is None:
            if self._asked == END:  # the request was whole before
                self.early = True
                return
            request, end, rest = (self._asked + data).partition(END)
            if rest:
                self.early = True
                data = data[: len(data) - len(rest)]
            self._asked = end or request[1 - len(END) :]
        super().data_received(data)

    def read_frames(self, scratch: memoryview, most: int) -> None:
        """Read frames by a `FrameReader` from now on; call this before the answer is sent."""
        self.transport.pause_reading()
        self.reader = FrameReader(self, scratch, most)
        self.transport.set_protocol(self.reader)
        self.transport.resume_reading()

    @property
    def takes_frame(self) -> bool:
        """Whether the next binary frame is a whole message, and `take` waits for it."""
        return (
            self.take is not None
            and self.protocol.state is State.OPEN
            and self.protocol.current_size is None  # no fragments have come before
            and not self.recv_messages.frames
        )

    def take_frame(self, message: Buffer) -> None:
        """Hand *message* to `take`; a session that has stopped waiting gets it by the library."""
        if self.take is not None:
            self.take(message)
        else:
            self.process_event(Frame(Opcode.BINARY, bytes(message)))

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Resume reading only if there is room for both messages and answers."""
        super().connection_made(transport)
        self.recv_messages.resume = self._resume_reading
        if not self._door.let_in(self):
            self.transport.abort()

    def connection_lost(self, exc: Exception | None) -> None:
        """Give the connection's place back."""
        self.lost = True
        self._door.let_out(self)
        super().connection_lost(exc)

    def pause_writing(self) -> None:
        """Stop reading as well: an answer would not fit into the write buffer."""
        super().pause_writing()
        self.transport.pause_reading()

    def resume_writing(self) -> None:
        """Resume reading as well, unless the queue of messages is full."""
        super().resume_writing()
        self._resume_reading()

    @property
    def holds_back(self) -> bool:
        """Whether there is no room for a message, or for an answer."""
        return self.paused or self.recv_messages.paused

    def read_on(self) -> None:
        """Read from the transport, unless the connection is held back, or its reader rests."""
        if not (self.holds_back or (self.reader is not None and self.reader.rests)):
            self.transport.resume_reading()

    def _resume_reading(self) -> None:
        if self.reader is not None and not self.holds_back:
            self.reader.resume()
        else:
            self.read_on()


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
    def work(self, seconds: float) -> None:
        self._connection.account.work(seconds, asyncio.get_running_loop().time())

    @property
    @override
    def is_abusive(self) -> bool:
        return self._connection.account.is_abusive(asyncio.get_running_loop().time())

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
    def send_now(self, texts: Sequence[str]) -> None:
        connection = self._connection
        if connection.protocol.state is State.OPEN:
            for text in texts:
                connection.protocol.send_text(text.encode())
            connection.transport.write(b"".join(connection.protocol.data_to_send()))

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
    """Return the address of the client, or of the gateway if that does not name its client."""
    if forwarded := getattr(connection, "forwarded", ""):
        return str(forwarded)
    try:
        address = connection.remote_address
    except (OSError, ValueError):  # uvloop asks the socket, which may be closed
        return "unknown"
    if not isinstance(address, tuple):  # already closed
        return "unknown"
    return place(*address[:2])


def address_of(connection: ServerConnection) -> str:
    """Return the same without the port; empty if it is not known."""
    peer = peer_of(connection)
    host = peer.rpartition(":")[0] if peer.count(":") == 1 or "]:" in peer else peer
    return "" if peer == "unknown" else host.strip("[]")


def _closed(exc: ConnectionClosed) -> LinkClosedError:
    return LinkClosedError(exc.rcvd.code if exc.rcvd else 1006)


def _fault(exc: ConnectionClosed) -> WireError | None:
    """Return the peer's fault against WebSocket itself, for which the library has closed."""
    ours = exc.sent is not None and not exc.rcvd_then_sent and exc.sent.code in WEBSOCKET_FAULTS
    return error_for(exc.sent.code, exc.sent.reason) if ours and exc.sent else None
