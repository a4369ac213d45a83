"""WebSocket: connecting, and `Link`, one connection. Only this module imports the library."""

from __future__ import annotations

import asyncio
import logging
import os
import socket
import ssl
import struct
from collections.abc import Callable
from contextlib import suppress
from typing import Final

import structlog
from aiohappyeyeballs import start_connection
from typing_extensions import override
from websockets import frames
from websockets.asyncio.client import ClientConnection, connect
from websockets.exceptions import (
    ConnectionClosed,
    InvalidHandshake,
    InvalidMessage,
    InvalidStatus,
    InvalidURI,
)
from websockets.frames import Frame, Opcode
from websockets.protocol import Event, State
from websockets.typing import Subprotocol
from websockets.uri import WebSocketURI, parse_uri

from sonoduct.runtime.address import place
from sonoduct.text import clean
from sonoduct.wire import CONTROL_BYTES, REPLICA_HEADER, SUBPROTOCOL, Buffer

from .access import STRANGER, Access
from .errors import AccessError, NotAReceiverError, OddAnswerError

log = structlog.get_logger()

_QUIET: Final = logging.Logger("websockets", logging.CRITICAL)  # noqa: LOG001  # outside of the tree
"""For the library, which would log each header at the level DEBUG, and so the token."""

OPEN_TIMEOUT_S: Final = 10
CLOSE_TIMEOUT_S: Final = 2
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

POLICY: Final = 1008

MOST_FRAGMENTS: Final = 64
"""Frames of one message. A receiver needs one; empty ones would cost memory without end."""

PINGS: Final = 1000
PINGS_PER_S: Final = 10.0
"""Pings at once, and from then on in a second; each is answered, read or not."""

MOST_NAME: Final = 64
"""Characters of a receiver's name."""

MOST_WORDS: Final = 300
"""Characters of what the library says about an answer; it may quote it."""

_BUSY: Final = frozenset({408, 425, 429, *range(500, 600)})
"""HTTP answers of a full receiver, or of a load balancer without a receiver that is ready."""


_REFUSED: Final = {
    401: "the receiver refuses the token, or wants one: HTTP 401, expected one in --token-file",
    403: "the receiver refuses the token, or this name for itself: HTTP 403",
}

_ALERTS: Final = ("CERTIFICATE_REQUIRED", "BAD_CERTIFICATE", "UNKNOWN_CA", "CERTIFICATE_EXPIRED")
"""Ends of TLS's names for what a server may find wrong with a client's certificate."""


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


class Meter:
    """Counts what a peer may repeat without end, and what costs memory here. It has no clock."""

    def __init__(self, now: float) -> None:
        self._fragments = 0
        self._pings = float(PINGS)
        self._at = now

    def excess(self, opcode: Opcode, now: float) -> str:
        """Count a frame; return what is too much of it, "" if nothing is."""
        if opcode is Opcode.PING:
            self._pings = min(float(PINGS), self._pings + (now - self._at) * PINGS_PER_S)
            self._at = now
            self._pings -= 1
            return f"more than {PINGS} pings" if self._pings < 0 else ""
        if opcode in (Opcode.TEXT, Opcode.BINARY):
            self._fragments = 1
        elif opcode is Opcode.CONT:
            self._fragments += 1
        return f"more than {MOST_FRAGMENTS} fragments" if self._fragments > MOST_FRAGMENTS else ""


class _Connection(ClientConnection):
    """The library's connection; it ends itself if the peer sends too much of one kind."""

    excess = ""
    """What was too much."""

    lost: Exception | None = None
    """Why the connection was lost, if it was not closed; TLS tells here what a peer refuses."""

    @override
    def process_event(self, event: Event) -> None:
        if self.excess:
            return
        if isinstance(event, Frame):
            self.excess = self._meter.excess(event.opcode, self.loop.time())
            if self.excess:
                self.transport.abort()
                return
        super().process_event(event)

    @override
    def connection_lost(self, exc: Exception | None) -> None:
        self.lost = exc
        super().connection_lost(exc)

    @override
    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._meter = Meter(self.loop.time())
        super().connection_made(transport)


