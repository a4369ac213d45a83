"""WebSocket: connecting, and `Link`, one connection. Only this module imports the library."""

from __future__ import annotations

import asyncio
import os
import socket
import ssl
import struct
from collections.abc import Callable
from contextlib import suppress
from typing import Final

import structlog
from aiohappyeyeballs import start_connection
from websockets import frames
from websockets.asyncio.client import ClientConnection, connect
from websockets.exceptions import (
    ConnectionClosed,
    InvalidHandshake,
    InvalidMessage,
    InvalidStatus,
    InvalidURI,
)
from websockets.protocol import State
from websockets.typing import Subprotocol
from websockets.uri import parse_uri

from sonoduct.runtime.address import place
from sonoduct.wire import CONTROL_BYTES, REPLICA_HEADER, SUBPROTOCOL, Buffer

from .errors import NotAReceiverError, OddAnswerError

log = structlog.get_logger()

OPEN_TIMEOUT_S: Final = 10
CLOSE_TIMEOUT_S: Final = 5
PING_INTERVAL_S: Final = 20
PING_TIMEOUT_S: Final = 20
ABNORMAL: Final = 1006
GOING_AWAY: Final = 1001
GOODBYE_S: Final = 1.0

NEXT_ADDRESS_S: Final = 0.25
"""Seconds between attempts at the addresses of one name: RFC 8305, section 8."""

HANDSHAKE_S: Final = 3.0
"""Seconds that each address has at least to answer, if the name has several."""

_masked: Final[Callable[[Buffer, bytes], bytes]] = frames.apply_mask  # type: ignore[attr-defined]  # not exported; it is the one in C if there is one

_BINARY: Final = 0x82  # a whole message in one frame: RFC 6455, section 5.2
_MASKED: Final = 0x80
_SHORT: Final = 125
_MEDIUM: Final = 65535

MOST_NAME: Final = 64
"""Characters of a receiver's name."""

_BUSY: Final = frozenset({408, 425, 429, *range(500, 600)})
"""HTTP answers of a full receiver, or of a load balancer without a receiver that is ready."""


class LinkClosedError(ConnectionError):
    """
    The connection is closed, with *code* and *reason*; the code is 1006 if there was none.

    They are *ours*, and not the peer's, if the library could not accept the peer's message.
    """

    def __init__(self, code: int, reason: str, *, ours: bool = False) -> None:
        super().__init__(f"connection closed with {code} {reason}".rstrip())
        self.code = code
        self.reason = reason
        self.ours = ours


class Link:
    """One connection to a receiver."""

    def __init__(self, connection: ClientConnection, url: str) -> None:
        self.facts = _facts(connection)
        """The fields of the log that name the receiver, if it says its name, and its address."""
        self._connection = connection
        self._url = url

    async def send(self, message: str | bytes) -> None:
        """
        Send *message*; wait while the peer does not read.

        Raises:
            LinkClosedError: if the connection is closed.
        """
        try:
            await self._connection.send(message)
        except ConnectionClosed as exc:
            raise _closed(exc) from exc

    async def send_chunk(self, header: bytes, payload: Buffer) -> None:
        """
        Send *header*, a multiple of 4 bytes, and *payload* as one message; wait as `send` does.

        Each is copied once, by the mask. The library would join them and copy the message twice.

        Raises:
            LinkClosedError: if the connection is closed.
        """
        connection = self._connection
        if connection.protocol.state is not State.OPEN:
            await self.send(b"".join((header, payload)))  # the library knows why it cannot
            return
        size = len(header) + len(payload)
        if size <= _SHORT:
            head = struct.pack("!BB", _BINARY, _MASKED | size)
        elif size <= _MEDIUM:
            head = struct.pack("!BBH", _BINARY, _MASKED | (_SHORT + 1), size)
        else:
            head = struct.pack("!BBQ", _BINARY, _MASKED | (_SHORT + 2), size)
        mask = os.urandom(4)  # it has to be unpredictable: RFC 6455, section 5.3
        head += mask + _masked(header, mask)
        connection.transport.writelines((head, _masked(payload, mask)))
        with suppress(OSError):  # the connection is lost: the next call tells
            await connection.drain()

    async def receive(self) -> str | bytes:
        """
        Return the next message.

        Raises:
            LinkClosedError: if the connection is closed, and every message was returned.
        """
        try:
            return await self._connection.recv()
        except ConnectionClosed as exc:
            raise _closed(exc) from exc

    async def leave(self) -> None:
        """Close because this process is interrupted; wait for the peer for a second at most."""
        with suppress(TimeoutError):
            async with asyncio.timeout(GOODBYE_S):
                await self._connection.close(GOING_AWAY, "interrupted")
        self._connection.transport.abort()
        self._say_closed("interrupted")

    async def close(self, why: str = "done") -> None:
        """Close; return when the peer has answered, or did not in time. *why* is for the log."""
        await self._connection.close()
        self._say_closed(why)

    def _say_closed(self, why: str) -> None:
        code, reason = self._connection.close_code, self._connection.close_reason
        log.debug("disconnected", to=self._url, code=code, reason=reason, why=why)


