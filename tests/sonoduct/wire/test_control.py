"""Control messages: which ones are read and which are refused, and how errors describe them."""

import time

import msgspec
import pytest

from sonoduct import wire

STREAM = "0123456789abcdef" * 2
FORMAT = {"samplerate": 48_000, "channels": 2, "encoding": "s16le"}
HELLO = {"type": "hello", "stream": STREAM, "instance": "a", "format": FORMAT}
CANCEL = {"type": "cancel", "epoch": 1}

REFUSED = {
    "no JSON": ("Done", "JSON is malformed: invalid character (byte 0), in 'Done'"),
    "cut": ('{"type":', "Input data was truncated, in '{\"type\":'"),
    "no object": ("[]", "Expected `object`, got `array`, in '[]'"),
    "no type": ("{}", "Object missing required field `type`, in '{}'"),
    "no epoch": (
        '{"type":"cancel"}',
        'Object missing required field `epoch`, in \'{"type":"cancel"}\'',
    ),
    "wrong type of field": (
        '{"type":"cancel","epoch":"1"}',
        'Expected `int`, got `str` - at `$.epoch`, in \'{"type":"cancel","epoch":"1"}\'',
    ),
    "negative epoch": (
        '{"type":"cancel","epoch":-1}',
        'Expected `int` >= 0 - at `$.epoch`, in \'{"type":"cancel","epoch":-1}\'',
    ),
    "epoch of 33 bits": (
        '{"type":"cancel","epoch":4294967296}',
        'Expected `int` <= 4294967295 - at `$.epoch`, in \'{"type":"cancel","epoch":4294967296}\'',
    ),
    "number beyond float": (
        '{"type":"cancel","epoch":1e999}',
        'Number out of range - at `$.epoch`, in \'{"type":"cancel","epoch":1e999}\'',
    ),
}


def as_text(message):
    """Return a dictionary as JSON."""
    return msgspec.json.encode(message).decode()


def refusal(text):
    """Return the error with which *text* is refused."""
    with pytest.raises(wire.Malformed) as raised:
        wire.decode_control(text)
    return raised.value


@pytest.mark.parametrize(("text", "sentence"), REFUSED.values(), ids=REFUSED)
def test_faulty_messages_are_refused(text, sentence):
    """The sentence names the fault and its place, and shows the message."""
    error = refusal(text)

    assert sentence == str(error)
    assert 4400 == error.close_code


@pytest.mark.parametrize(
    ("changed", "seen", "expected"),
    [
        (
            {"type": "goodbye"},
            "'goodbye'",
            "or committed or event or events or cancelled or drain or error",
        ),
        ({"kind": "midi"}, "'midi'", "expected pcm or file"),
        ({"ack": "maybe"}, "'maybe'", "expected received or durable"),
        ({"format": FORMAT | {"encoding": "u8"}}, "'u8'", "expected s16le or s24le or f32le"),
    ],
)
def test_choices_are_named(changed, seen, expected):
    """If a field has a closed set of values, the refusal lists them."""
    text = str(refusal(as_text(HELLO | changed)))

    assert seen in text
    assert text.endswith(expected)


@pytest.mark.parametrize(
    ("changed", "sentence"),
    [
        ({"stream": "xyz"}, "stream 'xyz', expected 32 hexadecimal digits"),
        ({"stream": STREAM.upper()}, f"stream '{STREAM.upper()}', expected 32 hexadecimal digits"),
        ({"stream": STREAM + "0"}, f"stream '{STREAM}0', expected 32 hexadecimal digits"),
        ({"instance": "a" * 256}, "instance of 256 characters, expected <= 255"),
        ({"name": "ü" * 256}, "name of 256 characters, expected <= 255"),
        ({"format": FORMAT | {"samplerate": 0}}, "samplerate 0, expected 1 to 768000"),
        ({"format": FORMAT | {"channels": 65}}, "channels 65, expected 1 to 64"),
    ],
)
def test_hello_out_of_bounds_is_refused(changed, sentence):
    """Identity, names and format have limits, which the refusal gives."""
    error = refusal(as_text(HELLO | changed))

    assert str(error).startswith(sentence)
    assert 4400 == error.close_code


def test_hello_at_its_bounds_is_accepted():
    """An instance and a name of 255 characters are accepted."""
    hello = wire.decode_control(as_text(HELLO | {"instance": "a" * 255, "name": "ü" * 255}))

    assert (255, 255) == (len(hello.instance), len(hello.name))


