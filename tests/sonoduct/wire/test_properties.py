"""Properties for any input: it is a message, or it is refused with a WireError."""

import json
import math
from contextlib import suppress

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from sonoduct import wire
from sonoduct.wire import messages

quick = settings(deadline=None, max_examples=150)

EPOCHS = st.integers(0, 2**32 - 1)
COUNTS = st.integers(0, 2**63 - 1)
STREAMS = st.text("0123456789abcdef", min_size=32, max_size=32)
TEXTS = st.text(st.characters(codec="utf-8"), max_size=20)
FLOATS = st.floats(allow_nan=False, allow_infinity=False)
BIG = st.integers(-(10**40), 10**40)
VALUES = st.none() | st.booleans() | BIG | FLOATS | TEXTS


def some(items, keys=TEXTS):
    """Generate small dictionaries of *items*."""
    return st.dictionaries(keys, items, max_size=3)


FORMATS = st.builds(
    wire.Format,
    samplerate=st.integers(1, 768_000),
    channels=st.integers(1, 64),
    encoding=st.sampled_from(wire.Encoding),
) | st.builds(
    wire.Format,
    samplerate=st.integers(1, 65_535),
    channels=st.integers(1, 8),
    encoding=st.sampled_from([wire.Encoding.S16LE, wire.Encoding.S24LE]),
    compression=st.just(wire.Compression.FLAC),
)
RECEIPTS = st.builds(
    wire.Receipt,
    stream=STREAMS,
    units=COUNTS,
    digest=STREAMS,
    frames=COUNTS,
    samplerate=st.integers(1, 768_000),
    channels=st.integers(1, 64),
    seconds=FLOATS,
    durable=st.booleans(),
    processors=some(some(VALUES)),
    failures=some(TEXTS),
    sha256=TEXTS,
    decoder=TEXTS,
)


def hellos(kind, formats):
    """Generate hellos of one kind."""
    return st.builds(
        wire.Hello,
        stream=STREAMS,
        instance=TEXTS,
        kind=st.just(kind),
        format=formats,
        name=TEXTS,
        units=st.none() | COUNTS,
        ack=st.sampled_from(wire.Level),
        metadata=some(TEXTS),
        batches=st.booleans(),
    )


EVENTS = st.builds(wire.Event, processor=TEXTS, offset=COUNTS, values=some(VALUES))

CONTROLS = st.one_of(
    hellos(wire.Kind.PCM, FORMATS),
    hellos(wire.Kind.FILE, st.none()),
    st.builds(
        wire.Opened,
        epoch=EPOCHS,
        offset=COUNTS,
        window=COUNTS,
        max_chunk=COUNTS,
        ack=st.sampled_from(wire.Level),
        state=st.sampled_from(wire.State),
        receipt=st.none() | RECEIPTS,
    ),
    st.builds(wire.Ack, epoch=EPOCHS, durable=COUNTS, received=COUNTS, window=COUNTS),
    st.builds(wire.Eos, units=COUNTS, digest=STREAMS),
    st.builds(wire.Committed, epoch=EPOCHS, receipt=RECEIPTS),
    EVENTS,
    st.builds(wire.Events, events=st.lists(EVENTS, max_size=3)),
    st.builds(wire.Cancel, epoch=EPOCHS),
    st.builds(wire.Cancelled, epoch=EPOCHS),
    st.builds(wire.Drain, retry_ms=COUNTS),
    st.builds(
        wire.Error,
        code=st.integers(1000, 4999),
        message=TEXTS,
        seen=st.none() | TEXTS,
        expected=st.none() | TEXTS,
    ),
)

CHUNKS = st.builds(
    wire.encode_chunk,
    EPOCHS,
    st.integers(0, 2**64 - 1),
    EPOCHS,
    st.binary(max_size=64),
)


@st.composite
def damaged_chunks(draw):
    """Generate chunks in which some bytes are changed, missing or added."""
    message = bytearray(draw(CHUNKS))
    first = draw(st.integers(0, len(message)))
    last = draw(st.integers(first, len(message)))
    message[first:last] = draw(st.binary(max_size=4))
    return bytes(message)


JSON = st.recursive(
    VALUES,
    lambda inner: st.lists(inner, max_size=3) | some(inner, TEXTS | st.sampled_from(["type"])),
    max_leaves=12,
)


@st.composite
def damaged_controls(draw):
    """Generate messages in which one field has any value, or some text is changed."""
    fields = json.loads(wire.encode_control(draw(CONTROLS)))
    fields[draw(st.sampled_from(sorted(fields)))] = draw(JSON)
    text = json.dumps(fields, ensure_ascii=draw(st.booleans()))
    first = draw(st.integers(0, len(text)))
    last = draw(st.integers(first, min(first + draw(st.sampled_from([0, 0, 3])), len(text))))
    return text[:first] + draw(st.just("") | st.text(max_size=2)) + text[last:]


