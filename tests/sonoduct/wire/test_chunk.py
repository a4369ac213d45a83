"""Chunks: their bytes, and the messages that are refused."""

import struct
from zlib import crc32

import pytest

from sonoduct import wire

PAYLOAD = b"\x01\x00\x02\x00"
GOOD = {"version": 1, "kind": 1, "flags": 0, "length": 4, "units": 2, "epoch": 7, "offset": 9}


def assemble(payload=PAYLOAD, payload_sum=None, header_sum=None, **changed):
    """Return a chunk that is written without the help of `wire`."""
    fields = [*(GOOD | changed).values(), crc32(payload) if payload_sum is None else payload_sum]
    header = struct.pack("<BBHIIIQI", *fields)
    return header + struct.pack("<I", crc32(header) if header_sum is None else header_sum) + payload


REFUSED = {
    "empty": (b"", wire.Malformed, "chunk bytes 0, expected at least 32"),
    "short": (assemble()[:31], wire.Malformed, "chunk bytes 31, expected at least 32"),
    "version": (assemble(version=2), wire.Malformed, "chunk version 2, expected 1"),
    "kind": (assemble(kind=0), wire.Malformed, "chunk kind 0, expected 1"),
    "flags": (assemble(flags=256), wire.Malformed, "chunk flags 256, expected 0"),
    "cut": (assemble()[:-1], wire.Malformed, "payload length 4, expected 3"),
    "long": (assemble() + b"\0", wire.Malformed, "payload length 4, expected 5"),
    "header sum": (
        assemble(header_sum=0xBAD),
        wire.BadChecksum,
        f"header crc32 00000bad, expected {crc32(assemble()[:28]):08x}",
    ),
    "payload sum": (
        assemble(payload_sum=0xBAD),
        wire.BadChecksum,
        f"payload crc32 00000bad, expected {crc32(PAYLOAD):08x}",
    ),
}


@pytest.mark.parametrize(("message", "error", "text"), REFUSED.values(), ids=REFUSED)
def test_faulty_messages_are_refused(message, error, text):
    """Each fault has its own sentence with the value seen and the value expected."""
    with pytest.raises(wire.WireError) as raised:
        wire.decode_chunk(message)

    assert error is type(raised.value)
    assert text == str(raised.value)


def test_another_version_is_recognised_before_its_checksum():
    """A later version may sum other bytes, so the version is checked first."""
    with pytest.raises(wire.Malformed, match="chunk version 2, expected 1"):
        wire.decode_chunk(assemble(version=2, header_sum=0))


def test_damaged_header_is_a_bad_checksum():
    """If a bit of a length is flipped, the error is the checksum, not the length."""
    damaged = bytearray(assemble())
    damaged[4] ^= 1

    with pytest.raises(wire.BadChecksum, match="header crc32"):
        wire.decode_chunk(damaged)


def test_bytes_follow_the_header_table():
    """Encoding writes exactly the layout of the protocol's table."""
    assert assemble() == wire.encode_chunk(7, 9, 2, PAYLOAD)


def test_fields_survive():
    """Decoding gives the fields that were encoded."""
    chunk = wire.decode_chunk(assemble())

    assert (7, 9, 2, 11) == (chunk.epoch, chunk.offset, chunk.units, chunk.end)
    assert PAYLOAD == chunk.payload
    assert assemble() == chunk.message


@pytest.mark.parametrize("kind", [bytes, bytearray, memoryview])
def test_any_buffer_is_taken(kind):
    """Payloads and messages may be bytes, bytearrays or memoryviews."""
    message = wire.encode_chunk(7, 9, 2, kind(PAYLOAD))

    assert PAYLOAD == wire.decode_chunk(kind(message)).payload


def test_payload_is_not_copied():
    """The payload is a view of the received message."""
    message = bytearray(assemble())
    chunk = wire.decode_chunk(message)
    message[-1] = 0x7F

    assert 0x7F == chunk.payload[-1]


def test_canonical_bytes_are_the_unpacked_ones():
    """If a chunk is not compressed, its canonical bytes are its payload."""
    chunk = wire.decode_chunk(wire.encode_chunk(1, 0, 2, b"ab"))
    unpacked = wire.Chunk(1, 0, 2, chunk.message, b"abcd")

    assert (b"ab", b"abcd") == (bytes(chunk.canonical), unpacked.canonical)
    assert b"ab" == bytes(unpacked.payload)
