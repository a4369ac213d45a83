"""
A small web server on a thread of its own, which cannot take more than its share of a service.

It has few connections, each for a few seconds. If one more comes, the one that has kept it waiting
for longest gives way. So clients that connect and say nothing keep no scrape out.
"""

from __future__ import annotations

import base64
import binascii
import hmac
import socket
import ssl
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from hashlib import sha256
from http import HTTPStatus
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path
from socketserver import ThreadingMixIn
from typing import Any, Final
from urllib.parse import urlsplit

import structlog
from typing_extensions import override

from .address import is_known_host
from .webconfig import WebConfig, read_web_config

log = structlog.get_logger()

CONNECTIONS: Final = 8
SECONDS: Final = 5.0
"""Of one connection."""

LOOK_S: Final = 0.25
"""Between looks for connections whose time is over."""

BACKLOG: Final = 64
"""Connections that the kernel holds until they are accepted."""

GUESSES: Final = 5
GUESS_S: Final = 1.0
"""Passwords of one address that are checked at once, and the seconds for each more."""

ADDRESSES: Final = 1000
"""Whose guesses are remembered."""

REMEMBERED: Final = 100
"""Passwords that were right: to check one takes some 50 ms, on purpose."""


@dataclass(frozen=True)
class Query:
    """A request for a page."""

    path: str
    """Without its query."""
    query: str
    headers: Mapping[str, str]
    address: str = ""
    """The client's."""


@dataclass(frozen=True)
class Page:
    """An answer."""

    body: bytes
    kind: str
    """The value of Content-Type."""
    status: int = HTTPStatus.OK
    headers: Mapping[str, str] | None = None


Answer = Callable[[Query], Page]


@contextmanager
def web_server(
    answer: Answer, host: str, port: int, *, config: str | None = None, hosts: tuple[str, ...] = ()
) -> Iterator[int]:
    """
    Serve pages while the context is open; yield the port. With port 0 any free one is taken.

    Args:
        answer: returns a page; any of a few threads calls it.
        host: the address to listen on.
        port: the port to listen on.
        config: a web configuration file, which is read again when it has changed.
        hosts: names that a request may have in its header `Host`; any, if there is a user's
            password to know.

    Raises:
        OSError: if the port is taken; the message names it.
        ValueError: if *config* is not valid.
    """
    gate = Gate(config, hosts)
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    kind = type("_Server", (_Server,), {"address_family": family})
    try:
        server = kind((host, port), answer, gate)
    except OSError as exc:
        raise OSError(exc.errno, f"metrics on {host}:{port}: {exc.strerror}") from exc
    thread = threading.Thread(target=server.serve_forever, args=(LOOK_S,), name="metrics")
    thread.start()
    try:
        yield server.server_address[1]
    finally:
        server.shutdown()
        server.server_close()
        thread.join()


