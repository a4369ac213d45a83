"""
Whether an MP3 is to its end what it is at its beginning, and how many frames it has.

libsndfile ends without a word where the samplerate or the channels change, and where the first
frame says that the file ends; files that were joined, or damaged, are like that. Where the first
frame does not say how many there are, libsndfile guesses by its length, and ends there as well.
"""

from __future__ import annotations

from typing import Final, NamedTuple

from .part import Part

BLOCK_BYTES: Final = 1024 * 1024

# Of a frame's 32 bits: ISO/IEC 11172-3, 2.4.1.3.
_CONSTANT: Final = 0xFFFE0C00
"""The sync, the version, the layer and the samplerate."""
_SYNC_AND_LAYER: Final = 0xFFE60000
_LAYER_3: Final = 0xFFE20000
_LAYER_2: Final = 0xFFE40000
_V1, _V2, _V25 = 3, 2, 0
_MONO: Final = 3
_RATES: Final = (44100, 48000, 32000)
_KBITS_V2: Final = (0, 8, 16, 24, 32, 40, 48, 56, 64, 80, 96, 112, 128, 144, 160, 0)
_KBITS: Final = {
    _V1: (0, 32, 40, 48, 56, 64, 80, 96, 112, 128, 160, 192, 224, 256, 320, 0),
    _V2: _KBITS_V2,
    _V25: _KBITS_V2,
}
_KBITS_LAYER_2: Final = (0, 32, 48, 56, 64, 80, 96, 112, 128, 160, 192, 224, 256, 320, 384, 0)
_HALVINGS: Final = {_V1: 0, _V2: 1, _V25: 2}


class Frame(NamedTuple):
    """What a frame's header says."""

    length: int
    samples: int
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
    samples = 1152 if version == _V1 else 576
    length = samples // 8 * 1000 * kbits // samplerate + (bits >> 9 & 1)
    return Frame(length, samples, (bits & _CONSTANT, bits >> 6 & 3 == _MONO)) if kbits else None


def layer2_length(header: bytes) -> int:
    """Return the length of a frame of layer 2; 0 if these bytes begin none of known length."""
    bits = int.from_bytes(header[:4])
    version, rate = bits >> 19 & 3, bits >> 10 & 3
    if bits & _SYNC_AND_LAYER != _LAYER_2 or rate == len(_RATES) or version not in _KBITS:
        return 0
    kbits = (_KBITS_LAYER_2 if version == _V1 else _KBITS_V2)[bits >> 12 & 15]
    return 144_000 * kbits // (_RATES[rate] >> _HALVINGS[version]) + (bits >> 9 & 1) if kbits else 0


class Frames(NamedTuple):
    """Frames of one format without a gap, and no more of them than are announced."""

    size: int
    """Bytes of those that are whole."""
    samples: int | None
    """In all of them; None where the first one says so, and what is left out at both ends."""
    damage: str
    """What is missing at the end."""


def walk(part: Part) -> Frames | None:
    """Return the frames that *part* is, but for zeros behind them; None if it is something else."""
    at, block, base = 0, b"", 0
    first = last = None
    count = 0
    while True:
        if at + 4 > base + len(block):
            block, base = part.read(BLOCK_BYTES, at), at
        frame = parse_frame(block[at - base : at - base + 4])
        if frame is None or (first and frame.format != first.format):
            break
        first = first or frame
        last = frame
        count += 1
        at += frame.length
    # Nothing, or before nothing, where the last frame is cut off.
    if first is None or last is None or not _is_end(part, at):
        return None
    size, damage = at, ""
    if at > part.size:
        size, count = at - last.length, count - 1
        damage = f"cut off: {part.size - size} bytes of a frame, it claims {last.length}"
    return _announced(
        part.read(first.length, 0), Frames(size, count * first.samples, damage), count
    )


def _is_end(part: Part, at: int) -> bool:
    """
    Whether no frames can be behind *at*: nothing, or zeros that fill something up.

    *part* has no tags at its end, so a tag at *at* has something behind it: another file.
    """
    rest = part.read(BLOCK_BYTES, at)
    return rest.count(0) == len(rest) < BLOCK_BYTES


def _announced(first: bytes, found: Frames, count: int) -> Frames | None:
    """Compare the *count* of frames that were *found* with what the *first* one says."""
    at = max(first.find(b"Xing"), first.find(b"Info"))
    if at < 0:
        return found
    flags, claimed = first[at + 4 : at + 8], int.from_bytes(first[at + 8 : at + 12])
    if not (flags and flags[-1] & 1 and claimed):  # it says nothing, and holds no samples
        samples = found.samples and found.samples // count * (count - 1)
        return found._replace(samples=samples)
    if claimed < count - 1:  # it is often not counted
        return None
    damage = f"cut off: {count} MPEG frames, the first one claims {claimed}"
    return Frames(found.size, None, damage if claimed > count else found.damage)
