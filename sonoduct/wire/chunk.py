"""
A chunk: a binary message on the wire, and the same bytes as a record in a journal.

32 bytes of header, little-endian, then the payload; docs/protocol.md draws it.
"""

from __future__ import annotations

import enum
import struct
from typing import Final, NamedTuple

import msgspec
from zlib_ng.zlib_ng import crc32

from .errors import BadChecksum, Malformed
from .format import Buffer

VERSION: Final = 1
HEADER_BYTES: Final = 32

# version, kind, flags, payload length, units, epoch, offset, crc32 of the payload
_FIELDS: Final = struct.Struct("<BBHIIIQI")
_CHECKSUM: Final = struct.Struct("<I")


class RecordKind(enum.IntEnum):
    """The second byte of a record. On the wire it is always AUDIO; records.py writes the others."""

    AUDIO = 1
    """A chunk."""

    OPENING = 16
    """The first record of a segment: where it starts, and the hello that claimed the stream."""

    END = 17
    """The stream is complete; the payload is the receipt."""

    CLOSING = 18
    """Everything before it is durable, and nothing follows: it gives the segment's end at once."""


_AUDIO: Final = RecordKind.AUDIO.value


class Chunk(msgspec.Struct, frozen=True, gc=False):
    """Consecutive units of one stream: *message* is header and payload, as received or sent."""

    epoch: int
    """The number of the claim under which it was sent."""

    offset: int
    """Its first unit, counted from the start of the stream."""

    units: int
    """The number of frames (``pcm``) or bytes (``file``) in it."""

    message: Buffer
    """The whole binary message; others share it, so it must not change."""

    unpacked: Buffer | None = None
    """The canonical bytes of a compressed payload; None until the receiver has unpacked it."""

    @property
    def end(self) -> int:
        """The unit after its last one."""
        return self.offset + self.units

    @property
    def payload(self) -> memoryview:
        """The payload, without a copy."""
        return memoryview(self.message)[HEADER_BYTES:]

    @property
    def canonical(self) -> Buffer:
        """The canonical bytes of its units, from which digests and samples are made."""
        return memoryview(self.message)[HEADER_BYTES:] if self.unpacked is None else self.unpacked


class Header(NamedTuple):
    """The first 32 bytes of a chunk, or of another record of a journal."""

    kind: int
    length: int
    """Bytes of the payload."""
    units: int
    epoch: int
    offset: int
    checksum: int
    """crc32 of the payload."""


def encode_chunk(epoch: int, offset: int, units: int, payload: Buffer) -> bytes:
    """Return the binary message for *units* units that start at *offset*."""
    return encode_record(RecordKind.AUDIO, epoch, offset, units, payload)


def encode_record(kind: int, epoch: int, offset: int, units: int, payload: Buffer = b"") -> bytes:
    """Return the header and *payload* of a record of any *kind*."""
    return b"".join((encode_header(kind, epoch, offset, units, payload), payload))


def encode_header(kind: int, epoch: int, offset: int, units: int, payload: Buffer) -> bytes:
    """Return the header of a record; *payload* follows it."""
    fields = _FIELDS.pack(VERSION, kind, 0, len(payload), units, epoch, offset, crc32(payload))
    return fields + _CHECKSUM.pack(crc32(fields))


def decode_header(message: Buffer) -> Header:
    """
    Return the header in the first 32 bytes of *message*.

    Raises:
        Malformed: if it is shorter than a header, or of another version.
        BadChecksum: if the header is not the one that its writer summed.
    """
    if len(message) < HEADER_BYTES:
        raise Malformed("chunk bytes", seen=len(message), expected=f"at least {HEADER_BYTES}")
    head = memoryview(message)[: _FIELDS.size]
    (header_sum,) = _CHECKSUM.unpack_from(message, _FIELDS.size)
    version, kind, flags, length, units, epoch, offset, payload_sum = _FIELDS.unpack_from(head)
    if version != VERSION or header_sum != crc32(head) or flags:
        # The version comes first: another version may sum other bytes.
        _require("chunk version", version, VERSION)
        require_checksum("header crc32", header_sum, crc32(head))
        _require("chunk flags", flags, 0)
    return Header(kind, length, units, epoch, offset, payload_sum)


def decode_chunk(message: Buffer) -> Chunk:
    """
    Return the chunk that *message* holds; the payload is not copied.

    Raises:
        Malformed: if it is shorter than a header, or has another version, kind or length.
        BadChecksum: if the header or the payload is not the one that its sender summed.
    """
    kind, length, units, epoch, offset, checksum = decode_header(message)
    if kind != _AUDIO or length != len(message) - HEADER_BYTES:
        _require("chunk kind", kind, _AUDIO)
        _require("payload length", length, len(message) - HEADER_BYTES)
    payload_sum = crc32(memoryview(message)[HEADER_BYTES:])
    if payload_sum != checksum:
        require_checksum("payload crc32", checksum, payload_sum)
    return Chunk(epoch, offset, units, message)


def require_checksum(what: str, seen: int, expected: int) -> None:
    """
    Compare the sum *seen* in *what* with the *expected* sum of its bytes.

    Raises:
        BadChecksum: if they differ.
    """
    if seen != expected:
        raise BadChecksum(what, seen=f"{seen:08x}", expected=f"{expected:08x}")


def _require(what: str, seen: int, expected: int) -> None:
    if seen != expected:
        raise Malformed(what, seen=seen, expected=expected)
