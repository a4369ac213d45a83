"""Reading ahead: the next block is decoded in a thread while the last one is being sent."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Callable

from .sources.whole import Sendable


async def read_ahead(
    source: Sendable, offset: int, units: int, observe: Callable[[float], None]
) -> AsyncGenerator[bytes, None]:
    """
    Yield blocks of up to *units* units from unit *offset* to the end.

    One block is read ahead, so memory is bounded by two. *observe* gets the seconds of each read.

    Raises:
        SourceError: if the source cannot go on.
    """
    loop = asyncio.get_running_loop()

    def timed() -> bytes:
        started = loop.time()
        block = source.read(offset, units)
        observe(loop.time() - started)
        return block

    width = 1 if source.format is None else source.format.frame_bytes
    pending = loop.run_in_executor(None, timed)
    try:
        while block := await pending:
            offset += len(block) // width
            pending = loop.run_in_executor(None, timed)
            yield block
    finally:
        if not pending.cancel() and not pending.cancelled():
            pending.exception()  # nobody asks any more; asyncio would complain
