"""Signatures of audio files, so that the receiver does not take a file for samples."""

from __future__ import annotations

from typing import Final

from .mpeg import parse_frame

SIGNATURE_BYTES: Final = 12
"""Bytes that decide; MPEG audio without a tag needs `MPEG_BYTES`."""

MPEG_FRAMES: Final = 4
MPEG_BYTES: Final = MPEG_FRAMES * 1441 + 4
"""
Frames in a row that exclude an accident, and the most bytes that they take.

Samples of speech look like one frame's header in one of 2,000 cases, and like two in a row in one
of some millions.
"""

SYNCHSAFE: Final = 0x7F
"""The largest value of a byte in the size of an ID3 tag."""

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
"""The first bytes, an offset, the bytes there, and the suffix."""


def suffix_of_container(head: bytes) -> str | None:
    """
    Return the usual suffix of a file that begins with *head*; None if it has no known signature.

    No signature looks like sound in little-endian float32: the first sample would be 1e12, 3e29,
    5e-37 or the like (RFC 9639 section 8; RFC 3533 section 6; RFC 8794 section 8.1; ISO/IEC
    14496-12 section 4.3; https://id3.org/id3v2.4.0-structure section 3.1).
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
    return (
        head[:3] == b"ID3" and head[3:4] in versions and max(head[6:10], default=0xFF) <= SYNCHSAFE
    )


def may_be_mpeg(head: bytes) -> bool:
    """Whether *head* begins like a frame of MPEG audio: then `MPEG_BYTES` are needed to decide."""
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
    """Return the bytes of the AAC frame with this header (ISO/IEC 13818-7, 6.2.1); 0 for none."""
    bits = int.from_bytes(header[:6])
    synced = len(header[:6]) == 6 and bits >> 36 == 0xFFF and not bits >> 33 & 3  # noqa: PLR2004  # values of the standard
    length = bits >> 5 & 0x1FFF
    return length if synced and length > 6 else 0  # noqa: PLR2004