def test_own_hello_is_checked_too():
    """If a sender builds an impossible hello, it gets the error before it connects."""
    with pytest.raises(ValueError, match="stream 'x', expected 32 hexadecimal digits"):
        wire.Hello(stream="x", instance="a", format=wire.Format(**FORMAT))


@pytest.mark.parametrize("filler", ["x", "ü"])
def test_long_message_is_refused_before_it_is_parsed(filler):
    """The limit of 4 KiB counts bytes of UTF-8, and applies to any content."""
    error = refusal(filler * 4097)

    expected = f"control message bytes {len(filler.encode()) * 4097}, expected at most 4096"
    assert expected == str(error)
    assert 4400 == error.close_code


def test_longest_message_is_accepted():
    """A message of 4096 bytes is accepted."""
    text = as_text(CANCEL).ljust(4096)

    assert wire.Cancel(epoch=1) == wire.decode_control(text)


@pytest.mark.parametrize("bracket", ["[", '{"a":'])
def test_deep_nesting_is_refused(bracket):
    """The depth is counted before the parser recurses."""
    error = refusal('{"x":' + bracket * 600)

    assert "control message depth 601, expected at most 6" == str(error)
    assert 4400 == error.close_code


def test_depth_of_seven_is_refused():
    """One bracket more than the limit is refused."""
    assert "control message depth 7, expected at most 6" == str(refusal('{"x":[[[[[[]]]]]]}'))


def test_depth_of_six_is_accepted():
    """Unknown fields may nest as deep as the limit, even several in one message."""
    text = as_text(CANCEL | {"a": [[[[[]]]]], "b": [[[[[]]]]]})

    assert wire.Cancel(epoch=1) == wire.decode_control(text)


def test_brackets_in_strings_do_not_nest():
    """A name may have any number of brackets and escaped quotes."""
    name = '"[[[[[[[[{{{{{{{{\\'
    hello = wire.decode_control(as_text(HELLO | {"name": name}))

    assert name == hello.name


def test_text_of_quotes_costs_little():
    """If a string has no end, it is searched once, not once for each of its quotes."""
    began = time.process_time()
    for _ in range(20):
        refusal('"' + '\\"' * 2047)

    assert time.process_time() - began < 0.5


@pytest.mark.parametrize("text", ["\ud800", '{"x":"\udfff"}', '{"type":"cancel","epoch":1}\udc80'])
def test_lone_surrogates_are_refused(text):
    """Text that is not valid Unicode is refused, and the reason is valid text."""
    error = refusal(text)

    assert "surrogates not allowed" in str(error)
    assert error.reason.encode()


def test_unknown_fields_are_ignored():
    """A later minor version may add fields."""
    assert wire.Cancel(epoch=1) == wire.decode_control(as_text(CANCEL | {"why": {"x": [1]}}))


def test_defaults_are_not_sent():
    """A field with its default value costs no bytes."""
    hello = wire.decode_control(as_text(HELLO))

    assert as_text(HELLO) == wire.encode_control(hello)


def test_own_message_beyond_the_limit_is_refused():
    """If a sender has too much metadata, it gets the error before it connects."""
    metadata = {"a": "x" * 4000}
    hello = msgspec.convert(HELLO | {"metadata": metadata}, wire.Hello)

    with pytest.raises(ValueError, match=r"^hello of \d{4} bytes, expected at most 4096$"):
        wire.encode_control(hello)


def test_own_message_of_the_limit_is_sent():
    """A message of 4096 bytes is sent."""
    room = 4096 - len(
        wire.encode_control(msgspec.convert(HELLO | {"metadata": {"a": ""}}, wire.Hello))
    )
    hello = msgspec.convert(HELLO | {"metadata": {"a": "x" * room}}, wire.Hello)

    assert 4096 == len(wire.encode_control(hello))


def test_events_are_split_into_messages_that_fit():
    """As few messages as needed hold the events, in order, each within the limit."""
    events = [
        wire.Event(processor="p", offset=offset, values={"text": "x" * 1000})
        for offset in range(16)
    ]

    texts = wire.encode_events(events)

    found = [wire.decode_control(text) for text in texts]
    assert events == [event for message in found for event in message.events]
    assert 8 == len(texts)
