"""
Whether an Ogg file holds one stream, and all of it.

libsndfile ends without a word where another stream begins; and no decoder says that the end is
missing.
"""

from __future__ import annotations

import os
from typing import Final

BLOCK_BYTES: Final = 1024 * 1024

MAGIC: Final = b"OggS"
_PAGE_BYTES: Final = 65_307
"""Of the longest page; its flags are in its sixth byte."""
_LAST: Final = 0x04

_FIRST_PAGE: Final = MAGIC + b"\0\x02"
"""A page of version 0 with the flag that it begins a stream: RFC 3533, section 6."""


def holds_one_stream(descriptor: int) -> bool:
    """Whether none but the first page begins a stream. Reads all of it, 1 GB in half a second."""
    at = 1
    while block := os.pread(descriptor, BLOCK_BYTES, at):
        if _FIRST_PAGE in block:
            return False
        # The next block begins with what could be the beginning of one.
        at += max(1, len(block) - len(_FIRST_PAGE) + 1)
    return True


def damage(descriptor: int) -> str:
    """Return what is missing at the end of an Ogg file; nothing if it is whole, or no Ogg."""
    if os.pread(descriptor, len(MAGIC), 0) != MAGIC:
        return ""
    size = os.fstat(descriptor).st_size
    tail = os.pread(descriptor, 2 * _PAGE_BYTES, max(0, size - 2 * _PAGE_BYTES))
    at = tail.rfind(MAGIC)  # nowhere, if something else is behind the audio
    whole = at < 0 or any(flags & _LAST for flags in tail[at + 5 : at + 6])
    return "" if whole else "cut off: no page says that it is the last one"
