"""
Clients: the tokens of a receiver, and whom each connection belongs to.

A client is the holder of a token, or, without tokens, an address. Stream ids belong to a token: the
same id under two tokens is two streams.
"""

from __future__ import annotations

import hmac
import re
from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import datetime
from hashlib import blake2b, sha256
from ipaddress import IPv6Address, ip_address, ip_network
from pathlib import Path
from typing import Annotated, Final

import msgspec
from msgspec.structs import replace

from sonoduct.wire import Forbidden, Hello, Unauthorised

LEAST_CHARACTERS: Final = 16
"""Of a token: a shorter one can be guessed."""

MOST_BYTES: Final = 1024 * 1024
"""Of the file of tokens."""

NETWORK_BITS: Final = 64
"""Of an IPv6 address that name a network: a machine has all addresses of its network."""

_NAME: Final = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,63}")
_SECRET: Final = re.compile(r"[A-Za-z0-9._~+/=-]+")  # RFC 6750, section 2.1: b64token

Quota = Annotated[int, msgspec.Meta(gt=0)]


class _Entry(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """One table of the file."""

    token: str = ""
    certificate: str = ""
    streams: str = ""
    expires: datetime | None = None
    connections: Quota | None = None
    stored_bytes: Quota | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Token:
    """What the holder of a token may do. The token itself is in no representation."""

    name: str
    """For people, and for the ids of its streams: a token that is replaced keeps its name."""
    streams: str = ""
    """Prefix of the names of streams that it may send."""
    expires: datetime | None = None
    """When it ends; by the clock of the machine, because it is a date."""
    connections: int | None = None
    """Connections at once."""
    stored_bytes: int | None = None
    """Bytes that its streams may take on the disk."""
    certificate: str = ""
    """Name in a client certificate that stands for the token."""
    digest: bytes = field(default=b"", repr=False)
    """SHA-256 of the token; empty if only a certificate stands for it."""

    def scope(self, stream: str) -> str:
        """Return the id under which *stream*, an id of this token's holder, is stored."""
        owned = f"{self.name}\0{stream}".encode()
        return blake2b(owned, digest_size=16, person=b"sonoduct").hexdigest()


class Tokens:
    """The tokens of a receiver, by their names."""

    def __init__(self, tokens: Sequence[Token]) -> None:
        self._tokens = {each.name: each for each in tokens}

    def named(self, name: str) -> Token | None:
        """Return the token of that *name*."""
        return self._tokens.get(name)

    def find(self, secret: str) -> Token | None:
        """Return the token that *secret* is; the time does not depend on what is right in it."""
        digest, found = sha256(secret.encode()).digest(), None
        for token in self._tokens.values():
            if hmac.compare_digest(digest, token.digest):
                found = token
        return found

    def of_certificate(self, names: Sequence[str]) -> Token | None:
        """Return the token for which a certificate with *names* stands."""
        for token in self._tokens.values():
            if token.certificate and token.certificate in names:
                return token
        return None


@dataclass(frozen=True, slots=True)
class Client:
    """Whom a connection belongs to."""

    address: str
    """The IP address; empty if it is not known."""
    token: Token | None = None
    by_certificate: bool = False
    """Whether a certificate has stood for the token."""

    @property
    def key(self) -> str:
        """Name of the client for fair shares: its token's, or its address's or network's."""
        return f"token {self.token.name}" if self.token is not None else network_of(self.address)

    def require_current(self, tokens: Tokens | None, now: datetime) -> Token | None:
        """
        Return the client's token, as it is now in the file of tokens.

        Raises:
            Unauthorised: if the token was removed, or has expired at *now*.
        """
        if tokens is None:
            return None
        token = tokens.named(self.token.name) if self.token is not None else None
        if token is not None and self.token is not None:
            shown = "certificate" if self.by_certificate else "digest"
            if getattr(token, shown) != getattr(self.token, shown):
                token = None  # it was replaced by another one of this name
        if token is None:
            raise Unauthorised("token", seen="none", expected="one that the receiver knows")
        if token.expires is not None and now >= token.expires:
            raise Unauthorised("the token has expired")
        return token

    def own(
        self, hello: Hello, tokens: Tokens | None, now: datetime, *, named: bool
    ) -> tuple[Client, Hello]:
        """
        Return the client with its token as it is now, and *hello* with the id that is stored.

        If the client has not *named* its stream itself, the name gets the token's prefix.

        Raises:
            Unauthorised: if the client's token is not valid any more.
            Forbidden: if the token does not cover the stream's name.
        """
        token = self.require_current(tokens, now)
        if token is None:
            return self, hello
        name = hello.name if named else token.streams + hello.name
        if not name.startswith(token.streams):
            expected = f"a name that begins with {token.streams!r}"
            raise Forbidden("stream name", seen=repr(name[:64]), expected=expected)
        owned = replace(hello, stream=token.scope(hello.stream), name=name)
        return Client(self.address, token, self.by_certificate), owned


def network_of(address: str) -> str:
    """Return *address*; of IPv6 its network, since a machine has all addresses of that."""
    try:
        known = ip_address(address)
    except ValueError:
        return address
    if isinstance(known, IPv6Address):
        if known.ipv4_mapped is not None:
            return str(known.ipv4_mapped)
        return str(ip_network((known, NETWORK_BITS), strict=False))
    return str(known)


def read_tokens(path: str | Path) -> Tokens:
    """
    Return the tokens in a file of TOML: a table for each, whose heading is the token's name.

    Raises:
        ValueError: if the file cannot be read, or a token is not valid; no token is in the message.
    """
    try:
        with Path(path).open("rb") as file:
            data = file.read(MOST_BYTES + 1)
    except OSError as exc:
        raise ValueError(f"tokens {path}: {exc.strerror}") from exc
    if len(data) > MOST_BYTES:
        raise ValueError(f"tokens {path}: more than {MOST_BYTES} bytes")
    try:
        entries = msgspec.toml.decode(data, type=dict[str, _Entry])
    except msgspec.ValidationError as exc:
        raise ValueError(f"tokens {path}: {exc}") from None
    except (msgspec.DecodeError, UnicodeDecodeError):  # they quote the file
        raise ValueError(f"tokens {path}: no TOML, expected tables of tokens") from None
    tokens = [_token(path, name, entry) for name, entry in entries.items()]
    if not tokens:
        raise ValueError(f"tokens {path}: no token, expected a table for each")
    for what in ("digest", "certificate"):
        values = [value for each in tokens if (value := getattr(each, what))]
        if len(set(values)) < len(values):
            word = "token" if what == "digest" else what
            raise ValueError(f"tokens {path}: the same {word} twice, expected one for each name")
    return Tokens(tokens)


def _token(path: str | Path, name: str, entry: _Entry) -> Token:
    if not _NAME.fullmatch(name):
        expected = "1 to 64 letters, digits, points, hyphens and underscores"
        raise ValueError(f"tokens {path}: name {name[:64]!r}, expected {expected}")
    if not entry.token and not entry.certificate:
        raise ValueError(f"tokens {path}: {name} has no token, expected one, or a certificate")
    if entry.token and not (
        _SECRET.fullmatch(entry.token) and len(entry.token) >= LEAST_CHARACTERS
    ):
        expected = f"at least {LEAST_CHARACTERS} letters, digits and ._~+/=-"
        raise ValueError(f"tokens {path}: the token of {name}, expected {expected}")
    if entry.expires is not None and entry.expires.tzinfo is None:
        raise ValueError(f"tokens {path}: {name} expires without a time zone, expected one, or Z")
    return Token(
        name=name,
        streams=entry.streams,
        expires=entry.expires,
        connections=entry.connections,
        stored_bytes=entry.stored_bytes,
        certificate=entry.certificate,
        digest=sha256(entry.token.encode()).digest() if entry.token else b"",
    )
