"""
Servers of other kinds that streams can be sent to: one file for each, one line in `PROTOCOLS`.

Our own receivers are not among them: `sender.client` speaks to them, and only they resume streams,
take files unchanged, and give a receipt of their own. `PROTOCOLS` is in sender/settings.py.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from importlib import import_module

from sender.metrics import Metrics
from sender.settings import PROTOCOLS, Settings
from sender.sources import Source
from sonoduct.wire import Receipt

SendStream = Callable[[Source, Settings, Metrics], Awaitable[Receipt]]
"""Sends all of a source of samples, and counts it; returns a receipt that the sender made."""


def dialect_of(protocol: str) -> SendStream | None:
    """Return the function that speaks *protocol*; None for our own receivers' protocol."""
    if not (place := PROTOCOLS[protocol]):
        return None
    module, _, name = place.partition(":")
    send: SendStream = getattr(import_module(module), name)
    return send
