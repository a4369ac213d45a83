"""What the start log says of the guards around decoders that this kernel does not have."""

from __future__ import annotations

import asyncio
from typing import Final

import structlog

from .child import missing_guards

_EXTRA: Final = "a namespace"
"""Without it the other guards still refuse everything; container engines allow none."""


async def log_missing_guards() -> None:
    """Say once, in one line, what this kernel cannot keep from a decoder; nothing if it can all."""
    log = structlog.get_logger()
    try:
        missing = await asyncio.to_thread(missing_guards)
    except OSError as exc:
        log.warning("decoders_not_confined", missing=[f"no process can be started: {exc.strerror}"])
        return
    if any(not each.startswith(_EXTRA) for each in missing):
        log.warning("decoders_not_confined", missing=missing)
    elif missing:
        log.info("decoders_not_confined", missing=missing)
