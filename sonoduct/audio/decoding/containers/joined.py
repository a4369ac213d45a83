"""
Joined files: whether another file begins where an MP4, an ASF or a TTA ends by its own lengths.

ffmpeg decodes only the first file, and does not report the others.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from typing import Final

from .part import ID3V1_BYTES, Part, tag_in_front

MOST_BOXES: Final = 1000
"""The most boxes that are searched for the next file; an unfragmented file has about ten."""

# ISO/IEC 14496-12, section 4.2.
_FTYP: Final = b"ftyp"
_MOOF: Final = b"moof"
_WIDE: Final = 1
"""This size means that the size follows in 8 bytes."""

# Advanced Systems Format Specification, section 2.1.
_ASF: Final = bytes.fromhex("3026b2758e66cf11a6d900aa0062ce6c")

_TTA: Final = b"TTA1"
_TTA_BYTES: Final = 22
"""Bytes of the header; a table with the size of each frame follows, and a checksum."""
MOST_TABLE_BYTES: Final = 4 * 1024 * 1024
"""The longest table that is read."""


def damage(part: Part) -> str:
    """Return a description of the bytes that ffmpeg leaves out; "" if there are none."""
    head = part.read(len(_ASF), 0)
    at = 0
    if head[4:8] == _FTYP:
        at = _second_mp4(part)
    elif head == _ASF:
        at = next((at for at, kind in _objects(part) if at and kind == _ASF), 0)
    elif head.startswith(_TTA):
        at = _behind_tags(part, _end_of_tta(part))
        at = at if part.read(len(_TTA), at) == _TTA else 0
    return f"{part.size - at} bytes were left out: another file begins at {at}" if at else ""


def _second_mp4(part: Part) -> int:
    """Return where a second file begins; 0 without one, or if the file is fragmented."""
    begin = 0
    for at, kind in _boxes(part):
        if kind == _MOOF:
            return 0
        if kind == _FTYP and at:
            begin = begin or at
    return begin


def _boxes(part: Part) -> Iterator[tuple[int, bytes]]:
    """Yield where each box begins, and its kind."""
    at = 0
    for _ in range(MOST_BOXES):
        head = part.read(16, at)
        size = int.from_bytes(head[:4])
        size = int.from_bytes(head[8:]) if size == _WIDE else size
        if len(head) < 8 or size < 8:  # noqa: PLR2004  # the size and the kind
            return
        yield at, head[4:8]
        at += size


def _objects(part: Part) -> Iterator[tuple[int, bytes]]:
    """Yield where each object begins, and its kind."""
    at = 0
    for _ in range(MOST_BOXES):
        head = part.read(24, at)
        size = int.from_bytes(head[16:], "little")
        if size < 24:  # noqa: PLR2004  # the kind and the size
            return
        yield at, head[:16]
        at += size


def _end_of_tta(part: Part) -> int:
    """Return where the TTA ends; 0 if unknown."""
    head = part.read(_TTA_BYTES, 0)
    length = int.from_bytes(head[10:14], "little") * 256 // 245
    table_bytes = 4 * -(-int.from_bytes(head[14:18], "little") // length) if length else 0
    if not 0 < table_bytes <= MOST_TABLE_BYTES:
        return 0
    table = part.read(table_bytes, _TTA_BYTES)
    frames = sum(int.from_bytes(table[at : at + 4], "little") for at in range(0, len(table), 4))
    return _TTA_BYTES + table_bytes + 4 + frames


def _behind_tags(part: Part, at: int) -> int:
    """Return the end of the tags that begin at *at*: APEv2, which ffmpeg writes, and ID3v1."""
    at += tag_in_front(replace(part, start=min(part.start + at, part.end)))
    return at + ID3V1_BYTES if part.read(3, at) == b"TAG" else at
