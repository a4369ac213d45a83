"""How a connection that ends before its peer wishes is told, and how metrics call it."""

from __future__ import annotations

from typing import Final

from sonoduct.wire import Control, Drain, Draining, Error, WireError

RETRY_MS: Final = 500
"""What a draining receiver asks its senders to wait at most."""

_RESULTS: Final = {4409: "fenced", 1012: "drained", 1013: "refused", 4423: "refused"}


def result_of(error: WireError) -> str:
    """Return what metrics call a connection that ended with *error*."""
    return _RESULTS.get(error.close_code, "error")


def farewell(error: WireError) -> Control:
    """Return the message that comes before the close code."""
    if isinstance(error, Draining):
        return Drain(retry_ms=RETRY_MS)
    return Error(
        code=error.close_code, message=error.message, seen=error.seen, expected=error.expected
    )
