"""
Access: which handshakes a receiver refuses before it answers them, and which client has sent them.

A page of any origin can open a WebSocket to an address that its user's browser reaches, and a host
name can be bound to that address anew. So `Origin` must be listed, and `Host` must be an address,
`localhost` or configured.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from datetime import UTC, datetime
from http import HTTPStatus
from typing import Final

from receiver.clients import Client, Tokens, read_tokens
from sonoduct.runtime.address import is_known_host
from sonoduct.wire import Hello, Unauthorised

SHOWN_CHARACTERS: Final = 64
"""Of a header in the log."""


class Refused(Exception):
    """A handshake is refused: with a status, a reason for metrics, and a sentence."""

    def __init__(self, status: HTTPStatus, reason: str, sentence: str) -> None:
        super().__init__(sentence)
        self.status = status
        self.reason = reason


def _today() -> datetime:
    return datetime.now(UTC)


@dataclass
class Access:
    """Decides who may connect; `reload` replaces the tokens while connections are open."""

    tokens_file: str | None = None
    origins: tuple[str, ...] = ()
    hosts: tuple[str, ...] = ()
    today: Callable[[], datetime] = _today

    def __post_init__(self) -> None:
        self.tokens: Tokens | None = None
        self._origins = frozenset(map(str.lower, self.origins))
        self.reload()

    def reload(self) -> None:
        """
        Read the file of tokens again; connections stay, and their next streams need a valid token.

        Raises:
            ValueError: if the file is not valid; the tokens from before stay.
        """
        if self.tokens_file is not None:
            self.tokens = read_tokens(self.tokens_file)

    def require_host(self, host: str) -> None:
        """
        Check the header `Host`.

        Raises:
            Refused: if it is a name that is not configured.
        """
        if is_known_host(host, self.hosts):
            return
        expected = "an address, localhost, or a name that --hosts lists"
        sentence = f"Host {host[:SHOWN_CHARACTERS]!r}, expected {expected}"
        raise Refused(HTTPStatus.MISDIRECTED_REQUEST, "host", sentence)

    def require_origin(self, origins: Iterable[str]) -> None:
        """
        Check the header `Origin`, which browsers send.

        Raises:
            Refused: if it is not listed.
        """
        for origin in origins:
            if origin.lower() not in self._origins:
                shown = repr(origin[:SHOWN_CHARACTERS])
                sentence = f"Origin {shown}, expected none, or one that --origins lists"
                raise Refused(HTTPStatus.FORBIDDEN, "origin", sentence)

    def client(self, address: str, credential: str, certificate: Iterable[str] = ()) -> Client:
        """
        Return the client at *address*, whose token *credential* or a *certificate*'s name shows.

        Raises:
            Refused: if there are tokens, and it has none that is valid.
        """
        if self.tokens is None:
            return Client(address)
        token = self.tokens.find(credential) if credential else None
        by_certificate = token is None
        token = token or self.tokens.of_certificate(list(certificate))
        client = Client(address, token, by_certificate)
        try:
            client.require_current(self.tokens, self.today())
        except Unauthorised as exc:
            sentence = str(exc) if token else _missing(credential)
            raise Refused(HTTPStatus.UNAUTHORIZED, "token", sentence) from None
        return client

    def own(self, client: Client, hello: Hello, *, named: bool) -> tuple[Client, Hello]:
        """Return *client* as it is now, and *hello* as its own; see `Client.own`."""
        return client.own(hello, self.tokens, self.today(), named=named)


def _missing(credential: str) -> str:
    if credential:
        return "the token is not known, expected one that the receiver has"
    return "no token, expected the header Authorization: Bearer TOKEN"
