"""Where a segment's audio came in is in its first record, and never keeps it from being read."""

import io

from sonoduct.wire import CONTROL_BYTES, Encoding, Format, Hello, RecordKind, encode_control
from sonoduct.wire.chunk import encode_record
from sonoduct.wire.records import Origin, hello_of, opening, origin_of, read_records

FORMAT = Format(samplerate=8000, channels=1, encoding=Encoding.S16LE)
ORIGIN = Origin(replica="sonoduct-receiver-1", peer="10.0.0.7:4242")


def said(name=""):
    return Hello(stream="ab" * 16, instance="one", name=name, format=FORMAT)


def first(data):
    """Return the first record in *data*."""
    return next(read_records(io.BytesIO(data)))


def test_an_opening_names_its_origin():
    """The hello and the origin come back."""
    record = first(opening(3, 500, said(), ORIGIN))

    assert (said(), ORIGIN) == (hello_of(record), origin_of(record))
    assert (3, 500) == (record.header.epoch, record.header.offset)


def test_an_opening_without_an_origin():
    """It is the hello alone, as a sender's spool has it."""
    plain = opening(1, 0, said())

    assert Origin() == origin_of(first(plain))
    assert plain == opening(1, 0, said(), Origin())
    assert plain == encode_record(RecordKind.OPENING, 1, 0, 0, encode_control(said()).encode())


def test_a_long_hello_goes_without_its_origin():
    """A hello up to the limit of a message stays readable: the origin is left out."""
    longest = max(range(CONTROL_BYTES), key=lambda n: n * (len(encode_long(n)) <= CONTROL_BYTES))
    for length in (longest - 100, longest - 1, longest):
        record = first(opening(1, 0, long(length), ORIGIN))

        assert long(length) == hello_of(record)
        assert origin_of(record) in (ORIGIN, Origin())
    assert Origin() == origin_of(record)


def test_an_origin_that_is_not_one():
    """A record whose fields have other types has no origin."""
    payload = encode_control(said())[:-1] + ',"replica":5}'

    assert Origin() == origin_of(
        first(encode_record(RecordKind.OPENING, 1, 0, 0, payload.encode()))
    )


def long(length):
    return Hello(stream="ab" * 16, instance="one", format=FORMAT, metadata={"text": "x" * length})


def encode_long(length):
    try:
        return encode_control(long(length))
    except ValueError:
        return "x" * (CONTROL_BYTES + 1)
