"""
Headers with a wrong length of the samples: the samples in the file count, not the claim.

A recorder that is killed, or that writes into a pipe, leaves 0 or the largest number. libsndfile
believes some of these lengths, refuses others, and ignores bytes behind the samples. It therefore
sees a header with the right length.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Final, Literal, NamedTuple

from sonoduct.audio.decoding.errors import NO_FRAME, NotAudio
from sonoduct.audio.decoding.sndfile import stands_for_unknown

from .part import Part

_VOC: Final = b"Creative Voice File\x1a"
_VOC_BYTES: Final = 22
"""Bytes of the header, which ends with the offset of the first block."""
_VOC_HEADS: Final = {b"\x01": 2, b"\x09": 12}
"""Bytes in front of the samples of a block, by the kind of the block."""

MOST_CHUNKS: Final = 1000
"""The most chunks that are searched for the samples, which are among the first."""

BLOCK_BYTES: Final = 1024 * 1024

Order = Literal["little", "big"]

MOST_SPARE: Final = 8
"""Bytes behind the samples that mean nothing: a chunk's header alone takes as many."""

_NAME: Final = re.compile(rb"[A-Za-z0-9_. ()\xa9-]{4}")
"""The name of a chunk. Four bytes of samples look like one by chance in one of 250 cases."""
_OFTEN_CUT: Final = (b"LIST", b"id3 ", b"ID3 ", b"bext", b"JUNK", b"junk", b"free")
"""Chunks that are known to stand behind samples, even with a wrong length."""
_AUDIO: Final = frozenset(
    {b"RIFF", b"RIFX", b"RF64", b"BW64", b"FORM", b"data", b"SSND", b".snd", b"dns.", b"caff"}
)
"""Chunks with samples, and beginnings of another file; no decoder reads their content."""

Patches = tuple[tuple[int, bytes], ...]
"""Offsets, and the bytes that replace those in the file."""


class Layout(NamedTuple):
    """How a container writes its chunks."""

    order: Order
    length_bytes: int
    align: int


class Field(NamedTuple):
    """The field of a header with the number of bytes of the samples."""

    at: int
    length_bytes: int
    layout: Layout
    begin: int
    """Where the samples begin."""
    claimed: int
    """Bytes of samples; 0 or less for unknown."""
    counted: int = 0
    """Bytes in front of the samples that the field includes."""
    renamed: Patches = ()
    """Patches that libsndfile needs in any case."""


class Mended(NamedTuple):
    """How to show a file to libsndfile, so that its header is right."""

    size: int
    """Bytes of the file to show."""
    patches: Patches = ()
    """Bytes that replace others."""
    damage: str = ""
    """The bytes that are missing, or left out."""
    beyond: int = 0
    """Zeros to show behind the file."""


_RIFF: Final = Layout("little", 4, 2)
_RIFX: Final = Layout("big", 4, 2)
_CAFF: Final = Layout("big", 8, 1)
_AU: Final = Layout("big", 4, 1)
_IN_DS64: Final = 0xFFFFFFFF
_AU_LITTLE: Final = Layout("little", 4, 1)


def mend(part: Part, whole: int) -> Mended:
    """
    Return how to show *part* to libsndfile: unchanged, if its header is right or of another kind.

    *whole* is its size if the bytes that look like tags behind it are samples.

    Raises:
        NotAudio: if there are no samples.
    """
    field = _find(part)
    if field is None:
        return Mended(part.size, beyond=_lacks_terminator(part))
    there, claimed = part.size - field.begin, field.claimed
    if 0 < claimed <= whole - field.begin:
        left_over = _left_over(part, field)
        size = _first_bytes(part, field, whole) if left_over else whole
        return Mended(size, field.renamed, left_over)
    if there <= 0 or (claimed <= 0 and _are_chunks(part, field.begin, field.layout, audio=True)):
        raise NotAudio(NO_FRAME)
    length = min(there + field.counted, (1 << 8 * field.length_bytes) - 1)
    written = length.to_bytes(field.length_bytes, field.layout.order)
    unknown = claimed <= 0 or stands_for_unknown(claimed)
    damage = "" if unknown else f"cut off: {there} bytes, the file claims {claimed}"
    return Mended(part.size, ((field.at, written), *field.renamed), damage)


def _lacks_terminator(part: Part) -> int:
    """Return the bytes that a VOC lacks behind an unfinished block: 1, the terminator, or 0."""
    head = part.read(_VOC_BYTES, 0)
    if not head.startswith(_VOC):
        return 0
    block = part.read(4, int.from_bytes(head[-2:], "little"))
    kind, length = block[:1], int.from_bytes(block[1:], "little")
    return int(kind in _VOC_HEADS and length <= _VOC_HEADS[kind])


