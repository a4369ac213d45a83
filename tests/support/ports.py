"""Ports that stay free while no program listens on them."""

import itertools
import os
import socket

FIRST, LAST = 12_000, 32_000
"""Below the ports that the kernel assigns to clients. If a sender connects to a port without a
listener, the kernel could otherwise assign that port to the sender, which then talks to itself."""

_CANDIDATES = itertools.cycle(range(FIRST, LAST))
_START = os.getpid() * 97 % (LAST - FIRST)


def steady_port():
    """Return a port on which no program listens, and which no other call returns."""
    for port in _CANDIDATES:
        with socket.socket() as probe:
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            try:
                probe.bind(("127.0.0.1", port))
            except OSError:
                continue
            return port
    raise AssertionError


for _ in range(_START):  # two runs at once do not try the same ports
    next(_CANDIDATES)
