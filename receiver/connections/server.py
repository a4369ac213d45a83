"""Where connections come in: listening, probes, limits."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from http import HTTPStatus
from typing import Any, cast

import structlog
from websockets.asyncio.server import ServerConnection, serve
from websockets.exceptions import NegotiationError
from websockets.http11 import Request, Response
from websockets.typing import Subprotocol

from receiver.dialects import Dialect, Sonoduct
from receiver.dialects.plain import Plain
from receiver.metrics import Metrics
from receiver.settings import PLAIN_MESSAGE, Settings
from receiver.streams.registry import Streams
from sonoduct.runtime.logs import LogLimit
from sonoduct.wire import SUBPROTOCOL

from .session import Session
from .websocket import GuardedConnection, WebSocketLink, peer_of

log = structlog.get_logger()

CLOSE_TIMEOUT_S = 5

EVERYWHERE = ("0.0.0.0", "::", "")  # noqa: S104  # compared, not bound

LOGGED_AT_ONCE = 20
LOGGED_PER_SECOND = 5
"""Lines about faults of peers: a flood of them must not fill the disk."""

LOOK_S = 0.5
"""Between looks at the clock: one timer for all connections costs less than two for each."""


class Server:
    """Accepts connections and gives each a session."""

    def __init__(self, settings: Settings, streams: Streams, metrics: Metrics) -> None:
        self.ready = True
        """What /readyz says while there is room; nothing new comes to one that is not ready."""
        self._settings = settings
        self._streams = streams
        self._metrics = metrics
        self._limit = LogLimit(LOGGED_AT_ONCE, LOGGED_PER_SECOND)
        self._sessions: dict[Session, asyncio.Task[None] | None] = {}

    @asynccontextmanager
    async def listen(self) -> AsyncIterator[int]:
        """
        Accept connections while the context is open; yield the port.

        Raises:
            OSError: if the port is taken.
        """
        server = await serve(
            self._serve,
            **_place(self._settings.host, self._settings.port),
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
        if ends := [each for each in self._sessions.values() if each is not None]:
            _, late = await asyncio.wait(ends, timeout=plain_timeout)
            log.info("drained", in_time=len(ends) - len(late), late=len(late))

    async def watch(self) -> None:
        """Have every session look at the clock now and then; run this as a task."""
        loop = asyncio.get_running_loop()
        while True:
            await asyncio.sleep(LOOK_S)
            for session in list(self._sessions):
                session.look(loop.time())

    async def _serve(self, connection: ServerConnection) -> None:
        dialect, deadlines = self._dialect(connection), self._settings.limits.deadlines
        link = WebSocketLink(cast("GuardedConnection", connection))
        if not dialect.credit:
            link.hold_little()
        session = Session(link, dialect, self._streams, self._metrics, deadlines, self._limit)
        self._sessions[session] = asyncio.current_task()
        try:
            await session.run()
        finally:
            del self._sessions[session]
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
            if (more := self._limit.take()) is not None:
                reason = f"{len(self._sessions)} connections, no one is left"
                log.warning("connection_refused", peer=peer_of(connection), reason=reason, **more)
            return connection.respond(HTTPStatus.SERVICE_UNAVAILABLE, "no connection is left\n")
        return None


def reachable(host: str) -> str:
    """Return the host for the address of a receiver on this machine that listens on *host*."""
    if host in EVERYWHERE:
        return "127.0.0.1"
    return f"[{host}]" if ":" in host else host


def _place(host: str, port: int) -> dict[str, Any]:
    """Return where to listen: ``::`` and an empty host stand for IPv4 and IPv6 together."""
    if host in ("", "::") and socket.has_dualstack_ipv6():
        listening = socket.create_server(("", port), family=socket.AF_INET6, dualstack_ipv6=True)
        return {"sock": listening}
    return {"host": host or None, "port": port}


def _select(_connection: ServerConnection, offered: Sequence[Subprotocol]) -> Subprotocol | None:
    """Choose ours; whoever offers none speaks the tutorial's dialect."""
    if SUBPROTOCOL in offered:
        return Subprotocol(SUBPROTOCOL)
    if offered:
        raise NegotiationError(f"subprotocols {offered}, expected {SUBPROTOCOL} or none")
    return None
