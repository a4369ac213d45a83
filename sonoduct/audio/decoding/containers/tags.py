"""
Whether the tags in front of the audio have the right length.

A length that is too large leads into the audio, and the audio before that would be skipped.
"""

from __future__ import annotations

from dataclasses import replace
from typing import Final

from .framed import ac3_length
from .mpeg import layer2_length, parse_frame
from .part import ID3V2_BYTES, MOST_ZEROS, Part
from .signature import suffix_of_container

HEAD_BYTES: Final = 16
MOST_FRAMES: Final = 1000
"""The most frames of a tag that are read in the search for its end."""

_MAGICS: Final = (
    *(b"NIST_1A", b"PVF1", b"dns.", b"TTA1", b"MP+", b"MPCK", b"tBaK", b"DSD ", b"FRM8", b".RMF"),
    *(b"RIFF", b"FORM", b"FLV\1", b"#!AMR", b"ADIF", b"\x7f\xfe\x80\x01", b"ID3"),
)
_BOXES: Final = (b"moov", b"mdat", b"wide", b"free", b"skip")


def corrected(part: Part) -> Part:
    """Return *part*, extended to the front if audio begins within the tag before it."""
    file = replace(part, start=0)
    if not part.start or file.read(3, 0) != b"ID3":
        return part
    at = _behind_zeros(file, _end_of_frames(file))
    return replace(part, start=at) if at < part.start and _is_audio(file, at) else part


def damage(part: Part) -> str:
    """Return the damage, if no known audio begins behind the tags; "" without tags."""
    if not part.start or _is_audio(part, _behind_zeros(part, 0)):
        return ""
    return f"tags in front claim {part.start} bytes, and no audio that is known begins there"


def _end_of_frames(file: Part) -> int:
    """Return where the frames of the tag at the beginning of *file* end."""
    version = file.read(ID3V2_BYTES, 0)[3]
    name_bytes, head_bytes = (3, 6) if version == 2 else (4, 10)  # noqa: PLR2004  # ID3v2.2
    at = ID3V2_BYTES
    for _ in range(MOST_FRAMES):
        head = file.read(head_bytes, at)
        name, size = head[:name_bytes], head[name_bytes : 2 * name_bytes]
        if not (name.isalnum() and name.isupper()) or _is_file(file.read(HEAD_BYTES, at)):
            break
        length = 0
        for byte in size:
            length = length << (7 if version == 4 else 8) | byte  # noqa: PLR2004  # ID3v2.4
        at += head_bytes + length
    return at


def _behind_zeros(part: Part, at: int) -> int:
    block = part.read(MOST_ZEROS, at)
    return at + len(block) - len(block.lstrip(b"\0"))


def _is_audio(part: Part, at: int) -> bool:
    """Whether a known file begins at *at*, or two frames that have their length."""
    head = part.read(HEAD_BYTES, at)
    if not head or _is_file(head):
        return True
    length = _frame_length(head)
    return length > 0 and (
        at + length >= part.size or _frame_length(part.read(HEAD_BYTES, at + length)) > 0
    )


def _is_file(head: bytes) -> bool:
    """Whether these are the first bytes of a known kind of file."""
    known = head.startswith(_MAGICS) or head[4:8] in _BOXES
    return known or suffix_of_container(head.ljust(HEAD_BYTES, b"\0")) is not None


def _frame_length(head: bytes) -> int:
    """Return the length of the frame of MPEG audio, AAC or AC-3 with this header; 0 for none."""
    if frame := parse_frame(head[:4]):
        return frame.length
    if len(head) > 6 and head[0] == 0xFF and head[1] & 0xF6 == 0xF0:  # noqa: PLR2004  # ADTS
        return (head[3] & 3) << 11 | head[4] << 3 | head[5] >> 5
    return layer2_length(head) or ac3_length(head[:8])
