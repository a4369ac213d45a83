"""When memory is given back: by the C library, and by Python's collector of cycles."""

from __future__ import annotations

import ctypes
import gc
import sys
from typing import Final

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
