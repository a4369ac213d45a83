"""
A chunk: one binary message on the wire and, identically, one record in the journal.

32 bytes of header, little-endian, then the payload; docs/protocol.md draws it.
"""

from __future__ import annotations

import enum
import struct
from typing import Final
from zlib import crc32

import msgspec

from .encodings import Buffer
from .errors import BadChecksum, Malformed

VERSION: Final = 1
HEADER_BYTES: Final = 32

# version, kind, flags, payload length, units, epoch, offset, crc32 of the payload
_FIELDS: Final = struct.Struct("<BBHIIIQI")
_CHECKSUM: Final = struct.Struct("<I")


class Kind(enum.IntEnum):
    """The second byte of every chunk."""

    AUDIO = 1


class Chunk(msgspec.Struct, frozen=True, gc=False):
    """Consecutive units of one stream, as they came: *message* is header and payload together."""

    epoch: int
    """The claim under which it was sent."""

    offset: int
    """Its first unit, counted from the start of the stream."""

    units: int
    """How many frames (``pcm``) or bytes (``file``) it holds."""

    message: Buffer
    """The whole binary message; shared, not to be changed."""

    @property
    def end(self) -> int:
        """The unit after its last one."""
        return self.offset + self.units

    @property
    def payload(self) -> memoryview:
        """The payload, without a copy."""
        return memoryview(self.message)[HEADER_BYTES:]

    def require_units_of(self, unit_bytes: int) -> None:
        """
        Check that the payload holds just `units` units.

        Raises:
            Malformed: if it does not, or if there are none.
        """
        size = len(self.payload)
        if not self.units or size != self.units * unit_bytes:
            expected = f"{unit_bytes} for each of one or more"
            raise Malformed(f"payload bytes of {self.units} units", seen=size, expected=expected)


def encode_chunk(epoch: int, offset: int, units: int, payload: Buffer) -> bytes:
    """Return the binary message for *units* units that start at *offset*."""
    fields = _FIELDS.pack(
        VERSION, Kind.AUDIO, 0, len(payload), units, epoch, offset, crc32(payload)
    )
    return b"".join((fields, _CHECKSUM.pack(crc32(fields)), payload))


def decode_chunk(message: Buffer) -> Chunk:
    """
    Return the chunk that *message* holds; the payload is not copied.

    Raises:
        Malformed: if it is shorter than a header, or not of this version, kind and length.
        BadChecksum: if the header or the payload differs from what its sender summed.
    """
    if len(message) < HEADER_BYTES:
        raise Malformed("chunk bytes", seen=len(message), expected=f"at least {HEADER_BYTES}")
    head = memoryview(message)[: _FIELDS.size]
    (header_sum,) = _CHECKSUM.unpack_from(message, _FIELDS.size)
    version, kind, flags, length, units, epoch, offset, payload_sum = _FIELDS.unpack_from(head)
    # The version comes first: another one may sum other bytes.
    _require("chunk version", version, VERSION)
    _require_sum("header crc32", header_sum, crc32(head))
    _require("chunk kind", kind, Kind.AUDIO.value)
    _require("chunk flags", flags, 0)
    _require("payload length", length, len(message) - HEADER_BYTES)
    chunk = Chunk(epoch, offset, units, message)
    _require_sum("payload crc32", payload_sum, crc32(chunk.payload))
    return chunk


def _require(what: str, seen: int, expected: int) -> None:
    if seen != expected:
        raise Malformed(what, seen=seen, expected=expected)


def _require_sum(what: str, seen: int, expected: int) -> None:
    if seen != expected:
        raise BadChecksum(what, seen=f"{seen:08x}", expected=f"{expected:08x}")
