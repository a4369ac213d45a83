"""Which decoder a file is for, by its first bytes; never by its name."""

from __future__ import annotations

import enum
import os
from typing import Final

from . import flacfile, mpeg, ogg

HEAD_BYTES: Final = 64 * 1024
"""How far the format chunk of a WAV file is looked for."""


class Way(enum.Enum):
    """Who decodes it first."""

    HERE = "soundfile, in this process"
    """libsndfile's plain code, which small files need not start a process for."""

    CHILD = "soundfile, in a child"
    """What libsndfile reads with code that has had errors, or that is not its own."""

    FFMPEG = "ffmpeg"
    """What libsndfile does not know, or does not read to its end."""


_PLAIN_TAGS: Final = frozenset({1, 3, 6, 7})
"""WAV's format tags for integers, floats, A-law and µ-law."""
_EXTENSIBLE: Final = 0xFFFE
_W64_RIFF: Final = b"riff\x2e\x91\xcf\x11\xa5\xd6\x28\xdb\x04\xc1\x00\x00"
_SOUNDFILE: Final = (
    *(b"RIFF", b"RIFX", b"RF64", _W64_RIFF, b"FORM", b".snd", b"dns.", b"caff"),
    *(b"NIST_1A", b"Creative Voice File", b"PVF1"),
)


def sniff(descriptor: int) -> Way:
    """Look into the file that *descriptor* is open on; its position stays."""
    head = os.pread(descriptor, HEAD_BYTES, 0)
    if head.startswith(flacfile.MAGIC):
        return Way.FFMPEG if flacfile.goes_on(descriptor) else Way.HERE
    if _is_plain_wav(head):
        return Way.HERE
    if head.startswith(ogg.MAGIC):
        return Way.CHILD if ogg.holds_one_stream(descriptor) else Way.FFMPEG
    if head.startswith(_SOUNDFILE) or mpeg.is_straight(descriptor):
        return Way.CHILD
    return Way.FFMPEG


def _is_plain_wav(head: bytes) -> bool:
    """Whether it is a WAV, or RF64, whose samples need no decoding to speak of."""
    if head[:4] not in (b"RIFF", b"RF64") or head[8:12] != b"WAVE":
        return False
    at = 12
    while head[at : at + 4] != b"fmt ":
        if at + 8 > len(head):
            return False
        length = int.from_bytes(head[at + 4 : at + 8], "little")
        at += 8 + length + length % 2
    tag = int.from_bytes(head[at + 8 : at + 10], "little")
    if tag == _EXTENSIBLE:  # the tag is then in the sub-format's first two bytes
        tag = int.from_bytes(head[at + 32 : at + 34], "little")
    return tag in _PLAIN_TAGS
