"""The part of a file that is audio: what is between the tags in front of it and behind it."""

from __future__ import annotations

import os
from dataclasses import dataclass, replace
from typing import Final

ID3V2_BYTES: Final = 10
"""Of its header, and of the footer that some have."""
_ID3V2_FOOTER: Final = 0x10

ID3V1_BYTES: Final = 128
ENHANCED_BYTES: Final = 227
"""Of what some have in front of their ID3v1 tag."""

APE: Final = b"APETAGEX"
APE_BYTES: Final = 32
"""Of an APEv2 tag's footer, and of its header, which its length does not count."""
_APE_HAS_HEADER: Final = 1 << 31

LYRICS: Final = b"LYRICSBEGIN"
LYRICS3V1: Final = b"LYRICSEND"
LYRICS3V2: Final = b"LYRICS200"
_DIGITS: Final = 6
LYRICS3V1_BYTES: Final = 5100 + len(LYRICS) + len(LYRICS3V1)
"""Of the longest, which does not say how long it is."""

MOST_ZEROS: Final = 1024 * 1024
"""Behind the audio, that are looked through for what is in front of them."""

MOST_TAGS: Final = 16
"""At either end. More than two have not been seen."""


@dataclass(frozen=True, kw_only=True)
class Part:
    """Some bytes of a file that is open, from *start* to *end*; offsets count from *start*."""

    descriptor: int
    start: int
    end: int

    @property
    def size(self) -> int:
        """How many bytes they are."""
        return self.end - self.start

    def read(self, size: int, at: int) -> bytes:
        """Return *size* bytes from *at* on, fewer at the end; the file's position stays."""
        at = min(max(0, at), self.size)  # lengths that lie lead beyond what the system can say
        return os.pread(self.descriptor, max(0, min(size, self.size - at)), self.start + at)


def without_tags(descriptor: int, size: int) -> Part:
    """Return what is between the tags of a file of *size* bytes; all of it, if that is nothing."""
    start, end = 0, size
    for _ in range(MOST_TAGS):
        start += tag_in_front(Part(descriptor=descriptor, start=start, end=end))
    for _ in range(MOST_TAGS):
        end = _before_tag(Part(descriptor=descriptor, start=start, end=end))
    if start >= end:
        start, end = 0, size
    return Part(descriptor=descriptor, start=start, end=end)


def tag_in_front(part: Part) -> int:
    """Return how many bytes a tag has that *part* begins with; 0 if it begins with none."""
    head = part.read(APE_BYTES, 0)
    if head.startswith(b"ID3"):
        return _id3v2_bytes(head)
    if head.startswith(APE) and len(head) == APE_BYTES:
        return APE_BYTES + int.from_bytes(head[12:16], "little")
    return 0


def _before_tag(part: Part) -> int:
    """
    Where a tag begins that *part* ends with, and zeros that fill something up behind it.

    Zeros behind anything else may be audio.
    """
    zeros = 0
    if part.read(1, part.size - 1) == b"\0":
        tail = part.read(MOST_ZEROS, part.size - MOST_ZEROS)
        zeros = len(tail) - len(tail.rstrip(b"\0"))
    filled = part.end - zeros
    for end in range(filled, min(filled + ID3V1_BYTES, part.end) + 1):  # tags end with zeros
        if size := _tag_behind(replace(part, end=end)):
            return end - size
    return part.end


def _tag_behind(part: Part) -> int:
    """How many bytes a tag has that *part* ends with; 0 if it ends with none."""
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
    """Of the tag that has this header, whose length has 7 bits in each byte; 0 if it is none."""
    length = 0
    for byte in head[6:ID3V2_BYTES]:
        length = length << 7 | byte
        if byte > 0x7F:  # noqa: PLR2004  # the bit that no byte of it has
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
