"""
Whether the tags in front of the audio end where they say.

A length that is too large leads into the audio, and what is before that would be passed over.
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
"""Of a tag, that are looked through for its end."""

_MAGICS: Final = (
    *(b"NIST_1A", b"PVF1", b"dns.", b"TTA1", b"MP+", b"MPCK", b"tBaK", b"DSD ", b"FRM8", b".RMF"),
    *(b"RIFF", b"FORM", b"FLV\1", b"#!AMR", b"ADIF", b"\x7f\xfe\x80\x01", b"ID3"),
)
_BOXES: Final = (b"moov", b"mdat", b"wide", b"free", b"skip")


def corrected(part: Part) -> Part:
    """Return *part*, from where audio begins within a tag that is in front of it, if it does."""
    file = replace(part, start=0)
    if not part.start or file.read(3, 0) != b"ID3":
        return part
    at = _behind_zeros(file, _end_of_frames(file))
    return replace(part, start=at) if at < part.start and _is_audio(file, at) else part


def damage(part: Part) -> str:
    """Return what is wrong, if nothing known begins behind tags; nothing, if there are none."""
    if not part.start or _is_audio(part, _behind_zeros(part, 0)):
        return ""
    return f"tags in front claim {part.start} bytes, and no audio that is known begins there"


def _end_of_frames(file: Part) -> int:
    """Where something else begins than frames of the tag that *file* begins with."""
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
    """Whether a file that is known begins at *at*, or two frames that say how long they are."""
    head = part.read(HEAD_BYTES, at)
    if not head or _is_file(head):
        return True
    length = _frame_length(head)
    return length > 0 and (
        at + length >= part.size or _frame_length(part.read(HEAD_BYTES, at + length)) > 0
    )


def _is_file(head: bytes) -> bool:
    """Whether these are the first bytes of a file that is known."""
    known = head.startswith(_MAGICS) or head[4:8] in _BOXES
    return known or suffix_of_container(head.ljust(HEAD_BYTES, b"\0")) is not None


def _frame_length(head: bytes) -> int:
    """Of a frame of MPEG audio, AAC or AC-3; 0 if it is none."""
    if frame := parse_frame(head[:4]):
        return frame.length
    if len(head) > 6 and head[0] == 0xFF and head[1] & 0xF6 == 0xF0:  # noqa: PLR2004  # ADTS
        return (head[3] & 3) << 11 | head[4] << 3 | head[5] >> 5
    return layer2_length(head) or ac3_length(head[:8])
