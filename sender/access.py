"""`Access`: the token and the certificates with which the sender comes to a receiver."""

from __future__ import annotations

import re
import ssl
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from .errors import AccessError

MOST_TOKEN: Final = 4096
"""Bytes of a token's file."""

_TOKEN: Final = re.compile(r"[\x21-\x7e]+")
"""A header's value holds such characters (RFC 9110, section 5.5)."""


@dataclass(frozen=True, slots=True)
class Access:
    """
    Which files to read for each connection. They may be replaced while the sender runs.

    This holds the names of files only, so that no text of it can show a secret.
    """

    token_file: str | None = None
    ca_file: str | None = None
    client_cert: str | None = None
    client_key: str | None = None

    @property
    def for_tls(self) -> str:
        """The names of the options that only TLS can use, of those that are given."""
        given = {"--ca-file": self.ca_file, "--client-cert": self.client_cert}
        return " and ".join(name for name, file in given.items() if file is not None)

    def headers(self) -> dict[str, str]:
        """
        Return the headers that show the token; none without a token. This blocks.

        Raises:
            AccessError: if the file has no usable token; it names the file, and nothing in it.
        """
        if self.token_file is None:
            return {}
        return {"Authorization": f"Bearer {read_token(self.token_file)}"}

    def tls(self) -> ssl.SSLContext:
        """
        Return how to speak TLS, 1.2 or later, with a receiver whose certificate and name are right.

        This blocks. With *ca_file*, only the authorities in it are believed.

        Raises:
            AccessError: if a file cannot be read, or holds something else.
        """
        try:
            context = ssl.create_default_context(cafile=self.ca_file)
        except OSError as exc:  # an SSLError is one
            raise AccessError(f"CA file {self.ca_file}: {_reason(exc)}") from exc
        context.minimum_version = ssl.TLSVersion.TLSv1_2
        if self.client_cert is not None:
            names = f"client certificate {self.client_cert}, key {self.client_key or 'in it'}"
            try:
                # Without a password the library would ask for one on the terminal.
                context.load_cert_chain(self.client_cert, self.client_key, lambda: "")
            except OSError as exc:
                raise AccessError(f"{names}: {_reason(exc)}") from exc
        return context


STRANGER: Final = Access()
"""Neither a token nor certificates."""


def read_token(path: str) -> str:
    """
    Return the token in the file *path*: its only line. This blocks.

    Raises:
        AccessError: if there is none; it names the file, and nothing in it.
    """
    try:
        with Path(path).open("rb") as file:
            data = file.read(MOST_TOKEN + 1)
    except OSError as exc:
        raise AccessError(f"token file {path}: {exc.strerror}, expected a token in it") from exc
    if len(data) > MOST_TOKEN:
        raise AccessError(f"token file {path}: too long, expected at most {MOST_TOKEN} bytes")
    token = data.decode("latin-1").strip(" \t\r\n")
    if not _TOKEN.fullmatch(token):
        seen = "other characters" if token else "empty"
        raise AccessError(
            f"token file {path}: {seen}, expected one line of visible ASCII characters"
        )
    return token


def _reason(error: OSError) -> str:
    """Return why a file is no certificate or key; the library says it in codes."""
    if isinstance(error, ssl.SSLError):
        return f"not usable ({error.reason or 'no PEM'}), expected PEM"
    return error.strerror or str(error)