@given(st.binary(max_size=80) | CHUNKS | damaged_chunks())
@quick
def test_any_bytes_are_a_chunk_or_refused(message):
    """
    If a chunk is accepted, its fields encode to the same bytes.

    Otherwise a WireError is raised.
    """
    with suppress(wire.WireError):
        chunk = wire.decode_chunk(message)

        assert message == wire.encode_chunk(chunk.epoch, chunk.offset, chunk.units, chunk.payload)


@given(CHUNKS)
@quick
def test_chunks_are_accepted(message):
    """Every encoded chunk can be decoded."""
    assert message == wire.decode_chunk(message).message


@given(CHUNKS)
@settings(deadline=None, max_examples=15)
def test_any_flipped_bit_is_noticed(message):
    """If any bit of header or payload is flipped, the chunk is refused."""
    for bit in range(8 * len(message)):
        damaged = bytearray(message)
        damaged[bit // 8] ^= 1 << bit % 8
        with pytest.raises(wire.WireError):
            wire.decode_chunk(damaged)


def decoded(text):
    """Return the message in *text*, or the error with which it is refused."""
    try:
        return wire.decode_control(text)
    except wire.WireError as error:
        return error


ANY_TEXT = st.text(st.characters(), max_size=60)  # lone surrogates too


@given(ANY_TEXT | JSON.map(json.dumps) | damaged_controls())
@example("[" * 4096)
@example('{"a":' * 800 + "}" * 800)
@example("9" * 4096)
@example('{"type":"drain","retry_ms":' + "9" * 4000 + "}")
@example('{"type":"drain","retry_ms":-0}')
@example('{"type":"drain","retry_ms":1e400}')
@example('{"type":"drain","retry_ms":1,"x":"\\ud800"}')
@example('{"type":"event","processor":"\\udfff\\ud800","offset":1,"values":{}}')
@example('{"type":"drain","retry_ms":1,"retry_ms":2}')
@example("\x00")
@example('{"type":"\\n"}')
@example("\ufeff{}")
@quick
def test_any_text_is_a_message_or_refused(text):
    """
    If a message is accepted, it survives encoding.

    Otherwise Malformed fits into a close frame.
    """
    message = decoded(text)

    if isinstance(message, wire.WireError):
        assert wire.Malformed is type(message)
        assert len(message.reason.encode()) <= 123
        assert "\n" not in str(message)
    else:
        assert message == wire.decode_control(wire.encode_control(message))


@given(CONTROLS)
@quick
def test_messages_survive(message):
    """Decoding gives the message that was encoded."""
    assert message == wire.decode_control(wire.encode_control(message))


@given(
    st.sampled_from(["name", "instance"]),
    st.text(st.characters(codec="utf-8"), min_size=0, max_size=300),
)
@quick
def test_text_longer_than_a_name_is_refused(field, text):
    """In every script the limit is 255 characters."""
    hello = {"stream": "0" * 32, "instance": "", "format": {}} | {field: text}
    hello["format"] = {"samplerate": 1, "channels": 1, "encoding": "s16le"}
    message = decoded(json.dumps({"type": "hello"} | hello, ensure_ascii=False))

    assert (len(text) <= 255) == isinstance(message, wire.Hello)


@given(st.lists(CONTROLS | CHUNKS.map(wire.decode_chunk), max_size=8), st.integers(0, 3))
@quick
def test_any_order_is_accepted_or_refused_by_the_receiver(incoming, opened_after):
    """Messages in any order make `Inbound` raise nothing but a WireError."""
    half = wire.Inbound(wire.Deadlines(), 0)
    terms = wire.Terms(window=200, max_chunk=64, ack=wire.Level.DURABLE, kept=True)
    for number, message in enumerate(incoming):
        with suppress(wire.WireError):
            half.feed(message, number)
        if number == opened_after:
            half.open(1, 0, terms, number)
        half.ack()

    assert half.held <= 200


@given(st.lists(CONTROLS, max_size=8))
@quick
def test_any_order_is_accepted_or_refused_by_the_sender(incoming):
    """Messages in any order make `Outbound` raise nothing but a WireError."""
    half = wire.Outbound(wire.Hello(stream="0" * 32, instance="", format=MONO))
    half.greet()
    for message in incoming:
        with suppress(wire.WireError):
            half.feed(message)
        offer(half)

    assert half.phase.name != "LOST"


MONO = wire.Format(samplerate=1, channels=1, encoding=wire.Encoding.S16LE)


def offer(half):
    """Send one frame if there is room, as a sender that has read all units before."""
    if half.phase.name == "OPEN" and half.room >= 2:
        half.skip(half.position - half.read_from, bytes(2))
        half.chunk(1, bytes(2))


def test_numbers_that_are_not_finite_are_sent_as_null():
    """JSON has neither NaN nor infinity."""
    event = wire.Event(processor="p", offset=0, values={"a": math.nan, "b": math.inf})

    assert {"a": None, "b": None} == wire.decode_control(wire.encode_control(event)).values


def test_controls_are_complete():
    """The strategies above generate every type of message."""
    assert 11 == len(messages.Control.__args__)
