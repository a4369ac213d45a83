"""
Segments on disk: a sequence of records, each with the 32-byte header of a chunk.

A segment, in a receiver's journal or a sender's spool, begins with an OPENING. Chunks follow, with
the same bytes as on the wire. A CLOSING or an END is the last record, if the segment has one.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import BinaryIO, Final, NamedTuple

import msgspec
from zlib_ng.zlib_ng import crc32

from .chunk import HEADER_BYTES, Header, RecordKind, decode_header, encode_record
from .control import CONTROL_BYTES, decode_control, encode_control
from .errors import WireError
from .messages import Hello, Receipt

LONGEST_PAYLOAD: Final = 1024 * 1024
"""Bytes; a longer record is damage. The longest chunk has half of it."""


class Origin(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """Where a segment's audio came in: for people, who join logs of several machines by it."""

    replica: str = ""
    """Name of the receiver."""
    peer: str = ""
    """Address of the sender, or of the gateway before the receiver."""
    token: str = ""
    """Name of the sender's token."""
    sender_stream: str = ""
    """With a token: the id that the sender knows the stream by."""


class Record(NamedTuple):
    """One record whose checksums are right."""

    header: Header
    payload: bytes


def opening(epoch: int, base: int, hello: Hello, origin: Origin | None = None) -> bytes:
    """
    Return the first record of a segment that starts at unit *base*.

    *origin* is in the same object as the hello, whose readers ignore unknown fields; a hello that
    leaves no room for it goes without.
    """
    payload = encode_control(hello).encode()
    more = msgspec.json.encode(origin)[1:] if origin is not None else b"}"
    if more != b"}" and len(payload) + len(more) <= CONTROL_BYTES:
        payload = payload[:-1] + b"," + more
    return encode_record(RecordKind.OPENING, epoch, base, 0, payload)


def end(epoch: int, receipt: Receipt) -> bytes:
    """Return the record that completes a stream."""
    return encode_record(RecordKind.END, epoch, receipt.units, 0, msgspec.json.encode(receipt))


def closing(epoch: int, offset: int) -> bytes:
    """Return the record that ends a segment before unit *offset*."""
    return encode_record(RecordKind.CLOSING, epoch, offset, 0)


def hello_of(record: Record) -> Hello | None:
    """Return the hello in an OPENING; None if *record* is of another kind."""
    if record.header.kind != RecordKind.OPENING:
        return None
    message = decode_control(record.payload.decode())
    return message if isinstance(message, Hello) else None


def origin_of(record: Record) -> Origin:
    """Return the origin in an OPENING; an empty one if it has none."""
    try:
        return msgspec.json.decode(record.payload, type=Origin)
    except msgspec.DecodeError:
        return Origin()


def receipt_of(record: Record) -> Receipt:
    """Return the receipt in an END."""
    return msgspec.json.decode(record.payload, type=Receipt)


def read_records(file: BinaryIO) -> Iterator[Record]:
    """Yield the records of *file* from its position on, up to the first damaged or cut one."""
    try:
        while True:
            header = decode_header(file.read(HEADER_BYTES))
            if header.length > LONGEST_PAYLOAD:
                return
            payload = file.read(header.length)
            # A payload that is cut short has another sum, except once in 4 billion times.
            if len(payload) != header.length or crc32(payload) != header.checksum:
                return
            yield Record(header, payload)
    except WireError:
        return


def read_closing(file: BinaryIO) -> Header | None:
    """Return the CLOSING at the end of *file*, None if it has none. Changes the file's position."""
    size = file.seek(0, 2)
    file.seek(max(0, size - HEADER_BYTES))
    try:
        header = decode_header(file.read(HEADER_BYTES))
    except WireError:
        return None
    return header if header.kind == RecordKind.CLOSING and not header.length else None