def _find(part: Part) -> Field | None:
    head = part.read(12, 0)
    magic, form = head[:4], head[8:]
    if form == b"WAVE" and magic in (b"RIFF", b"RIFX"):
        return _of_riff(part, _RIFX if magic == b"RIFX" else _RIFF)
    if form == b"WAVE" and magic in (b"RF64", b"BW64"):
        return _of_rf64(part, ((0, b"RF64"),) if magic == b"BW64" else ())
    if form in (b"AIFF", b"AIFC") and magic == b"FORM":
        return _of_aiff(part)
    if magic in (b".snd", b"dns."):
        layout = _AU if magic == b".snd" else _AU_LITTLE
        begin, claimed = (int.from_bytes(head[at : at + 4], layout.order) for at in (4, 8))
        return Field(8, 4, layout, begin, claimed)
    return _of_caf(part) if magic == b"caff" else None


def _chunks(part: Part, at: int, layout: Layout) -> Iterator[tuple[bytes, int, int]]:
    """Yield the name, the offset of the content, and the length of each chunk from *at* on."""
    head_bytes = 4 + layout.length_bytes
    for _ in range(MOST_CHUNKS):
        head = part.read(head_bytes, at)
        if len(head) < head_bytes:
            return
        length = int.from_bytes(head[4:], layout.order, signed=layout is _CAFF)
        at += head_bytes
        yield head[:4], at, length
        at += length + length % layout.align
        if length < 0:
            return


def _of_riff(part: Part, layout: Layout) -> Field | None:
    for name, at, length in _chunks(part, 12, layout):
        if name == b"data":
            return Field(at - 4, 4, layout, at, length)
    return None


def _of_rf64(part: Part, renamed: Patches) -> Field | None:
    """Read RF64 (EBU Tech 3306) or BW64 (ITU-R BS.2088); libsndfile knows only the first name."""
    sizes = 0
    for name, at, length in _chunks(part, 12, _RIFF):
        if name == b"ds64":
            sizes = at
        elif name == b"data" and sizes and length == _IN_DS64:
            claimed = int.from_bytes(part.read(8, sizes + 8), "little", signed=True)
            return Field(sizes + 8, 8, _RIFF, at, claimed, renamed=renamed)
        elif name == b"data":
            return Field(at - 4, 4, _RIFF, at, length, renamed=renamed)
    return None


def _of_aiff(part: Part) -> Field | None:
    for name, at, length in _chunks(part, 12, _RIFX):
        if name == b"SSND":
            counted = 8 + int.from_bytes(part.read(4, at))
            return Field(at - 4, 4, _RIFX, at + counted, length - counted, counted)
    return None


def _of_caf(part: Part) -> Field | None:
    for name, at, length in _chunks(part, 8, _CAFF):
        if name == b"data":  # a count of edits is in front of the samples
            return Field(at - 8, 8, _CAFF, at + 4, length - 4, 4)
    return None


def _left_over(part: Part, field: Field) -> str:
    """Return the bytes that are left out behind the samples, in words; "" if that is harmless."""
    at = field.begin + field.claimed
    if _is_spare(part, at):
        return ""
    if any(_are_chunks(part, begin, field.layout, audio=False) for begin in _ends(field)):
        return ""
    return f"{part.size - at} bytes behind the {field.claimed} that the file claims were left out"


def _ends(field: Field) -> tuple[int, int]:
    """Return where chunks behind the samples may begin; not all writers pad odd lengths."""
    at = field.begin + field.claimed
    return at + field.claimed % field.layout.align, at


def _first_bytes(part: Part, field: Field, whole: int) -> int:
    """Return where more samples or another file begin, which decoders treat differently."""
    for end in _ends(field):
        for name, begin, _ in _chunks(part, end, field.layout):
            if name in _AUDIO:
                return begin - len(name) - field.layout.length_bytes
            if not _NAME.fullmatch(name):
                break
    return whole


def _are_chunks(part: Part, at: int, layout: Layout, *, audio: bool) -> bool:
    """Whether only chunks follow; with *audio*, also chunks with samples."""
    end = at
    for name, begin, length in _chunks(part, at, layout):
        if name in _AUDIO and not audio:
            return False
        if not _NAME.fullmatch(name):
            break
        end = begin + length + length % layout.align
        if end >= part.size:
            return name in _OFTEN_CUT or begin + length <= part.size
    return end > at and _is_spare(part, end)


def _is_spare(part: Part, at: int) -> bool:
    """Whether only a few bytes, or zeros, follow."""
    if part.size - at <= MOST_SPARE:
        return True
    while block := part.read(BLOCK_BYTES, at):
        if block.count(0) != len(block):
            return False
        at += len(block)
    return True
