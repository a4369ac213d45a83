"""Listening, health probes, limits: a server accepts connections and gives each a session."""

from __future__ import annotations

import asyncio
import re
import resource
import socket
import time
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from functools import partial
from http import HTTPStatus
from ipaddress import ip_address
from typing import Any, cast

import structlog
from websockets.asyncio.server import ServerConnection, serve
from websockets.datastructures import Headers
from websockets.exceptions import InvalidHeaderFormat, NegotiationError
from websockets.headers import parse_subprotocol
from websockets.http11 import Request as Handshake
from websockets.http11 import Response
from websockets.typing import Subprotocol

from receiver.clients import Client, network_of
from receiver.dialects import DIALECTS, Dialect, Request, accepted
from receiver.metrics import Metrics
from receiver.settings import PLAIN_MESSAGE, Settings
from receiver.streams.registry import StreamRegistry
from sonoduct.runtime.address import place, url_host
from sonoduct.runtime.logs import LogLimit
from sonoduct.runtime.tls import load, names_in, server_context
from sonoduct.wire import HEADER_BYTES, REPLICA_HEADER

from .access import Access, Refused
from .frames import SCRATCH_BYTES
from .intake import HANDSHAKE_S, Account, Full, Intake, Meter
from .session import Connection, Session
from .websocket import GuardedConnection, WebSocketLink, address_of, peer_of

log = structlog.get_logger()

CLOSE_TIMEOUT_S = 5

EVERYWHERE = ("0.0.0.0", "::", "")  # noqa: S104  # compared, not bound

LOGGED_AT_ONCE = 20
LOGGED_PER_SECOND = 10
"""Lines about faults and refusals of peers, so that a flood of them does not fill the disk."""

FILES_EACH = 4
"""For a connection: its socket, one whose handshake is under way, and two segments of a journal."""

FILES_BESIDE = 256
"""For recordings, decoders, metrics and the store."""

SHOWN_CHARACTERS = 64
"""Of a path in the log."""

_SERVER = re.compile(r"name=[^/;]*/([A-Za-z0-9_.-]{1,64})")
"""The gateway's name for this server: haproxy's ``http-check send-state``."""

CHECK_S = 0.5
"""Between checks of deadlines: one timer for all connections costs less than two for each."""


