"""
Whether a FLAC file has more frames than its header claims, and where its padding begins.

libsndfile stops silently at the claimed number. A recorder that was killed, or that wrote its
header first, claims too few. RFC 9639 has the layout.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from itertools import pairwise
from typing import Final

from .part import Part

MAGIC: Final = b"fLaC"
_STREAMINFO: Final = slice(8, 42)
"""The first block of metadata, behind the magic and a header of 4 bytes: section 8.2."""

TAIL_BYTES: Final = 128 * 1024
"""Bytes at the end that are searched; a frame of 8 channels with 24 bit has 100 KiB."""

_AROUND_BYTES: Final = 4 * TAIL_BYTES
"""Bytes that are searched for the last claimed frame and the next one."""

BLOCK_BYTES: Final = 1024 * 1024

_BEGIN: Final = re.compile(rb"fLaC[\x00\x80]\0\0\x22")
"""The magic, and the header of the first block of metadata, which is always the same."""
_BEGIN_BYTES: Final = 8

_HEADER: Final = re.compile(rb"\xff[\xf8\xf9]")
"""The sync code, and whether the header counts frames or samples: section 9.1."""
_MOST_HEADER: Final = 16

MOST_LAST: Final = 4
"""Candidates for the last frame: bytes within a frame may look like a header."""

_CRC8, _CRC16 = 0x07, 0x8005
"""The polynomials of a frame's header and of all of it: sections 9.1.8 and 9.3."""


def continues(part: Part) -> bool:
    """
    Whether there are frames that the header does not count.

    They are at the end of the file, or, with something else there, behind the counted ones.
    """
    head = part.read(_STREAMINFO.stop, 0)
    if not head.startswith(MAGIC) or len(head) < _STREAMINFO.stop:
        return False
    claimed = _claimed(head)
    if not claimed:  # unknown, so libsndfile reads to the end
        return False
    least, most = (int.from_bytes(head[_STREAMINFO][at : at + 2]) for at in (0, 2))
    tail = part.read(TAIL_BYTES, max(_STREAMINFO.stop, part.size - TAIL_BYTES))
    if _are_beyond(tail, claimed, least):
        return True
    if any(first < claimed <= first + most for _, first in _frames(tail, least)):
        return False  # the last claimed frame, and no other one
    begin = _last_claimed(part, claimed, least)
    return _are_beyond(part.read(_AROUND_BYTES, begin), claimed, least)


def _last_claimed(part: Part, claimed: int, blocksize: int) -> int:
    """Return the position of the last claimed frame, up to `TAIL_BYTES` too low; by bisection."""
    low, high = _STREAMINFO.stop, part.size
    while high - low > TAIL_BYTES:
        middle = (low + high) // 2
        frames = _frames(part.read(TAIL_BYTES, middle), blocksize)
        if any(first < claimed for _, first in frames):
            low = middle
        else:
            high = middle
    return low


def _are_beyond(data: bytes, claimed: int, blocksize: int) -> bool:
    """Whether *data* has a frame beyond *claimed* that is intact, or next to another one."""
    frames = [*_frames(data, blocksize), (len(data), 0)]
    firsts = {first for _, first in frames[:-1]}
    return any(
        first - blocksize in firsts or _crc(data[at:end], 16, _CRC16) == 0
        for (at, first), (end, _) in pairwise(frames)
        if first >= claimed
    )


def padded(part: Part) -> int | None:
    """
    Return the number of samples in the header, if only zeros follow the last frame; else None.

    The end of that frame is unknown, since its checksum may end with zeros as well. None also for
    joined files: the header counts the frames of the first one.
    """
    head = part.read(_STREAMINFO.stop, 0)
    if part.read(1, part.size - 1) != b"\0":
        return None
    end = _before_zeros(part)
    data = part.read(min(TAIL_BYTES, end), end - TAIL_BYTES)
    last = [at for at, _ in _frames(data + bytes(_MOST_HEADER), 1)][-MOST_LAST:]
    sound = any(_crc(data[at:], 16, _CRC16) == 0 for at in last)
    return _claimed(head) or None if sound and not _is_joined(part) else None


def _before_zeros(part: Part) -> int:
    """Return where the zeros at the end of *part* begin."""
    end = part.size
    while end:
        begin = max(0, end - BLOCK_BYTES)
        if rest := part.read(end - begin, begin).rstrip(b"\0"):
            return begin + len(rest)
        end = begin
    return 0


def _is_joined(part: Part) -> bool:
    """Whether another FLAC file begins somewhere in *part*."""
    at = len(MAGIC)
    while len(block := part.read(BLOCK_BYTES, at)) >= len(MAGIC):
        if _BEGIN.search(block):
            return True
        at += len(block) - _BEGIN_BYTES + 1 if len(block) == BLOCK_BYTES else len(block)
    return False


def _claimed(head: bytes) -> int:
    """Return the claimed number of samples; 0 if unknown."""
    return int.from_bytes(head[_STREAMINFO][13:18]) & (1 << 36) - 1


def _frames(data: bytes, blocksize: int) -> Iterator[tuple[int, int]]:
    """Yield where headers of frames seem to begin in *data*, and the first sample of each."""
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
    """Return a number coded as in UTF-8, and its number of bytes; (0, 0) if *data* has none."""
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
    """Return the bytes behind the number, for a block size and a samplerate without a code."""
    return {6: 1, 7: 2}.get(codes >> 4, 0) + {12: 1, 13: 2, 14: 2}.get(codes & 15, 0)


def _crc(data: bytes, width: int, polynomial: int) -> int:
    """Return the CRC of *width* bits; it is 0 if *data* ends with its own checksum."""
    remainder, top = 0, 1 << width - 1
    for each in data:
        remainder ^= each << width - 8
        for _ in range(8):
            remainder = (remainder << 1) ^ (polynomial if remainder & top else 0)
        remainder &= (1 << width) - 1
    return remainder
