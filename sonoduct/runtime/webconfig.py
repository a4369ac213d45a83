"""
The web configuration file of Prometheus' exporters: TLS, users and a limit for ``/metrics``.

The format is the one of Prometheus' exporter-toolkit (docs/web-configuration.md there), with the
keys ``tls_server_config``, ``basic_auth_users`` and ``rate_limit``.
"""

from __future__ import annotations

import re
import ssl
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated, Any, Final

import msgspec

from .tls import TlsFiles, load, trust

MOST_BYTES: Final = 64 * 1024

_VERSIONS: Final = {"TLS12": ssl.TLSVersion.TLSv1_2, "TLS13": ssl.TLSVersion.TLSv1_3}
_CLIENTS: Final = {
    "NoClientCert": ssl.CERT_NONE,
    "VerifyClientCertIfGiven": ssl.CERT_OPTIONAL,
    "RequireAndVerifyClientCert": ssl.CERT_REQUIRED,
}
_UNITS: Final = {"ms": 0.001, "s": 1.0, "m": 60.0, "h": 3600.0}
_BCRYPT: Final = re.compile(r"\$2[aby]\$(0[4-9]|1[0-4])\$[./A-Za-z0-9]{53}")
"""Up to 14: each step doubles the time, and 2**14 takes a second."""


class _Tls(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    cert_file: str
    key_file: str
    client_auth_type: str = "NoClientCert"
    client_ca_file: str = ""
    min_version: str = "TLS12"
    max_version: str = "TLS13"


class _Rate(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    interval: str = "0s"
    burst: Annotated[int, msgspec.Meta(ge=1)] = 1


class _File(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    tls_server_config: _Tls | None = None
    basic_auth_users: dict[str, str] = {}
    rate_limit: _Rate | None = None


@dataclass(frozen=True)
class WebConfig:
    """What the file says."""

    tls: ssl.SSLContext | None = None
    users: Mapping[str, str] = field(default_factory=dict, repr=False)
    """By their names, the bcrypt hashes of their passwords."""
    files: tuple[Path, ...] = ()
    """The files that it names."""
    interval_s: float = 0.0
    """Seconds between two requests of all clients, beyond *burst* of them; 0 for no limit."""
    burst: int = 1


def read_web_config(path: str | Path) -> WebConfig:
    """
    Return what the file at *path* says; names of files in it are relative to its folder.

    Raises:
        ValueError: if it cannot be read, or is not valid.
    """
    path = Path(path)
    try:
        text = path.read_bytes()
    except OSError as exc:
        raise ValueError(f"web configuration {path}: {exc.strerror}") from exc
    if len(text) > MOST_BYTES:
        raise ValueError(f"web configuration {path}: more than {MOST_BYTES} bytes")
    try:
        file = msgspec.convert(_parsed(text), _File)
        tls = file.tls_server_config
        named = (tls.cert_file, tls.key_file, tls.client_ca_file) if tls is not None else ()
        files = tuple(path.parent / each for each in named if each)
        return WebConfig(_context(tls, path.parent), files=files, **_rest(file))
    except (msgspec.ValidationError, ValueError) as exc:
        raise ValueError(f"web configuration {path}: {exc}") from None


def _parsed(text: bytes) -> Any:
    import yaml  # needed only with such a file

    try:
        return yaml.safe_load(text) or {}
    except yaml.YAMLError as exc:
        mark = getattr(exc, "problem_mark", None)
        place = f", line {mark.line + 1}" if mark is not None else ""
        raise ValueError(f"no YAML{place}") from None


def _rest(file: _File) -> dict[str, Any]:
    for name, hashed in file.basic_auth_users.items():
        if not _BCRYPT.fullmatch(hashed):
            raise ValueError(f"the password of {name!r}, expected its bcrypt hash")
    rate = file.rate_limit
    return {
        "users": file.basic_auth_users,
        "interval_s": _seconds(rate.interval) if rate is not None else 0.0,
        "burst": rate.burst if rate is not None else 1,
    }


def _seconds(duration: str) -> float:
    found = re.fullmatch(r"(\d+(?:\.\d+)?)(ms|s|m|h)", duration)
    if found is None:
        raise ValueError(f"interval {duration!r}, expected such as 1s or 500ms")
    return float(found[1]) * _UNITS[found[2]]


def _context(tls: _Tls | None, folder: Path) -> ssl.SSLContext | None:
    if tls is None:
        return None
    for name, value, known in (
        ("client_auth_type", tls.client_auth_type, _CLIENTS),
        ("min_version", tls.min_version, _VERSIONS),
        ("max_version", tls.max_version, _VERSIONS),
    ):
        if value not in known:
            raise ValueError(f"{name} {value!r}, expected {' or '.join(known)}")
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.minimum_version = _VERSIONS[tls.min_version]
    context.maximum_version = _VERSIONS[tls.max_version]
    context.verify_mode = _CLIENTS[tls.client_auth_type]
    ca = str(folder / tls.client_ca_file) if tls.client_ca_file else None
    if context.verify_mode is not ssl.CERT_NONE and ca is None:
        raise ValueError(f"{tls.client_auth_type} without client_ca_file, expected one")
    load(context, TlsFiles(str(folder / tls.cert_file), str(folder / tls.key_file)))
    if ca is not None:
        trust(context, ca)
    return context
