"""Which decoder a file is for, by its first bytes; never by its name."""

from __future__ import annotations

import enum
from typing import Final, NamedTuple

from sonoduct.audio.decoding.sndfile import WHOLE, Shown

from . import flac as flacfile
from . import joined, mpeg, ogg, unfinished
from .part import Part

HEAD_BYTES: Final = 64 * 1024
"""How far the format chunk of a WAV file is looked for."""


class Route(enum.Enum):
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
    *(b"RIFF", b"RIFX", b"RF64", b"BW64", _W64_RIFF, b"FORM", b".snd", b"dns.", b"caff"),
    *(b"NIST_1A", b"Creative Voice File", b"PVF1"),
)


class SniffResult(NamedTuple):
    """How a file is decoded first."""

    route: Route
    shown: Shown = WHOLE
    """What libsndfile is shown of it."""
    damage: str = ""
    """What shows already that not all of it is there."""
    frames: int | None = None
    """How many there are, where they were counted."""


GUESS_AT_MOST: Final = 64
"""
Times as many bytes as there are libsndfile is told of where it guesses how many frames they make.

It goes by the first frame of an MP3, which has up to 20 times as many as another one.
"""


def sniff(part: Part, whole: int) -> SniffResult:
    """
    Look into *part*.

    *whole* is how many bytes it would have if what looks like tags behind it were audio.

    Raises:
        NotAudio: if its header says that there is none.
    """
    head = part.read(HEAD_BYTES, 0)
    if head.startswith(flacfile.MAGIC):
        if flacfile.goes_on(part):
            return SniffResult(Route.FFMPEG)
        shown = _shown(part, whole, part.size)
        return SniffResult(Route.HERE, shown._replace(frames=flacfile.padded(part)))
    if head.startswith(ogg.MAGIC):
        pages = ogg.look(part)
        route = Route.CHILD if pages.straight else Route.FFMPEG
        return SniffResult(route, _shown(part, whole, part.size), pages.damage)
    if head.startswith(_SOUNDFILE):
        route = Route.HERE if _is_plain_wav(head) else Route.CHILD
        mended = unfinished.mend(part, whole)
        shown = _shown(part, whole, mended.size, mended.patches)
        return SniffResult(route, shown._replace(beyond=mended.beyond), mended.damage)
    if (found := mpeg.walk(part)) is not None:
        return _of_mp3(part, found)
    return SniffResult(Route.FFMPEG, damage=joined.damage(part))


def _shown(part: Part, whole: int, size: int, patches: unfinished.Patches = ()) -> Shown:
    """*size* bytes of *part*: of most files that is the whole file, read without a detour."""
    if part.start == 0 and size == whole and not patches:
        return WHOLE
    written = tuple((at, data.hex()) for at, data in patches)
    return Shown(part.start, part.start + size, written)


def _of_mp3(part: Part, found: mpeg.Frames) -> SniffResult:
    guessed = found.samples is not None
    beyond = found.size * GUESS_AT_MOST + HEAD_BYTES if guessed else 0
    shown = Shown(part.start, part.start + found.size, beyond=beyond)
    return SniffResult(Route.CHILD, shown, found.damage, found.samples)


def _is_plain_wav(head: bytes) -> bool:
    """Whether it is a WAV, RF64 or BW64 whose samples need no decoding to speak of."""
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
