"""The sender's only contact with WebSocket: connecting, and one connection."""

from __future__ import annotations

import asyncio
import socket
import ssl
from contextlib import suppress
from typing import Final

from aiohappyeyeballs import start_connection
from websockets.asyncio.client import ClientConnection, connect
from websockets.exceptions import (
    ConnectionClosed,
    InvalidHandshake,
    InvalidMessage,
    InvalidStatus,
    InvalidURI,
)
from websockets.typing import Subprotocol
from websockets.uri import parse_uri

from sonoduct.wire import CONTROL_BYTES, SUBPROTOCOL

from .errors import NotAReceiverError, OddAnswerError

OPEN_TIMEOUT_S: Final = 10
CLOSE_TIMEOUT_S: Final = 5
PING_INTERVAL_S: Final = 20
PING_TIMEOUT_S: Final = 20
ABNORMAL: Final = 1006
GOING_AWAY: Final = 1001
GOODBYE_S: Final = 1.0

NEXT_ADDRESS_S: Final = 0.25
"""Between attempts at the addresses of one name: RFC 8305, section 8."""

HANDSHAKE_S: Final = 3.0
"""What an address has at least to answer in, however many others there are."""

_BUSY: Final = frozenset({408, 425, 429, *range(500, 600)})
"""HTTP answers of a full receiver, or of a load balancer that has none ready or lost patience."""


class LinkClosedError(ConnectionError):
    """
    The connection is closed: *code* and *reason* are the peer's, or ours; 1006 without any.

    They are *ours* if the library could not accept what the peer sent.
    """

    def __init__(self, code: int, reason: str, *, ours: bool = False) -> None:
        super().__init__(f"connection closed with {code} {reason}".rstrip())
        self.code = code
        self.reason = reason
        self.ours = ours


class Link:
    """One connection to a receiver."""

    def __init__(self, connection: ClientConnection) -> None:
        self._connection = connection

    async def send(self, message: str | bytes) -> None:
        """
        Send *message*; waits while the peer does not read.

        Raises:
            LinkClosedError: if it cannot be sent any more.
        """
        try:
            await self._connection.send(message)
        except ConnectionClosed as exc:
            raise _closed(exc) from exc

    async def receive(self) -> str | bytes:
        """
        Return the next message.

        Raises:
            LinkClosedError: when none will come any more.
        """
        try:
            return await self._connection.recv()
        except ConnectionClosed as exc:
            raise _closed(exc) from exc

    async def leave(self) -> None:
        """Close as somebody who is interrupted, and wait no longer than a second for the peer."""
        with suppress(TimeoutError):
            async with asyncio.timeout(GOODBYE_S):
                await self._connection.close(GOING_AWAY, "interrupted")
        self._connection.transport.abort()

    async def close(self, code: int = 1000, reason: str = "") -> None:
        """Close; return when the peer knows, or has been given up."""
        await self._connection.close(code, reason)


async def open_link(
    url: str, subprotocol: str | None = SUBPROTOCOL, within: float = OPEN_TIMEOUT_S, turn: int = 0
) -> Link:
    """
    Connect to *url* within *within* seconds; no subprotocol is the tutorial's way.

    If the host has several addresses, the next one is tried while one is silent (RFC 8305). *turn*
    is the one to begin with, so that an address that accepts connections and then says nothing
    does not stand in the way for ever.

    Raises:
        NotAReceiverError: if something answers that is no receiver.
        OddAnswerError: if it may be a proxy that answers in a receiver's place.
        OSError: if nothing answers, or a receiver without room; trying again may help.
    """
    within = min(within, OPEN_TIMEOUT_S)
    try:
        address = parse_uri(url)
    except (InvalidURI, ValueError) as exc:  # ValueError: a port that is none
        raise NotAReceiverError(f"{url}: {exc}, expected ws://HOST:PORT") from exc
    try:
        async with asyncio.timeout(within):
            sock, addresses = await _connected(address.host, address.port, turn)
    except UnicodeError as exc:  # of a label that no name can have
        raise NotAReceiverError(f"{url}: no host name: {exc}") from exc
    except (OSError, RuntimeError) as exc:  # RuntimeError: uvloop's, of a socket that was closed
        raise ConnectionError(f"{url}: {_sentence(exc, within)}") from exc
    # Some of the time is left for other addresses, of which the next attempt takes the next.
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
            proxy=None,  # receivers are near; a proxy of the environment is meant for the web
        )
    except (InvalidURI, ValueError) as exc:  # of where it redirects to
        raise OddAnswerError(f"{url}: a redirect, expected a WebSocket handshake: {exc}") from exc
    except OSError as exc:
        raise ConnectionError(f"{url}: {_sentence(exc, handshake)}") from exc
    except ConnectionClosed as exc:  # reset before we said anything
        raise ConnectionError(f"{url}: closed during the handshake") from exc
    except InvalidHandshake as exc:
        raise _judged(url, exc) from exc
    if connection.subprotocol != subprotocol:
        await connection.close()
        raise NotAReceiverError(
            f"{url}: subprotocol {connection.subprotocol}, expected {subprotocol}; "
            "the tutorial's server takes --protocol plain"
        )
    return Link(connection)


def _judged(url: str, error: InvalidHandshake) -> Exception:
    """A connection that ends within the handshake, or a full receiver, may be tried again."""
    if isinstance(error, InvalidStatus):
        status = error.response.status_code
        if status in _BUSY:
            return ConnectionError(f"{url}: HTTP {status}, no receiver has room")
        return OddAnswerError(f"{url}: HTTP {status}, expected a WebSocket handshake")
    if isinstance(error, InvalidMessage) and isinstance(error.__cause__, EOFError):
        return ConnectionError(f"{url}: closed during the handshake")
    return OddAnswerError(f"{url}: {error}, expected a WebSocket handshake")


def _closed(error: ConnectionClosed) -> LinkClosedError:
    close = error.rcvd or error.sent  # ours says what the library could not accept
    if close is None:
        return LinkClosedError(ABNORMAL, "")
    return LinkClosedError(close.code, close.reason, ours=error.rcvd is None)


async def _connected(host: str, port: int, turn: int) -> tuple[socket.socket, int]:
    """Return a socket that is connected to one of the addresses of *host*, and how many it has."""
    loop = asyncio.get_running_loop()
    found = await loop.getaddrinfo(host, port, type=socket.SOCK_STREAM)
    first = turn % len(found)
    turned = [*found[first:], *found[:first]]
    return await start_connection(turned, happy_eyeballs_delay=NEXT_ADDRESS_S), len(found)


def _sentence(error: Exception, within: float) -> str:
    """Return what *error* says; some say nothing."""
    if isinstance(error, TimeoutError):
        return f"no answer within {within:g} s"
    if isinstance(error, ssl.SSLCertVerificationError):
        return f"certificate refused: {error.verify_message}"
    if isinstance(error, ssl.SSLError):
        return f"no TLS, expected it behind wss://: {error.reason or error}"
    return str(error) or f"{type(error).__name__} during the handshake"
