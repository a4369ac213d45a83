"""`Part`, a range of bytes of a file; and the part between the tags in front and behind."""

from __future__ import annotations

import os
from dataclasses import dataclass, replace
from typing import Final

ID3V2_BYTES: Final = 10
"""Bytes of the header, and of the footer that some tags have."""
_ID3V2_FOOTER: Final = 0x10

ID3V1_BYTES: Final = 128
ENHANCED_BYTES: Final = 227
"""Bytes of the enhanced tag, which some files have in front of their ID3v1 tag."""

APE: Final = b"APETAGEX"
APE_BYTES: Final = 32
"""Bytes of an APEv2 tag's footer, and of its header, which its length does not count."""
_APE_HAS_HEADER: Final = 1 << 31

LYRICS: Final = b"LYRICSBEGIN"
LYRICS3V1: Final = b"LYRICSEND"
LYRICS3V2: Final = b"LYRICS200"
_DIGITS: Final = 6
LYRICS3V1_BYTES: Final = 5100 + len(LYRICS) + len(LYRICS3V1)
"""Bytes of the longest such tag; it does not have its length."""

MOST_ZEROS: Final = 1024 * 1024
"""The most zeros behind the audio that are skipped in the search for a tag."""

MOST_TAGS: Final = 16
"""The most tags at each end. Real files have at most two."""


@dataclass(frozen=True, kw_only=True)
class Part:
    """The bytes of an open file from *start* to *end*; offsets count from *start*."""

    descriptor: int
    start: int
    end: int

    @property
    def size(self) -> int:
        """The number of bytes."""
        return self.end - self.start

    def read(self, size: int, at: int) -> bytes:
        """Return *size* bytes from *at* on, fewer at the end; the file keeps its position."""
        at = min(max(0, at), self.size)  # false lengths lead to impossible offsets
        return os.pread(self.descriptor, max(0, min(size, self.size - at)), self.start + at)


def without_tags(descriptor: int, size: int) -> Part:
    """Return the part between the tags of a file of *size* bytes; if it is empty, all."""
    start, end = 0, size
    for _ in range(MOST_TAGS):
        if not (tag := tag_in_front(Part(descriptor=descriptor, start=start, end=end))):
            break
        start += tag
    for _ in range(MOST_TAGS):
        before = _before_tag(Part(descriptor=descriptor, start=start, end=end))
        if before == end:
            break
        end = before
    if start >= end:
        start, end = 0, size
    return Part(descriptor=descriptor, start=start, end=end)


def tag_in_front(part: Part) -> int:
    """Return the number of bytes of the tag at the beginning of *part*; 0 without a tag."""
    head = part.read(APE_BYTES, 0)
    if head.startswith(b"ID3"):
        return _id3v2_bytes(head)
    if head.startswith(APE) and len(head) == APE_BYTES:
        return APE_BYTES + int.from_bytes(head[12:16], "little")
    return 0


def _before_tag(part: Part) -> int:
    """
    Return where the tag at the end of *part* begins, also if zeros follow the tag.

    Zeros behind anything else may be audio: they stay.
    """
    zeros = 0
    if part.read(1, part.size - 1) == b"\0":
        tail = part.read(MOST_ZEROS, part.size - MOST_ZEROS)
        zeros = len(tail) - len(tail.rstrip(b"\0"))
    filled = part.end - zeros
    for end in range(filled, min(filled + ID3V1_BYTES, part.end) + 1):  # tags may end with zeros
        if size := _tag_behind(replace(part, end=end)):
            return end - size
    return part.end


def _tag_behind(part: Part) -> int:
    """Return the number of bytes of the tag at the very end of *part*; 0 without a tag."""
    tail = part.read(ENHANCED_BYTES + ID3V1_BYTES, part.size - ENHANCED_BYTES - ID3V1_BYTES)
    if (
        len(tail) >= ID3V1_BYTES
        and tail[-ID3V1_BYTES:].startswith(b"TAG")
        and not tail[-ID3V1_BYTES - APE.index(b"TAG") :].startswith(APE)
    ):
        return len(tail) if tail.startswith(b"TAG+") else ID3V1_BYTES
    if tail[-APE_BYTES:].startswith(APE):
        footer = tail[-APE_BYTES:]
        header = int.from_bytes(footer[20:24], "little") & _APE_HAS_HEADER
        size = int.from_bytes(footer[12:16], "little") + (APE_BYTES if header else 0)
        return size if not header or part.read(len(APE), part.size - size) == APE else 0
    if tail[-ID3V2_BYTES:].startswith(b"3DI"):
        size = _id3v2_bytes(tail[-ID3V2_BYTES:])
        return size if part.read(3, part.size - size) == b"ID3" else 0
    return _lyrics_bytes(part, tail)


def _id3v2_bytes(head: bytes) -> int:
    """Return the size of the tag with this header, whose length has 7 bits in each byte; or 0."""
    length = 0
    for byte in head[6:ID3V2_BYTES]:
        length = length << 7 | byte
        if byte > 0x7F:  # noqa: PLR2004  # no byte of a length has the eighth bit
            return 0
    footer = ID3V2_BYTES if head[5:6] and head[5] & _ID3V2_FOOTER else 0
    return ID3V2_BYTES + length + footer if len(head) >= ID3V2_BYTES else 0


def _lyrics_bytes(part: Part, tail: bytes) -> int:
    if tail.endswith(LYRICS3V2):
        digits = tail[: -len(LYRICS3V2)][-_DIGITS:]
        size = (int(digits) if digits.isdigit() else 0) + _DIGITS + len(LYRICS3V2)
        return size if part.read(len(LYRICS), part.size - size) == LYRICS else 0
    if tail.endswith(LYRICS3V1):
        end = part.read(LYRICS3V1_BYTES, part.size - LYRICS3V1_BYTES)
        at = end.rfind(LYRICS)
        return len(end) - at if at >= 0 else 0
    return 0
