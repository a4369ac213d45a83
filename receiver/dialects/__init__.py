"""The dialects of a receiver; docs/how-to/add-a-dialect.md adds one."""

from __future__ import annotations

from typing import Final

from .dialect import Dialect, Request
from .feed import Feed
from .plain import Plain
from .sonoduct import Sonoduct

__all__ = ["DIALECTS", "Dialect", "Feed", "Request", "accepted"]

DIALECTS: Final[tuple[type[Dialect], ...]] = (Sonoduct, Plain)
"""Asked in this order; Plain is last, because it accepts every client without a subprotocol."""


def accepted(request: Request) -> Dialect | None:
    """Return the first dialect that accepts *request*; None if no dialect does."""
    for dialect in DIALECTS:
        if (made := dialect.accepts(request)) is not None:
            return made
    return None
