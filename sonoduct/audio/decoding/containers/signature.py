"""What the first bytes of an audio file are, so that a file is not taken for samples."""

from __future__ import annotations

from typing import Final

from .mpeg import parse_frame

SIGNATURE_BYTES: Final = 12
"""So many decide; MPEG audio without a tag needs `MPEG_BYTES`."""

MPEG_FRAMES: Final = 4
MPEG_BYTES: Final = MPEG_FRAMES * 1441 + 4
"""
Frames in a row that are no accident, and the bytes that they take at most.

A float of speech looks like one frame's header in one of 2,000 cases, and like two in a row in one
of some millions.
"""

SYNCHSAFE: Final = 0x7F
"""The most that a byte of an ID3 tag's size may be."""

_EBML: Final = b"\x1a\x45\xdf\xa3"
_STARTS: Final = (
    (b"fLaC", ".flac"),
    (b"OggS", ".ogg"),
    (_EBML, ".webm"),
    (b"caff", ".caf"),
    (b".snd", ".au"),
    (b"riff\x2e\x91\xcf\x11\xa5\xd6\x28\xdb", ".w64"),
    (b"wvpk", ".wv"),
    (b"MAC ", ".ape"),
    (b"\x30\x26\xb2\x75\x8e\x66\xcf\x11", ".wma"),
    (b"Creative Voi", ".voc"),
    (b"NIST_1A\n", ".sph"),
    (b"#!AMR", ".amr"),
    (b"TTA1", ".tta"),
    (b"PVF1\n", ".pvf"),
    (b"DSD ", ".dsf"),
    (b"MP+", ".mpc"),
    (b"MPCK", ".mpc"),
)
_PAIRS: Final = (
    *((riff, 8, b"WAVE", ".wav") for riff in (b"RIFF", b"RIFX", b"RF64", b"BW64")),
    (b"RIFF", 8, b"AVI ", ".avi"),
    *((b"FORM", 8, kind, ".aiff") for kind in (b"AIFF", b"AIFC")),
    *((b"", 4, box, ".mp4") for box in (b"ftyp", b"moov", b"mdat", b"wide")),
)
"""A beginning, and what stands behind it, and where."""


def suffix_of_container(head: bytes) -> str | None:
    """
    Return the usual suffix of a file that begins with *head*; None if it looks like none.

    As little-endian float32, none of these signatures begins with a sample of sound: the first one
    would be 1e12, 3e29, 5e-37 or the like (RFC 9639 section 8; RFC 3533 section 6; RFC 8794 section
    8.1; ISO/IEC 14496-12 section 4.3; https://id3.org/id3v2.4.0-structure section 3.1).
    """
    for start, suffix in _STARTS:
        if head.startswith(start):
            return suffix
    for start, at, kind, suffix in _PAIRS:
        if head.startswith(start) and head[at : at + 4] == kind:
            return suffix
    if _is_id3(head) or _is_mpeg(head):
        return ".mp3"
    return ".aac" if _is_adts(head) else None


def _is_id3(head: bytes) -> bool:
    versions = (b"\2", b"\3", b"\4")
    return head[:3] == b"ID3" and head[3:4] in versions and max(head[6:10]) <= SYNCHSAFE


def may_be_mpeg(head: bytes) -> bool:
    """Whether *head* begins like a frame of MPEG audio, so that more of it has to be looked at."""
    return parse_frame(head[:4]) is not None or _adts_length(head) > 0


def _is_mpeg(head: bytes) -> bool:
    at, first = 0, None
    for _ in range(MPEG_FRAMES):
        frame = parse_frame(head[at : at + 4])
        if frame is None or (first is not None and frame.format != first):
            return False
        first, at = frame.format, at + frame.length
    return True


def _is_adts(head: bytes) -> bool:
    at = 0
    for _ in range(MPEG_FRAMES):
        length = _adts_length(head[at : at + 6])
        if not length:
            return False
        at += length
    return True


def _adts_length(header: bytes) -> int:
    """Return the bytes of a frame of AAC (ISO/IEC 13818-7, 6.2.1); 0 if this begins none."""
    bits = int.from_bytes(header[:6])
    synced = len(header[:6]) == 6 and bits >> 36 == 0xFFF and not bits >> 33 & 3  # noqa: PLR2004  # as the standard has them
    length = bits >> 5 & 0x1FFF
    return length if synced and length > 6 else 0  # noqa: PLR2004
