"""
Whether a FLAC file has frames beyond those that its header claims.

libsndfile ends where the header says, without a word; a recorder that was killed, or that wrote
its header first, claims too few. The layout is RFC 9639's.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from itertools import pairwise
from typing import Final

from .part import MOST_ZEROS, Part

MAGIC: Final = b"fLaC"
_STREAMINFO: Final = slice(8, 42)
"""Which comes first, behind the magic and 4 bytes that say so: section 8.2."""

TAIL_BYTES: Final = 128 * 1024
"""What is looked through at the end; a frame of 8 channels with 24 bit has 100 KiB."""

_HEADER: Final = re.compile(rb"\xff[\xf8\xf9]")
"""The sync code, and whether frames or samples are counted: section 9.1."""
_MOST_HEADER: Final = 16

MOST_LAST: Final = 4
"""What is tried as the last frame: something within that may look like one."""

_CRC8, _CRC16 = 0x07, 0x8005
"""The polynomials of a frame's header and of all of it: sections 9.1.8 and 9.3."""


def goes_on(part: Part) -> bool:
    """Whether a sound frame at the end has samples that the header does not count."""
    head = part.read(_STREAMINFO.stop, 0)
    info = head[_STREAMINFO]
    if not head.startswith(MAGIC) or len(head) < _STREAMINFO.stop:
        return False
    claimed = _claimed(head)
    if not claimed:  # unknown: then libsndfile reads to the end
        return False
    tail = part.read(TAIL_BYTES, max(_STREAMINFO.stop, part.size - TAIL_BYTES))
    frames = [*_frames(tail, int.from_bytes(info[:2])), (len(tail), 0)]
    beyond = [tail[at:end] for (at, first), (end, _) in pairwise(frames) if first >= claimed]
    return any(_crc(each, 16, _CRC16) == 0 for each in beyond)


def padded(part: Part) -> int | None:
    """
    Return how many samples the header counts, if nothing but zeros is behind the last frame.

    Where that ends is not known: its checksum may end with zeros as well.
    """
    head = part.read(_STREAMINFO.stop, 0)
    if part.read(1, part.size - 1) != b"\0":
        return None
    data = part.read(MOST_ZEROS, part.size - MOST_ZEROS).rstrip(b"\0")[-TAIL_BYTES:]
    last = [at for at, _ in _frames(data + bytes(_MOST_HEADER), 1)][-MOST_LAST:]
    sound = any(_crc(data[at:], 16, _CRC16) == 0 for at in last)
    return _claimed(head) or None if sound else None


def _claimed(head: bytes) -> int:
    """How many samples there are; 0 for unknown."""
    return int.from_bytes(head[_STREAMINFO][13:18]) & (1 << 36) - 1


def _frames(data: bytes, blocksize: int) -> Iterator[tuple[int, int]]:
    """Where headers of frames may begin in *data*, and the first sample that each has."""
    for match in _HEADER.finditer(data):
        at = match.start()
        header = data[at : at + _MOST_HEADER]
        if len(header) < _MOST_HEADER or header[3] & 1:
            continue
        number, length = _coded_number(header[4:])
        end = 4 + length + _extra(header[2])
        if length and _crc(header[: end + 1], 8, _CRC8) == 0:
            yield at, number if header[1] & 1 else number * blocksize


def _coded_number(data: bytes) -> tuple[int, int]:
    """A number as UTF-8 would have it, and how many bytes it takes; 0 if it is none."""
    first = data[0]
    if first < 0x80:  # noqa: PLR2004  # one byte, as in ASCII
        return first, 1
    length = 8 - (first ^ 0xFF).bit_length()
    if not 2 <= length <= 7 or any(each >> 6 != 0b10 for each in data[1:length]):  # noqa: PLR2004
        return 0, 0
    number = first & (0x7F >> length)
    for each in data[1:length]:
        number = number << 6 | each & 0x3F
    return number, length


def _extra(codes: int) -> int:
    """Bytes behind the number, for a block size and a samplerate that have no code."""
    return {6: 1, 7: 2}.get(codes >> 4, 0) + {12: 1, 13: 2, 14: 2}.get(codes & 15, 0)


def _crc(data: bytes, width: int, polynomial: int) -> int:
    """0 of whatever has its checksum, of *width* bits, at its end."""
    remainder, top = 0, 1 << width - 1
    for each in data:
        remainder ^= each << width - 8
        for _ in range(8):
            remainder = (remainder << 1) ^ (polynomial if remainder & top else 0)
        remainder &= (1 << width) - 1
    return remainder
