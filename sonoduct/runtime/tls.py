"""TLS at a listening port: its files, and the context made of them, which can be renewed."""

from __future__ import annotations

import ssl
from typing import NamedTuple


class TlsFiles(NamedTuple):
    """Files of PEM for a server."""

    cert: str | None = None
    """The certificate, and those above it."""
    key: str | None = None
    client_ca: str | None = None
    """Authorities whose client certificates count."""


def server_context(files: TlsFiles) -> ssl.SSLContext | None:
    """
    Return a context for a server; None without a certificate.

    Raises:
        ValueError: if a file is missing, or cannot be used.
    """
    if files.cert is None and files.key is None and files.client_ca is None:
        return None
    if files.cert is None or files.key is None:
        missing = "key" if files.cert else "certificate"
        raise ValueError(f"TLS without a {missing}, expected a certificate and its key")
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    load(context, files)
    if files.client_ca is not None:
        context.verify_mode = ssl.CERT_OPTIONAL
        trust(context, files.client_ca)
    return context


def trust(context: ssl.SSLContext, client_ca: str) -> None:
    """
    Let *context* believe the authorities in a file.

    Raises:
        ValueError: if the file cannot be used.
    """
    try:
        context.load_verify_locations(client_ca)
    except OSError as exc:
        raise ValueError(f"authorities {client_ca}: {_reason(exc)}") from exc


def load(context: ssl.SSLContext, files: TlsFiles) -> None:
    """
    Give *context* the certificate and the key as they are now; open connections keep theirs.

    The authorities stay: a context that believes one cannot be told not to.

    Raises:
        ValueError: if a file cannot be used; the certificate from before stays.
    """
    assert files.cert is not None  # otherwise there is no context
    pair = f"certificate {files.cert} and key {files.key}"
    try:
        # In a context of their own first: OpenSSL would keep a certificate without its key.
        ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER).load_cert_chain(
            files.cert, files.key, password=_no_password
        )
        context.load_cert_chain(files.cert, files.key, password=_no_password)
    except OSError as exc:
        raise ValueError(f"{pair}: {_reason(exc)}") from exc
    except ValueError:
        raise ValueError(f"{pair}: the key has a password, expected none") from None


def _no_password() -> str:
    """OpenSSL would ask on the terminal."""
    raise ValueError("password")


def _reason(error: OSError) -> str:
    if isinstance(error, ssl.SSLError):
        return (error.reason or "no PEM").replace("_", " ").lower()
    return error.strerror or str(error)


def names_in(certificate: object) -> list[str]:
    """Return the names of a client certificate, as `ssl.SSLSocket.getpeercert` gives it."""
    if not isinstance(certificate, dict):
        return []
    common = [
        value
        for part in certificate.get("subject", ())
        for key, value in part
        if key == "commonName"
    ]
    return common + [
        value for kind, value in certificate.get("subjectAltName", ()) if kind == "DNS"
    ]
