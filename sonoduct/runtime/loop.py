"""The event loop of every service process."""

from __future__ import annotations

import asyncio
import ctypes
import gc
import sys
from collections.abc import Coroutine
from typing import Any, Final, TypeVar

import uvloop

T = TypeVar("T")


def run_loop(main: Coroutine[Any, Any, T]) -> T:
    """Run *main* on uvloop; return its result."""
    reuse_freed_memory()
    collect_seldom()
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        return runner.run(main)


_TRIM_THRESHOLD: Final = -1  # M_TRIM_THRESHOLD, mallopt(3)
_MMAP_THRESHOLD: Final = -3  # M_MMAP_THRESHOLD

KEPT_BYTES: Final = 32 * 1024 * 1024
"""Freed memory that stays with the process. Blocks below a quarter of it are never mapped alone."""

COLLECT_AFTER: Final = (50_000, 1, 60)
"""
New objects before the collector looks for cycles among them, 700 by default in Python 3.11; how
often it does so before it looks at those that were left, and at all.

After 10 times, the default, 4000 new connections are left: it took 280 ms to look at them at once.
"""


def reuse_freed_memory() -> None:
    """
    Keep freed memory for the next message, with glibc; elsewhere nothing changes.

    By default glibc maps blocks from 128 KiB on anew and trims its heap often: a service that moves
    large messages then spends a third of its time in page faults.
    """
    if sys.platform == "linux":
        mallopt = getattr(ctypes.CDLL(None), "mallopt", None)
        if mallopt is not None:  # musl has none
            mallopt(_MMAP_THRESHOLD, KEPT_BYTES // 4)
            mallopt(_TRIM_THRESHOLD, KEPT_BYTES)


def collect_seldom() -> None:
    """
    Look for cycles less often, and never again among what has been imported.

    Nothing on the path of a chunk makes any, so reference counts free what it takes. By default the
    collector takes a quarter of a receiver's time with 2000 streams, and holds all of them up.
    """
    gc.freeze()
    gc.set_threshold(*COLLECT_AFTER)


INTERVAL_S: Final = 0.5


class LoopLag:
    """Run `watch` as a task; `seconds` is the latest measurement."""

    def __init__(self) -> None:
        self.seconds = 0.0

    async def watch(self) -> None:
        """Measure every half second how much later than asked the loop wakes up."""
        loop = asyncio.get_running_loop()
        while True:
            due = loop.time() + INTERVAL_S
            await asyncio.sleep(INTERVAL_S)
            self.seconds = max(0.0, loop.time() - due)
