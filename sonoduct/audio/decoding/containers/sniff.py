"""Which decoder a file goes to, by its content and never by its name."""

from __future__ import annotations

import enum
from typing import Final, NamedTuple

from sonoduct.audio.decoding.sndfile import WHOLE, Shown

from . import flac as flacfile
from . import joined, mpeg, ogg, unfinished
from .part import Part

HEAD_BYTES: Final = 64 * 1024
"""Bytes in which the format chunk of a WAV file is searched."""


class Route(enum.Enum):
    """The decoder that tries a file first."""

    HERE = "soundfile, in this process"
    """For formats that libsndfile reads with simple code, so that small files need no process."""

    CHILD = "soundfile, in a child"
    """For formats that libsndfile reads with code that had errors, or with other libraries."""

    FFMPEG = "ffmpeg"
    """For formats that libsndfile does not know, or does not read to the end."""


_PLAIN_TAGS: Final = frozenset({1, 3, 6, 7})
"""WAV's format tags for integers, floats, A-law and µ-law."""
_EXTENSIBLE: Final = 0xFFFE
_W64_RIFF: Final = b"riff\x2e\x91\xcf\x11\xa5\xd6\x28\xdb\x04\xc1\x00\x00"
_SOUNDFILE: Final = (
    *(b"RIFF", b"RIFX", b"RF64", b"BW64", _W64_RIFF, b"FORM", b".snd", b"dns.", b"caff"),
    *(b"NIST_1A", b"Creative Voice File", b"PVF1"),
)


class SniffResult(NamedTuple):
    """The route of a file, and all that its first look has found."""

    route: Route
    shown: Shown = WHOLE
    """The part that libsndfile sees."""
    damage: str = ""
    """The damage that the first look has found."""
    frames: int | None = None
    """The number of frames, if they were counted."""


GUESS_AT_MOST: Final = 64
"""
How many times larger a file seems to libsndfile, if it guesses the number of frames by the size.

It divides by the size of an MP3's first frame, which may be 20 times larger than another one.
"""


def sniff(part: Part, whole: int) -> SniffResult:
    """
    Return the route of *part*.

    *whole* is its size if the bytes that look like tags behind it are audio.

    Raises:
        NotAudio: if its header says that it has no samples.
    """
    head = part.read(HEAD_BYTES, 0)
    if head.startswith(flacfile.MAGIC):
        if flacfile.continues(part):
            return SniffResult(Route.FFMPEG)
        shown = _shown(part, whole, part.size)
        return SniffResult(Route.HERE, shown._replace(frames=flacfile.padded(part)))
    if head.startswith(ogg.MAGIC):
        pages = ogg.inspect(part)
        route = Route.CHILD if pages.straight else Route.FFMPEG
        return SniffResult(route, _shown(part, whole, part.size), pages.damage)
    if head.startswith(_SOUNDFILE):
        route = Route.HERE if _is_plain_wav(head) else Route.CHILD
        mended = unfinished.mend(part, whole)
        shown = _shown(part, whole, mended.size, mended.patches)
        return SniffResult(route, shown._replace(beyond=mended.beyond), mended.damage)
    if (found := mpeg.walk(part)) is not None:
        beyond = found.size * GUESS_AT_MOST + HEAD_BYTES if found.samples is not None else 0
        shown = Shown(part.start, part.start + found.size, beyond=beyond)
        return SniffResult(Route.CHILD, shown, found.damage, found.samples)
    return SniffResult(Route.FFMPEG, damage=joined.damage(part))


def _shown(part: Part, whole: int, size: int, patches: unfinished.Patches = ()) -> Shown:
    """Return a `Shown` of *size* bytes of *part*; WHOLE for most files, which is read directly."""
    if part.start == 0 and size == whole and not patches:
        return WHOLE
    written = tuple((at, data.hex()) for at, data in patches)
    return Shown(part.start, part.start + size, written)


def _is_plain_wav(head: bytes) -> bool:
    """Whether *head* begins a WAV, RF64 or BW64 whose samples need hardly any decoding."""
    if head[:4] not in (b"RIFF", b"RF64", b"BW64") or head[8:12] != b"WAVE":
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
