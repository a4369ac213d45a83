"""The name of a service's process among its replicas, the same in metrics, logs and manifests."""

from __future__ import annotations

import re
import shutil
import socket
import subprocess
from typing import Final

BY_DNS: Final = "dns"
ASK_S: Final = 5.0
"""Time for DNS to answer, before the service listens."""

_NAME: Final = re.compile(r"[A-Za-z0-9][A-Za-z0-9_-]*")
_ALLOWED: Final = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.-]{0,63}")


def require_name(_type: object, value: str) -> None:
    """Refuse a *value* that cannot stand in a header, a label and a log."""
    if value and not _ALLOWED.fullmatch(value):
        raise ValueError(f"name {value!r}, expected letters, digits, dots, - and _, at most 64")


def replica_name(setting: str) -> str:
    """
    Return *setting*, or the host's name if it is empty.

    For `dns`, return the first label of the name that DNS has for this host's address. A container
    engine answers with the container's name, which stays the same when the container is replaced.
    If DNS has none, return the host's name.
    """
    if setting != BY_DNS:
        return setting or socket.gethostname()
    return _by_dns() or socket.gethostname()


def _by_dns() -> str:
    """Ask DNS only: the C library would find the host's own name in ``/etc/hosts`` first."""
    getent = shutil.which("getent")
    try:
        address = socket.gethostbyname(socket.gethostname())
        if getent is None:
            return ""
        answer = subprocess.run(  # noqa: S603  # its only input is an address
            [getent, "-s", "hosts:dns", "hosts", address],
            capture_output=True,
            text=True,
            timeout=ASK_S,
            check=False,
        )
    except (OSError, subprocess.TimeoutExpired):
        return ""
    names = answer.stdout.split()[1:]
    match = _NAME.match(names[0]) if names else None
    return match[0] if match else ""