class Gate:
    """Who may ask, and how often: a web configuration file, and the header `Host`."""

    def __init__(
        self,
        config: str | None,
        hosts: tuple[str, ...],
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        """
        Read *config*.

        Raises:
            ValueError: if it is not valid.
        """
        self._path = config
        self._hosts = hosts
        self._clock = clock
        self._lock = threading.Lock()
        self._config = read_web_config(config) if config else WebConfig()
        self._state = self._look() if config else ()
        self._right: dict[bytes, None] = {}
        self._checking = threading.Lock()
        self._guesses: dict[str, tuple[float, float]] = {}
        self._allowance, self._at = float(self._config.burst), clock()

    @property
    def tls(self) -> ssl.SSLContext | None:
        """The context for the next connection; None for no TLS. A changed file is read again."""
        with self._lock:
            if self._path is not None and self._look() != self._state:
                self._reload(self._path)
                self._state = self._look()
            return self._config.tls

    def refusal(self, query: Query) -> Page | None:
        """Return the answer to a request that is refused; None if it is not."""
        if not self._config.users and not is_known_host(
            query.headers.get("Host") or "localhost", self._hosts
        ):
            return _text(
                HTTPStatus.MISDIRECTED_REQUEST, "Host is a name that --hosts does not list"
            )
        if not self._has_turn():
            return _text(HTTPStatus.TOO_MANY_REQUESTS, "more requests than rate_limit allows")
        if self._config.users and not self._is_user(
            query.headers.get("Authorization") or "", query.address
        ):
            challenge = {"WWW-Authenticate": "Basic"}
            return _text(HTTPStatus.UNAUTHORIZED, "a user of basic_auth_users is needed", challenge)
        return None

    def _look(self) -> tuple[object, ...]:
        """Return what tells that the configuration, or a file that it names, has changed."""
        state: list[object] = []
        for path in (Path(str(self._path)), *self._config.files):
            with suppress(OSError):
                found = path.stat()
                state += (found.st_mtime_ns, found.st_size, found.st_ino)
        return tuple(state)

    def _reload(self, path: str) -> None:
        try:
            self._config = read_web_config(path)
        except ValueError as exc:
            log.error("reload_failed", reason=str(exc))
            return
        self._right.clear()
        log.info("metrics_reloaded")

    def _has_turn(self) -> bool:
        interval = self._config.interval_s
        if not interval:
            return True
        with self._lock:
            now = self._clock()
            self._allowance += (now - self._at) / interval
            self._allowance, self._at = min(self._allowance, self._config.burst), now
            if self._allowance < 1:
                return False
            self._allowance -= 1
            return True

    def _is_user(self, authorization: str, address: str) -> bool:
        import bcrypt  # needed only with such a file

        scheme, _, encoded = authorization.partition(" ")
        if scheme.lower() != "basic":
            return False
        try:
            user, _, password = base64.b64decode(encoded, validate=True).partition(b":")
        except binascii.Error:
            return False
        hashed = self._config.users.get(user.decode(errors="replace"))
        # An unknown user takes as long as a known one.
        against = (hashed or next(iter(self._config.users.values()))).encode()
        mark = sha256(against + b"\0" + user + b"\0" + password).digest()
        if mark in self._right:
            return True
        if not self._may_guess(address):
            return False
        with self._checking:  # one at a time: it computes for a while, on purpose
            right = bcrypt.hashpw(password[:72], against)
        good = hmac.compare_digest(right, against) and hashed is not None
        if good and len(self._right) < REMEMBERED:
            self._right[mark] = None
        return good

    def _may_guess(self, address: str) -> bool:
        """Whether a password from *address* is checked; one that was right needs no check."""
        with self._lock:
            now = self._clock()
            guesses, at = self._guesses.pop(address, (0.0, now))
            guesses = max(0.0, guesses - (now - at) / GUESS_S)
            if len(self._guesses) >= ADDRESSES:
                del self._guesses[next(iter(self._guesses))]
            self._guesses[address] = min(guesses + 1, GUESSES), now
            return guesses + 1 <= GUESSES


class _Server(ThreadingMixIn, HTTPServer):
    """Accepts connections, and closes those whose time is over or that are too many."""

    daemon_threads = True
    block_on_close = False
    allow_reuse_address = True
    request_queue_size = BACKLOG

    def __init__(self, address: tuple[str, int], answer: Answer, gate: Gate) -> None:
        self.answer = answer
        self.gate = gate
        self._lock = threading.Lock()
        self._waiting: dict[socket.socket, float] = {}  # no request has come; by age
        self._busy = 0
        super().__init__(address, _Handler)

    def server_bind(self) -> None:
        """Bind, and ask no name service for this machine's name."""
        self.socket.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        self.socket.bind(self.server_address)
        self.server_address = self.socket.getsockname()
        self.server_name, self.server_port = "", self.server_address[1]

    def process_request(self, request: Any, client_address: Any) -> None:
        """Start a thread for *request*, if there is a place, or one that gives way."""
        with self._lock:
            if len(self._waiting) + self._busy >= CONNECTIONS:
                if not self._waiting:
                    self.shutdown_request(request)
                    return
                self._end(next(iter(self._waiting)))
            self._waiting[request] = time.monotonic()
        request.settimeout(SECONDS)
        try:
            super().process_request(request, client_address)
        except RuntimeError:  # no thread can be started
            self.came(request)
            self.went()
            self.shutdown_request(request)

    def came(self, request: socket.socket) -> None:
        """Note that all of a request has come: its connection does not give way any more."""
        with self._lock:
            self._waiting.pop(request, None)
            self._busy += 1

    def went(self) -> None:
        """Note that an answer was sent."""
        with self._lock:
            self._busy -= 1

    def forget(self, request: socket.socket) -> None:
        """Note that a connection has ended without a request."""
        with self._lock:
            self._waiting.pop(request, None)

    def service_actions(self) -> None:
        """End connections that have had no request in their time."""
        with self._lock:
            limit = time.monotonic() - SECONDS
            for request in [each for each, since in self._waiting.items() if since < limit]:
                self._end(request)

    def handle_error(self, request: Any, client_address: Any) -> None:
        """Say nothing: a client has gone, or has broken the protocol."""

    def _end(self, request: socket.socket) -> None:
        del self._waiting[request]
        with suppress(OSError):  # it is gone already
            request.shutdown(socket.SHUT_RDWR)


class _Handler(BaseHTTPRequestHandler):
    """Answers one request."""

    server: _Server
    protocol_version = "HTTP/1.0"
    server_version, sys_version = "sonoduct", ""

    @override
    def handle(self) -> None:
        raw = self.connection
        try:
            if (context := self.server.gate.tls) is not None:
                self.connection = context.wrap_socket(raw, server_side=True)
                self.rfile = self.connection.makefile("rb", 65536)
                self.wfile = self.connection.makefile("wb", 0)
            self.handle_one_request()
        except (OSError, ValueError):  # the client is gone, or speaks no TLS
            pass
        finally:
            self.server.forget(raw)
            if self.connection is not raw:
                with suppress(OSError):
                    self.connection.close()

    def do_GET(self) -> None:  # the library's name
        """Send the page for the request."""
        self.server.came(self.request)
        try:
            parts = urlsplit(self.path)
            address = str(self.client_address[0])
            query = Query(parts.path, parts.query, self.headers, address)  # type: ignore[arg-type]  # a message is a mapping of its headers
            self._send(self.server.gate.refusal(query) or self.server.answer(query))
        finally:
            self.server.went()

    do_HEAD = do_GET  # noqa: N815  # the library's name

    @override
    def log_message(self, *_arguments: object) -> None:
        """Log nothing: scrapes come all the time."""

    def _send(self, page: Page) -> None:
        self.connection.settimeout(SECONDS)
        self.send_response(page.status)
        self.send_header("Content-Type", page.kind)
        self.send_header("Content-Length", str(len(page.body)))
        for name, value in (page.headers or {}).items():
            self.send_header(name, value)
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(page.body)


def _text(status: HTTPStatus, sentence: str, headers: Mapping[str, str] | None = None) -> Page:
    return Page(f"{sentence}\n".encode(), "text/plain; charset=utf-8", status, headers)
