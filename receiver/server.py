"""The receiver's only contact with WebSocket: listening, probes, limits, connections."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from http import HTTPStatus

import structlog
from websockets.asyncio.server import ServerConnection, serve
from websockets.exceptions import ConnectionClosed, NegotiationError
from websockets.http11 import Request, Response
from websockets.typing import Subprotocol

from wire import SUBPROTOCOL, WireError, error_for

from .dialect import Dialect, Sonoduct
from .link import LinkClosedError
from .metrics import WEBSOCKET_FAULTS, Metrics
from .plain import Plain
from .session import Session
from .settings import PLAIN_MESSAGE, Settings
from .streams import Streams

log = structlog.get_logger()

CLOSE_TIMEOUT_S = 5


class GuardedConnection(ServerConnection):
    """
    A connection that stops reading while its peer does not read.

    websockets answers each PING into the write buffer without flow control: a peer that sends
    PINGs and never reads would grow it by 70 MiB in 4 s.
    """

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
    """A websockets connection as a Link."""

    def __init__(self, connection: ServerConnection) -> None:
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

    async def receive(self) -> str | bytes:
        """See Link."""
        try:
            return await self._connection.recv()
        except ConnectionClosed as exc:
            raise _fault(exc) or _closed(exc) from exc

    async def send(self, text: str) -> None:
        """See Link."""
        try:
            await self._connection.send(text)
        except ConnectionClosed as exc:
            raise _closed(exc) from exc

    async def close(self, code: int, reason: str) -> None:
        """See Link."""
        await self._connection.close(code, reason)


class Server:
    """Accepts connections and gives each a session."""

    def __init__(self, settings: Settings, streams: Streams, metrics: Metrics) -> None:
        self.ready = True
        """What /readyz says while there is room; nothing new comes to one that is not ready."""
        self._settings = settings
        self._streams = streams
        self._metrics = metrics
        self._sessions: set[Session] = set()

    @asynccontextmanager
    async def listen(self) -> AsyncIterator[int]:
        """
        Accept connections while the context is open; yield the port.

        Raises:
            OSError: if the port is taken.
        """
        server = await serve(
            self._serve,
            self._settings.host,
            self._settings.port,
            process_request=self._answer,
            select_subprotocol=_select,
            compression=None,  # samples hardly deflate: 15 MB/s instead of over 1 GB/s
            create_connection=GuardedConnection,
            max_size=PLAIN_MESSAGE,
            max_queue=(8, 2),
            open_timeout=self._settings.limits.hello_timeout,
            close_timeout=CLOSE_TIMEOUT_S,
            ping_interval=20,
            ping_timeout=60,
        )
        try:
            yield server.sockets[0].getsockname()[1]
        finally:
            server.close(code=1012, reason="receiver stops")
            try:
                async with asyncio.timeout(CLOSE_TIMEOUT_S + 1):
                    await server.wait_closed()
            except TimeoutError:  # some session waits for a slow processor
                self._streams.give_up()
                await server.wait_closed()

    async def drain(self, plain_timeout: float) -> None:
        """End every session well; plain clients have *plain_timeout* seconds."""
        async with asyncio.TaskGroup() as tasks:
            for session in self._sessions:
                tasks.create_task(session.drain())
        if ends := [asyncio.create_task(each.ended.wait()) for each in self._sessions]:
            _, late = await asyncio.wait(ends, timeout=plain_timeout)
            log.info("drained", in_time=len(ends) - len(late), late=len(late))

    async def _serve(self, connection: ServerConnection) -> None:
        dialect, deadlines = self._dialect(connection), self._settings.limits.deadlines
        link = WebSocketLink(connection)
        if not dialect.credit:
            link.hold_little()
        session = Session(link, dialect, self._streams, self._metrics, deadlines)
        self._sessions.add(session)
        try:
            await session.run()
        finally:
            self._sessions.discard(session)
            self._metrics.connections.labels(dialect.name, session.result).inc()

    def _dialect(self, connection: ServerConnection) -> Dialect:
        if connection.subprotocol == SUBPROTOCOL:
            return Sonoduct()
        assert connection.request is not None
        return Plain(connection.request.path, self._settings.plain_format)

    def _answer(self, connection: ServerConnection, request: Request) -> Response | None:
        """Answer probes from the event loop itself, so that a blocked loop fails them."""
        path = request.path.partition("?")[0]
        if path in ("/healthz", "/readyz"):
            # 404 means: no new connections, those that are open go on (HAProxy's disable-on-404).
            good = path == "/healthz" or (self.ready and not self._streams.full)
            status = HTTPStatus.OK if good else HTTPStatus.NOT_FOUND
            return connection.respond(status, f"{status.phrase}\n")
        if path != "/":
            return connection.respond(HTTPStatus.NOT_FOUND, f"{path}, expected /\n")
        if len(self._sessions) >= self._settings.limits.max_connections:
            ours = SUBPROTOCOL in request.headers.get("Sec-WebSocket-Protocol", "")
            self._metrics.connections.labels("sonoduct" if ours else "plain", "refused").inc()
            return connection.respond(HTTPStatus.SERVICE_UNAVAILABLE, "no connection is left\n")
        return None


def _closed(exc: ConnectionClosed) -> LinkClosedError:
    return LinkClosedError(exc.rcvd.code if exc.rcvd else 1006)


def _fault(exc: ConnectionClosed) -> WireError | None:
    """What the peer did to WebSocket itself; the library has closed the connection for it."""
    ours = exc.sent is not None and not exc.rcvd_then_sent and exc.sent.code in WEBSOCKET_FAULTS
    return error_for(exc.sent.code, exc.sent.reason) if ours and exc.sent else None


def _select(_connection: ServerConnection, offered: Sequence[Subprotocol]) -> Subprotocol | None:
    """Choose ours; whoever offers none speaks the tutorial's dialect."""
    if SUBPROTOCOL in offered:
        return Subprotocol(SUBPROTOCOL)
    if offered:
        raise NegotiationError(f"subprotocols {offered}, expected {SUBPROTOCOL} or none")
    return None
