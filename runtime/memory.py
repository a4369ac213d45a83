"""How the C library gives freed memory back."""

from __future__ import annotations

import ctypes
import sys
from typing import Final

_TRIM_THRESHOLD: Final = -1  # M_TRIM_THRESHOLD, mallopt(3)
_MMAP_THRESHOLD: Final = -3  # M_MMAP_THRESHOLD

KEPT_BYTES: Final = 32 * 1024 * 1024
"""Freed memory that stays with the process. Blocks below a quarter of it are never mapped alone."""


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
