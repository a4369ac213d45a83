"""Addresses as people and URLs write them: IPv6 in brackets (RFC 3986, section 3.2.2)."""

from __future__ import annotations

import re
from collections.abc import Collection
from ipaddress import ip_address
from typing import Final

_HOST: Final = re.compile(r"(?:\[([0-9A-Fa-f:.]+)\]|([\w.-]+))(?::\d{1,5})?", re.ASCII)
"""RFC 9110, section 7.2."""


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


def is_known_host(host: str, names: Collection[str]) -> bool:
    """
    Whether the header *host* has an address, ``localhost``, or one of *names*.

    Another name could be one that a stranger has bound to this machine's address, so that pages of
    the stranger's reach this machine in their reader's browser.
    """
    found = _HOST.fullmatch(host)
    if found is None:
        return False
    name = (found[1] or found[2]).lower().rstrip(".")
    if name == "localhost" or name in {each.lower() for each in names}:
        return True
    try:
        ip_address(name)
    except ValueError:
        return False
    return True
