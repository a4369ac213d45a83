"""
Whether an Ogg file holds one stream, with as many samples as its pages count, and all of it.

libsndfile ends without a word where another stream begins, and at the position that the last page
has; and no decoder says that the end is missing.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Final, NamedTuple

from .packets import Counter, counter_of, headers_of
from .part import Part

BLOCK_BYTES: Final = 1024 * 1024

MAGIC: Final = b"OggS"
_PAGE_BYTES: Final = 65_307
"""Of the longest page."""

# A page's header: RFC 3533, section 6.
_HEAD_BYTES: Final = 27
_FLAGS_AT: Final = 5
_POSITION: Final = slice(6, 14)
_CONTINUED: Final = 0x01
_FIRST: Final = 0x02
_LAST: Final = 0x04
_NOWHERE: Final = -1
"""The position of a page in which no packet ends."""

_PACKET: Final = re.compile(rb"\xff*[^\xff]|\xff+$")
"""The lengths of the pieces of one packet; it ends in a later page, if all of them are 255."""
_PIECE: Final = 255

TELLING_BYTES: Final = 2
"""Of a packet, by which its samples are counted."""

MOST_HEADER_BYTES: Final = 256 * 1024
"""Of a header. One with a picture has more, and it is not looked at."""

TOLERANCE: Final = 2 * 8192
"""
Samples, of two of the longest packets: encoders leave so many out at the end.

Files that were copied from others count by milliseconds.
"""


class Page(NamedTuple):
    """What a page says, and what is in it."""

    flags: int
    position: int
    """How many samples there are up to its end."""
    lengths: bytes
    body: bytes


class Look(NamedTuple):
    """What the pages of a file are like."""

    straight: bool
    """Whether they are of one stream, and count as many samples as are in them."""
    damage: str = ""
    """What is wrong with how they count."""


def look(part: Part) -> Look:
    """Read all pages of *part*, 1 GB in some seconds."""
    packets = _Packets()
    before = least = None
    for number, page in enumerate(_pages(part)):
        if page.flags & _FIRST and number:
            return Look(straight=False)
        packets.take(page)
        if page.position == _NOWHERE or not packets.begun:
            continue
        if before is not None and page.position < before:
            return Look(False, f"a page counts {page.position} samples, one before it {before}")
        before = page.position
        lag = packets.samples - page.position
        least = min(lag, 0 if page.flags & _LAST else lag) if least is None else min(lag, least)
        if packets.counted and lag - least > TOLERANCE:
            seen, there = page.position + least, packets.samples
            return Look(False, f"the pages count {seen} samples up to where {there} are")
    return Look(straight=True)


class _Packets:
    """The packets of the pages that it has taken."""

    def __init__(self) -> None:
        self.samples = 0
        """In all of them, if they are *counted*."""
        self._headers: list[bytes] = []
        self._counter: Counter | None = None
        self._rest = b""

    @property
    def begun(self) -> bool:
        """Whether the headers are over."""
        return len(self._headers) >= headers_of(self._headers[0]) if self._headers else False

    @property
    def counted(self) -> bool:
        """Whether it is known how to count samples."""
        return self._counter is not None

    def take(self, page: Page) -> None:
        """Count what *page* has."""
        at, rest = 0, self._rest
        self._rest = b""
        for number, piece in enumerate(_PACKET.finditer(page.lengths)):
            lengths = piece[0]
            size = _PIECE * (len(lengths) - 1) + lengths[-1]
            packet = page.body[at : at + (min(size, TELLING_BYTES) if self.begun else size)]
            at += size
            if not number and page.flags & _CONTINUED:
                packet = rest + packet if len(rest) < MOST_HEADER_BYTES else rest
            if lengths[-1] == _PIECE:
                self._rest = packet
            else:
                self._take(packet)

    def _take(self, packet: bytes) -> None:
        if self._counter is not None:
            self.samples += self._counter.samples(packet)
        elif not self.begun:
            self._headers.append(packet)
            if self.begun:
                self._counter = counter_of(self._headers)


def _pages(part: Part) -> Iterator[Page]:
    """All pages, whatever is between them."""
    block, base, at = b"", 0, 0
    while True:
        if at + _PAGE_BYTES > base + len(block):
            block, base = part.read(BLOCK_BYTES, at), at
        begin = block.find(MAGIC, at - base)
        if begin < 0:  # the next block begins with what could be the beginning of one
            at = base + len(block) - len(MAGIC) + 1
            if base + len(block) >= part.size:
                return
            continue
        if begin > at - base:
            at = base + begin
            continue
        head = block[begin : begin + _HEAD_BYTES]
        if len(head) < _HEAD_BYTES:
            return
        lengths = block[begin + _HEAD_BYTES : begin + _HEAD_BYTES + head[-1]]
        body = begin + _HEAD_BYTES + len(lengths)
        end = body + sum(lengths)
        position = int.from_bytes(head[_POSITION], "little", signed=True)
        yield Page(head[_FLAGS_AT], position, lengths, block[body:end])
        at = base + end


def damage(part: Part) -> str:
    """Return what is missing at the end of an Ogg file; nothing if it is whole, or no Ogg."""
    if part.read(len(MAGIC), 0) != MAGIC:
        return ""
    tail = part.read(2 * _PAGE_BYTES, part.size - 2 * _PAGE_BYTES)
    at = tail.rfind(MAGIC)  # nowhere, if something else is behind the audio
    whole = at < 0 or any(flags & _LAST for flags in tail[at + 5 : at + 6])
    return "" if whole else "cut off: no page says that it is the last one"
