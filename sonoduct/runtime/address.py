"""Addresses as people and URLs write them: IPv6 in brackets (RFC 3986, section 3.2.2)."""

from __future__ import annotations

from ipaddress import ip_address


def url_host(host: str) -> str:
    """Return *host* as it stands in a URL."""
    return f"[{host}]" if ":" in host else host


def place(host: str, port: int | str) -> str:
    """Return *host* and *port* as they stand in a URL."""
    return f"{url_host(host)}:{port}"


def is_loopback(host: str) -> bool:
    """Whether only this machine reaches *host*: an address, or the name ``localhost``."""
    try:
        return ip_address(host.strip("[]")).is_loopback
    except ValueError:
        return host.lower() == "localhost"