class Server:
    """Accepts connections and gives each a session."""

    def __init__(self, settings: Settings, streams: StreamRegistry, metrics: Metrics) -> None:
        self.ready = True
        """Whether /readyz answers 200 while the store has room; if not, no connection comes."""
        self._settings = settings
        self._streams = streams
        self._metrics = metrics
        self._access = Access(settings.tokens, settings.origins, settings.hosts)
        self._tls = server_context(settings.tls)
        limits = settings.limits
        self._intake = Intake(limits.max_connections, limits.address_connections)
        self._limit = LogLimit(LOGGED_AT_ONCE, LOGGED_PER_SECOND)
        self._now = asyncio.get_running_loop().time
        self._sessions: dict[Session, asyncio.Task[None] | None] = {}
        self._scratch = memoryview(bytearray(SCRATCH_BYTES))
        self.gateway: tuple[str, float] | None = None
        """The gateway's name for this receiver, and the Unix time of its last health check."""
        self._most = HEADER_BYTES + settings.limits.max_chunk(settings.limits.window_bytes)

    @asynccontextmanager
    async def listen(self) -> AsyncIterator[int]:
        """
        Accept connections while the context is open; yield the port.

        Raises:
            OSError: if the port is taken.
        """
        _require_files(self._settings.limits.max_connections)
        server = await serve(
            self._serve,
            **_place(self._settings.host, self._settings.port),
            process_request=self._admit,
            process_response=self._sign,
            select_subprotocol=_select,
            compression=None,  # samples hardly deflate: 15 MB/s instead of over 1 GB/s
            create_connection=cast("type[ServerConnection]", partial(GuardedConnection, self)),
            ssl=self._tls,
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
            except TimeoutError:  # a session waits for a slow processor
                self._streams.give_up()
                await server.wait_closed()

    @property
    def connections(self) -> list[Connection]:
        """What every connection does now; any thread may ask."""
        return [session.now(self._now()) for session in list(self._sessions)]

    def load(self) -> tuple[dict[str, int], float]:
        """Return the connections of each dialect, and the age of the oldest unit without an ack."""
        counts, oldest, now = {each.name: 0 for each in DIALECTS}, 0.0, self._now()
        for session in list(self._sessions):
            counts[session.dialect.name] += 1
            if (age := session.age(now)) > oldest:
                oldest = age
        return counts, oldest

    def reload(self) -> None:
        """
        Read the tokens and the certificate again; connections stay.

        Raises:
            ValueError: if a file is not valid; what it said before holds on.
        """
        self._access.reload()
        if self._tls is not None:
            load(self._tls, self._settings.tls)

    async def drain(self, plain_timeout: float) -> None:
        """Drain every session; clients that cannot resume get *plain_timeout* seconds."""
        async with asyncio.TaskGroup() as tasks:
            for session in self._sessions:
                tasks.create_task(session.drain())
        if ends := [each for each in self._sessions.values() if each is not None]:
            _, late = await asyncio.wait(ends, timeout=plain_timeout)
            log.info("drained", in_time=len(ends) - len(late), late=len(late))

    async def watch(self) -> None:
        """Have every session check its deadlines; run this as a task."""
        last = self._now()
        while True:
            await asyncio.sleep(CHECK_S)
            now = self._now()
            self._intake.look(now, now - last)
            last = now
            for session in list(self._sessions):
                session.check(now)

    def let_in(self, connection: GuardedConnection) -> bool:
        """Give *connection* a place for its handshake, if its address may have one more."""
        if not self._settings.trust_forwarded:  # otherwise the gateway limits its clients
            address = network_of(address_of(connection))
            connection.meter = self._intake.meter(address, self._now())
        if not self._intake.let_in(connection.meter):
            connection.meter = None
            self._refuse(connection, "address", "too many connections without a handshake")
            return False
        connection.handshaking = True
        return True

    def let_out(self, connection: GuardedConnection) -> None:
        """Take back the place of *connection*, which is gone."""
        if connection.handshaking:
            connection.handshaking = False
            self._intake.let_on(connection.meter)
        if connection.inside and connection.meter is not None:
            self._intake.leave(connection.meter)

    async def _serve(self, connection: ServerConnection) -> None:
        guarded = cast("GuardedConnection", connection)
        dialect, link = guarded.dialect, WebSocketLink(guarded)
        assert dialect is not None  # _select has refused the others
        for handshake in (guarded.request, guarded.response):
            if handshake is not None:
                handshake.headers.clear()  # read by now: 4 KiB for each connection
        client = guarded.client
        assert client is not None  # _admit has refused the others
        if not dialect.credit:
            link.hold_little()
        session = Session(
            link,
            dialect,
            self._streams,
            self._metrics,
            self._settings.limits.deadlines,
            self._limit,
            self._settings.name,
            client,
            self._access.own,
        )
        self._sessions[session] = asyncio.current_task()
        try:
            await session.run()
        finally:
            del self._sessions[session]
            self._metrics.connections.labels(dialect.name, session.result).inc()
            log.debug("connection_ended", peer=link.peer, result=session.result)

    def _admit(self, connection: ServerConnection, handshake: Handshake) -> Response | None:
        """
        Answer a probe, or find the dialect of a connection, or refuse it.

        The event loop itself answers probes, so a blocked loop fails them.
        """
        path = handshake.path.partition("?")[0]
        if cast("GuardedConnection", connection).lost:  # its place would never be given back
            return connection.respond(HTTPStatus.BAD_REQUEST, "the connection is gone\n")
        if path in ("/healthz", "/readyz"):
            # 404: no new connection comes, and open ones stay (HAProxy's disable-on-404).
            good = path == "/healthz" or (self.ready and not self._streams.full)
            if path == "/readyz" and self._settings.trust_forwarded:
                self._note_check(handshake.headers)
            status = HTTPStatus.OK if good else HTTPStatus.NOT_FOUND
            return connection.respond(status, f"{status.phrase}\n")
        guarded = cast("GuardedConnection", connection)
        if self._settings.trust_forwarded:
            guarded.forwarded = client_of(_last(handshake.headers, "X-Forwarded-For"))
        request = self._request(handshake)
        dialect = accepted(request)
        try:
            self._require_path(path)
            self._access.require_host(request.headers.get("Host", ""))
            self._access.require_origin(handshake.headers.get_all("Origin"))
            self._require_rate(guarded)
            guarded.client = self._access.client(
                address_of(guarded),
                (dialect or DIALECTS[-1]).credential(request),
                names_in(guarded.transport.get_extra_info("peercert")),
            )
            if dialect is not None:
                self._give_place(guarded, guarded.client, dialect)
        except Refused as exc:
            self._refuse(connection, exc.reason, str(exc))
            response = connection.respond(exc.status, f"{exc}\n")
            if exc.status is HTTPStatus.UNAUTHORIZED:
                response.headers["WWW-Authenticate"] = "Bearer"
            return response
        if dialect is None:  # _select refuses the subprotocols
            self._refuse(connection, "subprotocol", "subprotocols that no dialect has")
        else:
            guarded.dialect = dialect
            guarded.read_frames(self._scratch, self._most)
        return None

    def _request(self, handshake: Handshake) -> Request:
        return Request(
            target=handshake.path,
            subprotocols=_offered(handshake.headers),
            headers=_joined(handshake.headers),
            default=self._settings.plain_format,
        )

    def _require_path(self, path: str) -> None:
        if path not in (paths := {each.path for each in DIALECTS}):
            sentence = f"path {path[:SHOWN_CHARACTERS]!r}, expected {' or '.join(sorted(paths))}"
            raise Refused(HTTPStatus.NOT_FOUND, "path", sentence)

    def _require_rate(self, connection: GuardedConnection) -> None:
        """
        Charge the handshake to its address.

        Raises:
            Refused: if frames came early, or if the address is over its share.
        """
        if connection.early:
            sentence = "frames before the answer to the handshake, expected them after it"
            raise Refused(HTTPStatus.BAD_REQUEST, "early", sentence)
        now, intake = self._now(), self._intake
        meter = intake.meter(network_of(address_of(connection)), now)
        meter.charge(HANDSHAKE_S, intake.share, now)
        if intake.crowded and meter.wait(intake.share, now):
            sentence = "too many handshakes of one address, expected fewer in a second"
            raise Refused(HTTPStatus.TOO_MANY_REQUESTS, "rate", sentence)

    def _give_place(self, connection: GuardedConnection, client: Client, dialect: Dialect) -> None:
        """
        Give the connection one of its client's places.

        Raises:
            Refused: if there is none.
        """
        now, intake = self._now(), self._intake
        meter = intake.meter(client.key, now)
        quota = client.token.connections if client.token is not None else None
        try:
            intake.require_place(meter, quota, token=client.token is not None)
        except Full as exc:
            if exc.reason == "address" or not self._make_room(meter, now):
                self._metrics.connections.labels(dialect.name, "refused").inc()
                raise Refused(HTTPStatus.SERVICE_UNAVAILABLE, exc.reason, str(exc)) from None
        else:
            if intake.is_short and not meter.places:
                self._make_room(meter, now)
        if connection.handshaking:
            connection.handshaking = False
            intake.let_on(connection.meter)
        intake.enter(meter)
        connection.meter, connection.inside = meter, True
        connection.account = Account(intake, meter, now)

    def _make_room(self, meter: Meter, now: float) -> bool:
        """
        Close the connection that can be spared best, of a client that has more than *meter*'s.

        Return False if there is none.
        """
        ranked = []
        for session in self._sessions:
            places = self._intake.meter(session.client.key, now).places
            if places > meter.places + 1 and (idleness := session.idleness(now)):
                ranked.append((idleness, places, session))
        if not ranked:
            return False
        max(ranked, key=lambda each: each[:2])[2].give_way()
        return True

    def _note_check(self, headers: Headers) -> None:
        if check := _SERVER.search(_last(headers, "X-Haproxy-Server-State")):
            self.gateway = check[1], time.time()

    def _refuse(self, connection: ServerConnection, reason: str, why: str) -> None:
        """Count and log a handshake that is refused."""
        self._metrics.refusals.labels(reason).inc()
        if (more := self._limit.take()) is not None:
            client = cast("GuardedConnection", connection).client
            token = client.token if client is not None else None
            named = {"token": token.name} if token is not None else {}
            peer = peer_of(connection)
            log.warning("connection_refused", peer=peer, **named, reason=why, **more)

    def _sign(
        self, _connection: ServerConnection, _handshake: Handshake, response: Response
    ) -> None:
        """Tell the client, and the gateway's log, which receiver answers."""
        response.headers[REPLICA_HEADER] = self._settings.name


def _require_files(connections: int) -> None:
    """Warn if the process may not open enough files for all connections and their journals."""
    limit, most = resource.getrlimit(resource.RLIMIT_NOFILE)
    expected = FILES_EACH * connections + FILES_BESIDE
    if limit < expected and limit < most:
        limit = min(expected, most)
        resource.setrlimit(resource.RLIMIT_NOFILE, (limit, most))
    if limit < expected:
        log.warning("few_files", limit=limit, expected=expected)


def _joined(headers: Headers) -> Headers:
    """Return *headers* with one value for each name (RFC 9110, section 5.3)."""
    return Headers({name: ", ".join(headers.get_all(name)) for name in headers})


def _last(headers: Headers, name: str) -> str:
    """Return the last value of a header, which the nearest proxy has added; empty without."""
    values = headers.get_all(name)
    return values[-1].rpartition(",")[2].strip() if values else ""


def client_of(forwarded: str) -> str:
    """Return the address and the port, if there is one, in *forwarded*; empty if it is neither."""
    host, _, port = forwarded.rpartition(":")
    for address, rest in ((forwarded, ""), (host.strip("[]"), port)):
        try:
            known = ip_address(address)
        except ValueError:
            continue
        if not rest:
            return str(known)
        if rest.isascii() and rest.isdigit():
            return place(str(known), rest)
    return ""


def reachable(host: str) -> str:
    """Return the host for the address of a receiver on this machine that listens on *host*."""
    if host in EVERYWHERE:
        return "127.0.0.1"
    return url_host(host)


def _place(host: str, port: int) -> dict[str, Any]:
    """Return where to listen: ``::`` and an empty host stand for IPv4 and IPv6 together."""
    if host in ("", "::") and socket.has_dualstack_ipv6():
        listening = socket.create_server(("", port), family=socket.AF_INET6, dualstack_ipv6=True)
        return {"sock": listening}
    return {"host": host or None, "port": port}


def _offered(headers: Headers) -> Sequence[str]:
    """Return the subprotocols that a client offers; none if its header cannot be read."""
    try:
        return [
            name
            for value in headers.get_all("Sec-WebSocket-Protocol")
            for name in parse_subprotocol(value)
        ]
    except InvalidHeaderFormat:  # the library answers it with 400
        return []


def _select(connection: ServerConnection, offered: Sequence[Subprotocol]) -> Subprotocol | None:
    """
    Choose the subprotocol of the dialect that accepted the handshake.

    Raises:
        NegotiationError: if no dialect did.
    """
    dialect = cast("GuardedConnection", connection).dialect
    if dialect is None:
        known = " or ".join(each.subprotocol for each in DIALECTS if each.subprotocol)
        raise NegotiationError(f"subprotocols {offered}, expected {known} or none")
    return Subprotocol(dialect.subprotocol) if dialect.subprotocol else None