async def open_link(
    url: str, subprotocol: str | None = SUBPROTOCOL, within: float = OPEN_TIMEOUT_S, turn: int = 0
) -> Link:
    """
    Connect to *url* within *within* seconds. The tutorial's server has no subprotocol.

    If one of the host's addresses is silent, the next one is tried meanwhile (RFC 8305). *turn*
    chooses the first one. An address that accepts connections and then stays silent would otherwise
    always come first.

    Raises:
        NotAReceiverError: if the server is not a receiver.
        OddAnswerError: if the answer may be from a proxy in the receiver's place.
        OSError: if no server answers, or a receiver is full; trying again may help.
    """
    within = min(within, OPEN_TIMEOUT_S)
    try:
        address = parse_uri(url)
    except (InvalidURI, ValueError) as exc:  # ValueError: the port is not a number
        raise NotAReceiverError(f"{url}: {exc}, expected ws://HOST:PORT") from exc
    try:
        async with asyncio.timeout(within):
            sock, addresses = await _connected(address.host, address.port, turn)
    except UnicodeError as exc:  # a label that no name can have
        raise NotAReceiverError(f"{url}: no host name: {exc}") from exc
    except (OSError, RuntimeError) as exc:  # RuntimeError: from uvloop, if the socket was closed
        raise ConnectionError(f"{url}: {_sentence(exc, within)}") from exc
    # Leave some of the time for the other addresses: the next attempt begins with the next one.
    handshake = within if addresses == 1 else max(within / addresses, min(within / 2, HANDSHAKE_S))
    try:
        connection = await connect(
            url,
            sock=sock,  # websockets follows no redirect from a given socket
            subprotocols=[Subprotocol(subprotocol)] if subprotocol else None,
            compression=None,  # samples hardly deflate: 15 MB/s instead of over 1 GB/s
            max_size=CONTROL_BYTES,
            open_timeout=handshake,
            close_timeout=CLOSE_TIMEOUT_S,
            ping_interval=PING_INTERVAL_S,
            ping_timeout=PING_TIMEOUT_S,
            proxy=None,  # receivers are near; the environment's proxy is for the web
        )
    except (InvalidURI, ValueError) as exc:  # from a redirect
        raise OddAnswerError(f"{url}: a redirect, expected a WebSocket handshake: {exc}") from exc
    except OSError as exc:
        raise ConnectionError(f"{url}: {_sentence(exc, handshake)}") from exc
    except ConnectionClosed as exc:  # reset before the handshake
        raise ConnectionError(f"{url}: closed during the handshake") from exc
    except InvalidHandshake as exc:
        raise _judged(url, exc) from exc
    if connection.subprotocol != subprotocol:
        await connection.close()
        raise NotAReceiverError(
            f"{url}: subprotocol {connection.subprotocol}, expected {subprotocol}; "
            "the tutorial's server takes --protocol plain"
        )
    link = Link(connection, url)
    log.debug("connected", to=url, turn=turn, addresses=addresses, **link.facts)
    return link


def _facts(connection: ClientConnection) -> dict[str, str]:
    facts = {}
    if (response := connection.response) and (names := response.headers.get_all(REPLICA_HEADER)):
        facts["replica"] = "".join(filter(str.isprintable, names[-1]))[:MOST_NAME]
    if isinstance(address := connection.remote_address, tuple):
        facts["peer"] = place(*address[:2])
    return facts


def _judged(url: str, error: InvalidHandshake) -> Exception:
    """Return an OSError if trying again may help: it broke off, or no receiver has room."""
    if isinstance(error, InvalidStatus):
        status = error.response.status_code
        if status in _BUSY:
            return ConnectionError(f"{url}: HTTP {status}, no receiver has room")
        return OddAnswerError(f"{url}: HTTP {status}, expected a WebSocket handshake")
    if isinstance(error, InvalidMessage) and isinstance(error.__cause__, EOFError):
        return ConnectionError(f"{url}: closed during the handshake")
    return OddAnswerError(f"{url}: {error}, expected a WebSocket handshake")


def _closed(error: ConnectionClosed) -> LinkClosedError:
    close = error.rcvd or error.sent  # ours, if the library could not accept a message
    if close is None:
        return LinkClosedError(ABNORMAL, "")
    return LinkClosedError(close.code, close.reason, ours=error.rcvd is None)


async def _connected(host: str, port: int, turn: int) -> tuple[socket.socket, int]:
    """Return a socket connected to one of the addresses of *host*, and the number of addresses."""
    loop = asyncio.get_running_loop()
    found = await loop.getaddrinfo(host, port, type=socket.SOCK_STREAM)
    first = turn % len(found)
    turned = [*found[first:], *found[:first]]
    return await start_connection(turned, happy_eyeballs_delay=NEXT_ADDRESS_S), len(found)


def _sentence(error: Exception, within: float) -> str:
    """Return the text of *error*, or one for an error without text."""
    if isinstance(error, TimeoutError):
        return f"no answer within {within:g} s"
    if isinstance(error, ssl.SSLCertVerificationError):
        return f"certificate refused: {error.verify_message}"
    if isinstance(error, ssl.SSLError):
        return f"no TLS, expected it behind wss://: {error.reason or error}"
    return str(error) or f"{type(error).__name__} during the handshake"
