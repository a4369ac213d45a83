"""
Whether an Ogg file has one complete stream, with as many samples as its pages count.

libsndfile stops silently where another stream begins, and at the position in the last page. No
decoder reports a missing end.

`look` compares the positions in the pages with the samples in the packets, which `Vorbis` and
`Opus` count. `damage` looks at the end of the file.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Final, NamedTuple

from .part import Part

_VORBIS: Final = b"\1vorbis"
_VORBIS_SETUP: Final = b"\5vorbis"
_OPUS: Final = b"OpusHead"

_SIZES_AT: Final = 28
"""The offset of both block sizes in Vorbis' first header."""

# A mode of Vorbis, at the end of its setup header: section 4.2.4 of its specification.
_MODE_BITS: Final = 41
_MAPPING_BITS: Final = 8
_COUNT_BITS: Final = 6
_MOST: Final = 64
"""The most modes, and the most mappings."""

BLOCK_BYTES: Final = 1024 * 1024

MAGIC: Final = b"OggS"
_PAGE_BYTES: Final = 65_307
"""Bytes of the longest page."""

# A page's header: RFC 3533, section 6.
_HEAD_BYTES: Final = 27
_FLAGS_AT: Final = 5
_POSITION: Final = slice(6, 14)
_CONTINUED: Final = 0x01
_FIRST: Final = 0x02
_LAST: Final = 0x04
_NOWHERE: Final = -1
"""The position in a page in which no packet ends."""

_PACKET: Final = re.compile(rb"\xff*[^\xff]|\xff+$")
"""The lengths of the pieces of one packet. If all are 255, it ends in a later page."""
_PIECE: Final = 255

TELLING_BYTES: Final = 2
"""Bytes of a packet from which its samples are counted."""

MOST_HEADER_BYTES: Final = 256 * 1024
"""Bytes of a header that are read. A header with a picture has more."""

TOLERANCE: Final = 2 * 8192
"""
The samples of two of the longest packets: encoders may cut that many at the end.

Files that were copied from another container count in milliseconds.
"""


class Inspection(NamedTuple):
    """The result of reading all pages of a file."""

    straight: bool
    """Whether the pages belong to one stream, and count as many samples as they have."""
    damage: str = ""
    """The error in their counts."""


def inspect(part: Part) -> Inspection:
    """Read all pages of *part*; takes some seconds for 1 GB."""
    packets = _Packets()
    before = least = None
    for number, page in enumerate(_pages(part)):
        if page.flags & _FIRST and number:
            return Inspection(straight=False)
        packets.take(page)
        if page.position == _NOWHERE or not packets.begun:
            continue
        if before is not None and page.position < before:
            return Inspection(
                False, f"a page counts {page.position} samples, one before it {before}"
            )
        before = page.position
        lag = packets.samples - page.position
        least = min(lag, 0 if page.flags & _LAST else lag) if least is None else min(lag, least)
        if packets.counted and lag - least > TOLERANCE:
            seen, there = page.position + least, packets.samples
            return Inspection(False, f"the pages count {seen} samples up to where {there} are")
    return Inspection(straight=True)


def damage(part: Part) -> str:
    """Return the damage at the end of an Ogg file; "" if it is complete, or not an Ogg."""
    if part.read(len(MAGIC), 0) != MAGIC:
        return ""
    tail = part.read(2 * _PAGE_BYTES, part.size - 2 * _PAGE_BYTES)
    at = tail.rfind(MAGIC)  # not found, if something else is behind the audio
    whole = at < 0 or any(flags & _LAST for flags in tail[at + 5 : at + 6])
    return "" if whole else "cut off: no page says that it is the last one"


class Page(NamedTuple):
    """A page: its header, and its content."""

    flags: int
    position: int
    """The number of samples up to its end."""
    lengths: bytes
    body: bytes


