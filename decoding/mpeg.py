"""
Whether an MP3 is to its end what it is at its beginning.

libsndfile ends without a word where the samplerate or the channels change, and where the first
frame says that the file ends; files that were joined, or damaged, are like that.
"""

from __future__ import annotations

import os
from typing import Final, NamedTuple

BLOCK_BYTES: Final = 1024 * 1024
TAGS: Final = (b"TAG", b"APETAGEX", b"LYRICSBEGIN")
"""What may follow the audio."""

# Of a frame's 32 bits: ISO/IEC 11172-3, 2.4.1.3.
_CONSTANT: Final = 0xFFFE0C00
"""The sync, the version, the layer and the samplerate."""
_SYNC_AND_LAYER: Final = 0xFFE60000
_LAYER_3: Final = 0xFFE20000
_V1, _V2, _V25 = 3, 2, 0
_MONO: Final = 3
_RATES: Final = (44100, 48000, 32000)
_KBITS_V2: Final = (0, 8, 16, 24, 32, 40, 48, 56, 64, 80, 96, 112, 128, 144, 160, 0)
_KBITS: Final = {
    _V1: (0, 32, 40, 48, 56, 64, 80, 96, 112, 128, 160, 192, 224, 256, 320, 0),
    _V2: _KBITS_V2,
    _V25: _KBITS_V2,
}
_HALVINGS: Final = {_V1: 0, _V2: 1, _V25: 2}


class Frame(NamedTuple):
    """What a frame's header says."""

    length: int
    format: tuple[int, bool]
    """What stays the same: version, layer and samplerate, as they stand there; if it is mono."""


def parse_frame(header: bytes) -> Frame | None:
    """Return what these 4 bytes say; None if they begin no frame of layer 3 of known length."""
    bits = int.from_bytes(header)
    version, rate = bits >> 19 & 3, bits >> 10 & 3
    if bits & _SYNC_AND_LAYER != _LAYER_3 or rate == len(_RATES) or version not in _KBITS:
        return None
    kbits = _KBITS[version][bits >> 12 & 15]
    samplerate = _RATES[rate] >> _HALVINGS[version]
    length = (144 if version == _V1 else 72) * 1000 * kbits // samplerate + (bits >> 9 & 1)
    return Frame(length, (bits & _CONSTANT, bits >> 6 & 3 == _MONO)) if kbits else None


def is_straight(descriptor: int) -> bool:
    """Whether it is frames of one format without a gap, no more than are announced, and tags."""
    at = start = _after_tag(os.pread(descriptor, 10, 0))
    block, base = b"", 0
    first = None
    count = 0
    while True:
        if at + 4 > base + len(block):
            block, base = os.pread(descriptor, BLOCK_BYTES, at), at
        frame = parse_frame(block[at - base : at - base + 4])
        if frame is None or (first and frame.format != first.format):
            break
        first = first or frame
        count += 1
        at += frame.length
    rest = os.pread(descriptor, 16, at)  # none, or before none, where the last frame is cut off
    if first is None or (rest and not rest.startswith(TAGS)):
        return False
    claimed = _claimed(os.pread(descriptor, first.length, start))
    return claimed is None or claimed >= count - 1  # the first one is often not counted


def _after_tag(head: bytes) -> int:
    """Where the audio begins: behind an ID3v2 tag, whose length has 7 bits in each byte."""
    if not head.startswith(b"ID3"):
        return 0
    length = 0
    for byte in head[6:10]:
        length = length << 7 | byte & 0x7F
    return 10 + length


def _claimed(frame: bytes) -> int | None:
    """How many frames there are, if the first one says so."""
    at = max(frame.find(b"Xing"), frame.find(b"Info"))
    if at < 0 or not frame[at + 7 : at + 8] or not frame[at + 7] & 1:
        return None
    return int.from_bytes(frame[at + 8 : at + 12])
