"""
Padding behind the last frame, in formats whose frames have their length.

ffmpeg takes zeros there for a damaged frame.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Final

from .mpeg import layer2_length
from .part import MOST_ZEROS, Part

HEAD_BYTES: Final = 8
BLOCK_BYTES: Final = 1024 * 1024

_AC3_KBITS: Final = (
    *(32, 40, 48, 56, 64, 80, 96, 112, 128, 160, 192, 224, 256, 320, 384, 448, 512, 576, 640),
)
_AC3_LAST: Final = 10
_EAC3_LAST: Final = 16
"""The highest versions of the two bitstreams: ETSI TS 102 366."""


def without_padding(part: Part) -> Part:
    """Return *part* up to the end of its last frame, if only zeros follow."""
    if part.read(1, part.size - 1) != b"\0":
        return part
    head = part.read(HEAD_BYTES, 0)
    for measure in (_wavpack, ac3_length, layer2_length):
        if measure(head):
            end = _end(part, measure)
            rest = part.read(MOST_ZEROS, end)
            return replace(part, end=part.start + end) if not any(rest) else part
    return part


def _end(part: Part, measure: Callable[[bytes], int]) -> int:
    """Return where the frames end; *measure* returns the length of a frame, 0 for none."""
    block, base, at = b"", 0, 0
    while True:
        if at + HEAD_BYTES > base + len(block):
            block, base = part.read(BLOCK_BYTES, at), at
        length = measure(block[at - base : at - base + HEAD_BYTES])
        if not length or at + length > part.size:
            return at
        at += length


def _wavpack(head: bytes) -> int:
    return 8 + int.from_bytes(head[4:8], "little") if head.startswith(b"wvpk") else 0


def ac3_length(head: bytes) -> int:
    """Return the length of the AC-3 or E-AC-3 frame that begins with *head*; 0 for none."""
    if not head.startswith(b"\x0b\x77") or len(head) < HEAD_BYTES:
        return 0
    version = head[5] >> 3
    if _AC3_LAST < version <= _EAC3_LAST:
        return 2 * (1 + ((head[2] & 7) << 8 | head[3]))
    rate, code = head[4] >> 6, head[4] & 63
    if version > _EAC3_LAST or rate > 2 or code // 2 >= len(_AC3_KBITS):  # noqa: PLR2004  # reserved
        return 0
    kbits = _AC3_KBITS[code // 2]
    return 2 * (2 * kbits, kbits * 96_000 // 44_100 + code % 2, 3 * kbits)[rate]
