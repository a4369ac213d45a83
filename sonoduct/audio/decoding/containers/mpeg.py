"""
Whether an MP3 has one format from beginning to end, and how many frames it has.

libsndfile stops silently at a change of samplerate or channels, and at the end that the first frame
claims: joined and damaged files have either. If the first frame claims no number, libsndfile
guesses one from the length of the file, and stops there.
"""

from __future__ import annotations

from typing import Final, NamedTuple

from .part import Part

BLOCK_BYTES: Final = 1024 * 1024

# Bits of a frame's header: ISO/IEC 11172-3, 2.4.1.3.
_CONSTANT: Final = 0xFFFE0C00
"""Sync, version, layer and samplerate, which stay the same in a file."""
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
    """The header of a frame."""

    length: int
    samples: int
    format: tuple[int, bool]
    """The header's constant bits, and whether the frame is mono."""


def parse_frame(header: bytes) -> Frame | None:
    """Return the frame of layer 3 with this header of 4 bytes; None if they begin no such frame."""
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
    """Return the length of the frame of layer 2 with this header; 0 if it is no such frame."""
    bits = int.from_bytes(header[:4])
    version, rate = bits >> 19 & 3, bits >> 10 & 3
    if bits & _SYNC_AND_LAYER != _LAYER_2 or rate == len(_RATES) or version not in _KBITS:
        return 0
    kbits = (_KBITS_LAYER_2 if version == _V1 else _KBITS_V2)[bits >> 12 & 15]
    return 144_000 * kbits // (_RATES[rate] >> _HALVINGS[version]) + (bits >> 9 & 1) if kbits else 0


class Frames(NamedTuple):
    """Frames of one format without a gap, and not more than the first frame announces."""

    size: int
    """Bytes of the frames that are complete."""
    samples: int | None
    """Samples in all frames; None if the first frame has the number."""
    damage: str
    """The part that is missing at the end."""


def walk(part: Part) -> Frames | None:
    """Return the frames that make up *part*, before any zeros; None if it is something else."""
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
    # *at* is behind *part* if the last frame is cut off.
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
    Whether *part* has nothing behind *at*, or only zeros.

    *part* has no tags at its end. A tag at *at* therefore has something behind it: another file.
    """
    rest = part.read(BLOCK_BYTES, at)
    return rest.count(0) == len(rest) < BLOCK_BYTES


def _announced(first: bytes, found: Frames, count: int) -> Frames | None:
    """Compare the *count* of frames that were *found* with the number in the *first* one."""
    at = max(first.find(b"Xing"), first.find(b"Info"))
    if at < 0:
        return found
    flags, claimed = first[at + 4 : at + 8], int.from_bytes(first[at + 8 : at + 12])
    if not (flags and flags[-1] & 1 and claimed):  # it has no number, and no samples
        samples = found.samples and found.samples // count * (count - 1)
        return found._replace(samples=samples)
    if claimed < count - 1:  # many encoders do not count the first frame
        return None
    damage = f"cut off: {count} MPEG frames, the first one claims {claimed}"
    return Frames(found.size, None, damage if claimed > count else found.damage)
