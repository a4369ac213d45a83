"""The event loop of every service process, its memory and garbage collection, and its lag."""

from __future__ import annotations

import asyncio
import ctypes
import gc
import sys
from collections.abc import Coroutine
from typing import Any, Final, TypeVar

import uvloop

_TRIM_THRESHOLD: Final = -1  # M_TRIM_THRESHOLD, mallopt(3)
_MMAP_THRESHOLD: Final = -3  # M_MMAP_THRESHOLD

KEPT_BYTES: Final = 32 * 1024 * 1024
"""Bytes of freed memory that stay with the process. Only blocks above a quarter are mapped."""

COLLECT_AFTER: Final = (50_000, 1, 60)
"""
The collector's thresholds: new objects before it examines the youngest generation (by default 700
in Python 3.11), then collections before it examines the second and the oldest generation.

With the default, 10 for the oldest, examining 4000 new connections at once took 280 ms.
"""

INTERVAL_S: Final = 0.5

T = TypeVar("T")


def run_loop(main: Coroutine[Any, Any, T]) -> T:
    """Run *main* on uvloop; return its result."""
    reuse_freed_memory()
    collect_seldom()
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        return runner.run(main)


def reuse_freed_memory() -> None:
    """
    With glibc, keep freed memory for the next message; other C libraries are left alone.

    By default glibc maps blocks of 128 KiB and more each time, and trims its heap often: a service
    that moves large messages spends a third of its time in page faults.
    """
    if sys.platform == "linux":
        mallopt = getattr(ctypes.CDLL(None), "mallopt", None)
        if mallopt is not None:  # musl has none
            mallopt(_MMAP_THRESHOLD, KEPT_BYTES // 4)
            mallopt(_TRIM_THRESHOLD, KEPT_BYTES)


def collect_seldom() -> None:
    """
    Look for reference cycles less often, and never among the imported modules.

    Chunks make no cycles, so reference counts free them. With its defaults the collector takes a
    quarter of a receiver's time at 2000 streams, and delays all of them.
    """
    gc.freeze()
    gc.set_threshold(*COLLECT_AFTER)


class LoopLag:
    """Measures how late the loop is. Run `watch` as a task; `seconds` is the latest result."""

    def __init__(self) -> None:
        self.seconds = 0.0

    async def watch(self) -> None:
        """Measure every half second how much later than requested the loop wakes up."""
        loop = asyncio.get_running_loop()
        while True:
            due = loop.time() + INTERVAL_S
            await asyncio.sleep(INTERVAL_S)
            self.seconds = max(0.0, loop.time() - due)