class Link:
    """One connection to a receiver."""

    def __init__(self, connection: _Connection, url: str) -> None:
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
            raise _closed(exc, self._connection.excess) from exc

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
            raise _closed(exc, self._connection.excess) from exc

    async def leave(self) -> None:
        """Close because this process is interrupted; wait for the peer for a second at most."""
        with suppress(TimeoutError):
            async with asyncio.timeout(GOODBYE_S):
                await self._connection.close(GOING_AWAY, "interrupted")
        self._connection.transport.abort()
        self._say_closed("interrupted")

    async def close(self, why: str = "done") -> None:
        """Close; return when the peer has answered, or did not in time. *why* is for the log."""
        with suppress(
            TimeoutError
        ):  # the library has a limit, but not for a peer that reads nothing
            async with asyncio.timeout(CLOSE_TIMEOUT_S):
                await self._connection.close()
        self._connection.transport.abort()
        self._say_closed(why)

    def _say_closed(self, why: str) -> None:
        code, reason = self._connection.close_code, self._connection.close_reason
        log.debug("disconnected", to=self._url, code=code, reason=reason, why=why)


async def open_link(
    url: str,
    subprotocol: str | None = SUBPROTOCOL,
    within: float = OPEN_TIMEOUT_S,
    turn: int = 0,
    access: Access = STRANGER,
) -> Link:
    """
    Connect to *url* within *within* seconds. The tutorial's server has no subprotocol.

    The token of *access* goes to this address only: no redirect is followed.

    If one of the host's addresses is silent, the next one is tried meanwhile (RFC 8305). *turn*
    chooses the first one. An address that accepts connections and then stays silent would otherwise
    always come first.

    Raises:
        NotAReceiverError: if the server is not a receiver.
        AccessError: if a token or a certificate is refused, or cannot be read.
        OddAnswerError: if the answer may be from a proxy in the receiver's place.
        OSError: if no server answers, or a receiver is full; trying again may help.
    """
    within, address = min(within, OPEN_TIMEOUT_S), _parsed(url)
    if access.for_tls and not address.secure:
        raise NotAReceiverError(f"{url}: {access.for_tls} without TLS, expected wss://")
    headers = await asyncio.to_thread(access.headers) if access.token_file else {}
    tls = await asyncio.to_thread(access.tls) if address.secure else None
    try:
        async with asyncio.timeout(within):
            sock, addresses = await _connected(address.host, address.port, turn)
    except UnicodeError as exc:  # a label that no name can have
        raise NotAReceiverError(f"{url}: no host name: {exc}") from exc
    except (OSError, RuntimeError) as exc:  # RuntimeError: from uvloop, if the socket was closed
        raise ConnectionError(f"{url}: {_sentence(exc, within)}") from exc
    # Leave some of the time for the other addresses: the next attempt begins with the next one.
    handshake = within if addresses == 1 else max(within / addresses, min(within / 2, HANDSHAKE_S))
    made: list[_Connection] = []
    try:
        connection = await connect(
            url,
            sock=sock,  # websockets follows no redirect from a given socket
            ssl=tls,
            additional_headers=headers,
            create_connection=_noting(made),
            logger=_QUIET,
            subprotocols=[Subprotocol(subprotocol)] if subprotocol else None,
            compression=None,  # samples hardly deflate: 15 MB/s instead of over 1 GB/s
            max_size=CONTROL_BYTES,
            open_timeout=handshake,
            close_timeout=CLOSE_TIMEOUT_S,
            ping_interval=PING_INTERVAL_S,
            ping_timeout=PING_TIMEOUT_S,
            proxy=None,  # receivers are near; the environment's proxy is for the web
        )
    except ssl.SSLCertVerificationError as exc:  # a ValueError, and an OSError
        raise AccessError(f"{url}: certificate refused: {clean(exc.verify_message)}") from exc
    except (InvalidURI, ValueError) as exc:  # from a redirect
        where = clean(exc, MOST_WORDS)
        raise OddAnswerError(f"{url}: a redirect, expected a WebSocket handshake: {where}") from exc
    except OSError as exc:
        raise _lost(url, exc, handshake) from exc
    except ConnectionClosed as exc:  # reset before the handshake
        raise ConnectionError(f"{url}: closed during the handshake") from exc
    except InvalidHandshake as exc:
        raise _judged(url, exc, made[0].lost, address) from exc
    assert isinstance(connection, _Connection)  # create_connection
    if connection.subprotocol != subprotocol:
        connection.transport.abort()
        raise NotAReceiverError(
            f"{url}: subprotocol {connection.subprotocol}, expected {subprotocol}; "
            "the tutorial's server takes --protocol plain"
        )
    link = Link(connection, url)
    log.debug("connected", to=url, turn=turn, addresses=addresses, **link.facts)
    return link