class _Packets:
    """The packets of the pages so far."""

    def __init__(self) -> None:
        self.samples = 0
        """Samples in all packets, if they are `counted`."""
        self._headers: list[bytes] = []
        self._counter: Opus | Vorbis | None = None
        self._rest = b""

    @property
    def begun(self) -> bool:
        """Whether the headers are complete."""
        return len(self._headers) >= headers_of(self._headers[0]) if self._headers else False

    @property
    def counted(self) -> bool:
        """Whether the codec is known, so that samples are counted."""
        return self._counter is not None

    def take(self, page: Page) -> None:
        """Add the packets of *page*."""
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
    """Yield all pages; bytes between them are skipped."""
    block, base, at = b"", 0, 0
    while True:
        if at + _PAGE_BYTES > base + len(block):
            block, base = part.read(BLOCK_BYTES, at), at
        begin = block.find(MAGIC, at - base)
        if begin < 0:  # a page may begin in the last bytes of this block
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


class Opus:
    """Counts at 48 kHz, at which Opus always decodes: RFC 6716, section 3.1."""

    def samples(self, packet: bytes) -> int:
        """Return the samples that *packet* adds; its first two bytes are enough."""
        if not packet:
            return 0
        config, code = packet[0] >> 3, packet[0] & 3
        if config < 12:  # noqa: PLR2004  # SILK: 10, 20, 40 and 60 ms
            frame = (480, 960, 1920, 2880)[config & 3]
        elif config < 16:  # noqa: PLR2004  # both: 10 and 20 ms
            frame = (480, 960)[config & 1]
        else:  # CELT: 2.5, 5, 10 and 20 ms
            frame = 120 << (config & 3)
        return frame * (1, 2, 2, packet[1] & 63 if len(packet) > 1 else 0)[code]


class Vorbis:
    """Counts with the overlap: half of each packet is in the one before (section 1.3.2)."""

    def __init__(self, sizes: tuple[int, int], long: list[bool]) -> None:
        """Use the *sizes* of short and of long blocks; *long* tells for each mode which it has."""
        self._sizes = [sizes[each] for each in long]
        self._mask = (1 << (len(long) - 1).bit_length()) - 1
        self._before = 0

    def samples(self, packet: bytes) -> int:
        """Return the samples that *packet* adds; its first two bytes are enough."""
        if not packet or packet[0] & 1:
            return 0
        mode = packet[0] >> 1 & self._mask
        size = self._sizes[mode] if mode < len(self._sizes) else 0
        before, self._before = self._before, size
        return (before + size) // 4 if before else 0


def headers_of(first: bytes) -> int:
    """Return the number of headers of a stream whose first packet is *first*."""
    return 3 if first.startswith(_VORBIS) else 2


def counter_of(headers: list[bytes]) -> Opus | Vorbis | None:
    """Return a counter for the packets behind *headers*; None for an unknown codec."""
    first, last = headers[0], headers[-1]
    if first.startswith(_OPUS):
        return Opus()
    if first.startswith(_VORBIS) and last.startswith(_VORBIS_SETUP) and len(first) > _SIZES_AT:
        sizes = first[_SIZES_AT]
        long = _long_modes(last)
        return Vorbis((1 << (sizes & 15), 1 << (sizes >> 4)), long) if long else None
    return None


def _long_modes(setup: bytes) -> list[bool]:
    """Return for each mode whether its blocks are long. The modes are at the end of the header."""
    bits = bin(int.from_bytes(setup, "little"))[3:]  # without the 1 that marks the end
    modes: list[bool] = []
    found = at = 0
    while len(modes) < _MOST and len(bits) >= at + _MODE_BITS + _COUNT_BITS:
        mode = bits[at : at + _MODE_BITS]
        if int(mode[:_MAPPING_BITS], 2) >= _MOST or "1" in mode[_MAPPING_BITS:-1]:
            break
        modes.append(mode[-1] == "1")
        at += _MODE_BITS
        if int(bits[at : at + _COUNT_BITS], 2) + 1 == len(modes):
            found = len(modes)
    return modes[:found][::-1]
