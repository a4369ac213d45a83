"""What is known of a file before it is decoded."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from sonoduct.wire import CHANNELS, SAMPLERATES, Encoding, Format

from .errors import Unfit

_WIDTH: Final = {Encoding.S16LE: 16, Encoding.S24LE: 24, Encoding.F32LE: 32}


@dataclass(frozen=True, kw_only=True)
class Facts:
    """What a decoder says of a file."""

    format: Format
    """Its encoding is the smallest exact one, or the one that was asked for."""

    decoder: str
    """`soundfile` or `ffmpeg`."""

    container: str
    """Such as WAV, OGG or mov,mp4,m4a,3gp,3g2,mj2: the decoder's own word."""

    codec: str
    """Such as pcm, flac, vorbis or aac."""

    subtype: str
    """How the codec's samples are stored, again in the decoder's own words."""

    frames: int | None
    """As the file claims; None where it says nothing. Never relied upon."""

    damage: str
    """What shows already that not all of it is there; most often nothing does."""

    seekable: bool
    """Whether a seek costs nothing and is exact; otherwise it decodes from the start."""


def require_fit(
    samplerate: int, channels: int, exact: Encoding, wanted: Encoding | None, subtype: str
) -> Format:
    """
    Return the format that samples travel in: *wanted*, or *exact*, which holds all of *subtype*.

    Raises:
        Unfit: if the protocol cannot carry it, or *wanted* cannot hold it.
    """
    for name, seen, allowed in (
        ("samplerate", samplerate, SAMPLERATES),
        ("channels", channels, CHANNELS),
    ):
        if seen not in allowed:
            raise Unfit(f"{name} {seen}, expected {allowed.start} to {allowed.stop - 1}")
    if wanted is not None and _WIDTH[wanted] < _WIDTH[exact]:
        raise Unfit(f"{wanted} cannot hold {subtype} exactly, expected {exact}")
    return Format(samplerate=samplerate, channels=channels, encoding=wanted or exact)