def _parsed(url: str) -> WebSocketURI:
    if "@" in url.partition("//")[2].partition("/")[0]:  # the log names the address
        raise NotAReceiverError("address with a user or password in it, expected a token's file")
    try:
        return parse_uri(url)
    except (InvalidURI, ValueError) as exc:  # ValueError: the port is not a number
        raise NotAReceiverError(f"{url}: {exc}, expected ws://HOST:PORT") from exc


def _noting(made: list[_Connection]) -> type[ClientConnection]:
    """Return a class of connections that are added to *made*, whatever becomes of them."""

    class Noted(_Connection):
        @override
        def connection_made(self, transport: asyncio.BaseTransport) -> None:
            made.append(self)
            super().connection_made(transport)

    return Noted


def _facts(connection: ClientConnection) -> dict[str, str]:
    facts = {}
    if (response := connection.response) and (names := response.headers.get_all(REPLICA_HEADER)):
        facts["replica"] = clean(names[-1], MOST_NAME)
    if isinstance(address := connection.remote_address, tuple):
        facts["peer"] = place(*address[:2])
    return facts


def _judged(
    url: str, error: InvalidHandshake, lost: Exception | None, address: WebSocketURI
) -> Exception:
    """
    Return an OSError if trying again may help: it broke off, or no receiver has room.

    *lost* is why the connection was lost. With TLS 1.3 a server looks at the client's certificate
    after the client has finished its handshake; some close then without a word.
    """
    if isinstance(lost, ssl.SSLError):
        return _lost(url, lost, OPEN_TIMEOUT_S)
    if isinstance(error, InvalidStatus):
        status = error.response.status_code
        if status in _REFUSED:
            return AccessError(f"{url}: {_REFUSED[status]}")
        if status in _BUSY:
            return ConnectionError(f"{url}: HTTP {status}, no receiver has room")
        return OddAnswerError(f"{url}: HTTP {status}, expected a WebSocket handshake")
    if isinstance(error, InvalidMessage) and isinstance(error.__cause__, EOFError):
        hint = "; it may want a client certificate" if address.secure else ""
        return ConnectionError(f"{url}: closed during the handshake{hint}")
    return OddAnswerError(f"{url}: {clean(error, MOST_WORDS)}, expected a WebSocket handshake")


def _lost(url: str, error: OSError, within: float) -> Exception:
    """Return an AccessError if the receiver wants another certificate of this sender."""
    reason = error.reason if isinstance(error, ssl.SSLError) else None
    if reason and "ALERT" in reason and reason.endswith(_ALERTS):
        return AccessError(f"{url}: the receiver refuses the client certificate: {reason}")
    return ConnectionError(f"{url}: {_sentence(error, within)}")


def _closed(error: ConnectionClosed, excess: str) -> LinkClosedError:
    if excess:
        return LinkClosedError(POLICY, excess, ours=True)
    close = error.rcvd or error.sent  # ours, if the library could not accept a message
    if close is None:
        return LinkClosedError(ABNORMAL, "")
    return LinkClosedError(close.code, clean(close.reason), ours=error.rcvd is None)


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
    if isinstance(error, ssl.SSLError):
        return f"no TLS, expected it behind wss://: {error.reason or error}"
    return str(error) or f"{type(error).__name__} during the handshake"
