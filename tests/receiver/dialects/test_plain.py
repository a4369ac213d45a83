"""The tutorial's dialect without a network: bytes in, chunks out."""

import itertools
import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from receiver.dialects.plain import Plain
from sonoduct import wire

STEREO = wire.Format(samplerate=44100, channels=2, encoding=wire.Encoding.F32LE)
FRAME = STEREO.frame_bytes


class Talk:
    """A dialect, driven as a session drives it: each hello is answered before the next data."""

    def __init__(self, target="/", max_chunk=64, default=STEREO):
        self.dialect = Plain(target, default)
        self.hello = None
        self._max_chunk = max_chunk
        assert [] == list(self.dialect.greet())

    def decode(self, data):
        """Return the messages of *data*, without the hello."""
        return self._handled(self.dialect.decode(data))

    def closed(self, code=1000):
        """Return the messages of a close."""
        return self._handled(self.dialect.closed(code))

    def encode(self, message):
        return self.dialect.encode(message)

    def _handled(self, messages):
        rest = []
        for message in messages:
            if isinstance(message, wire.Hello):
                assert self.hello is None
                self.hello = message
                opened = wire.Opened(epoch=7, offset=0, window=1000, max_chunk=self._max_chunk)
                assert [] == list(self.dialect.encode(opened))
            else:
                rest.append(message)
        return rest


def opened(target="/", max_chunk=64, default=STEREO):
    """Return a dialect that waits for audio."""
    return Talk(target, max_chunk, default)


def pcm_of(chunks):
    """Return the joined payloads of *chunks*."""
    return b"".join(bytes(chunk.payload) for chunk in chunks)


def pieces(payload, cuts):
    """Return *payload*, cut at the offsets *cuts*."""
    edges = [0, *sorted(cuts), len(payload)]
    return [payload[start:end] for start, end in itertools.pairwise(edges)]


@given(
    frames=st.integers(0, 60),
    cuts=st.lists(st.integers(0, 60 * FRAME), max_size=12),
    max_chunk=st.integers(FRAME, 100),
)
def test_messages_may_be_cut_anywhere(frames, cuts, max_chunk):
    """Chunks have whole frames, join without a gap, and give the digest of the whole payload."""
    payload = bytes(n % 101 for n in range(frames * FRAME))
    dialect = opened(max_chunk=max_chunk)
    cut = pieces(payload, [min(each, len(payload)) for each in cuts])

    *chunks, eos = [each for data in [*cut, "Done"] for each in dialect.decode(data)]

    assert payload == b"".join(chunk.payload for chunk in chunks)
    assert [0, *(chunk.end for chunk in chunks)] == [*(chunk.offset for chunk in chunks), frames]
    assert all(chunk == wire.decode_chunk(chunk.message) for chunk in chunks)
    assert all(chunk.epoch == 7 and 0 < len(chunk.payload) <= max_chunk for chunk in chunks)
    assert frames == eos.units
    whole = wire.Digest()
    if frames:
        whole.update(0, frames, payload)
    assert whole.hexdigest() == eos.digest


def test_the_answer_says_what_arrived():
    """One JSON text with the facts, then Done!."""
    dialect = opened()
    list(dialect.decode(bytes(FRAME)))
    list(dialect.decode(bytes(2 * FRAME)))
    list(dialect.decode("Done"))
    receipt = wire.Receipt(
        stream="0" * 32,
        units=3,
        digest="d",
        frames=3,
        samplerate=44100,
        channels=2,
        seconds=0.5,
        durable=False,
    )

    facts, done = dialect.encode(wire.Committed(epoch=7, receipt=receipt))

    assert {"frames": 3, "chunks": 2, "seconds": 0.5, "digest": "d"} == json.loads(facts)
    assert "Done!" == done


@pytest.mark.parametrize(
    "message",
    [
        wire.Ack(epoch=7, durable=0, received=3, window=10),
        wire.Event(processor="levels", offset=0, values={}),
        wire.Drain(retry_ms=5),
    ],
)
def test_other_messages_are_not_for_plain_clients(message):
    """The dialect sends no ack, event or drain, which a plain client would not understand."""
    assert [] == list(opened().encode(message))


@pytest.mark.parametrize(
    ("target", "samplerate", "channels"),
    [
        ("/", 44100, 2),
        ("/?", 44100, 2),
        ("/?samplerate=8000", 8000, 2),
        ("/?channels=1", 44100, 1),
        ("/?samplerate=768000&channels=64", 768000, 64),
        ("/?samplerate=000000001&channels=01", 1, 1),
        ("/?samplerate=1&samplerate=2", 2, 2),
    ],
)
def test_the_format_comes_from_the_address(target, samplerate, channels):
    """The settings give each part of the format that the query does not give."""
    talk = opened(target, max_chunk=1024)
    talk.decode(bytes(16 * 64 * 4))
    hello = talk.hello

    expected = wire.Format(samplerate=samplerate, channels=channels, encoding=wire.Encoding.F32LE)
    assert expected == hello.format


@pytest.mark.parametrize(
    ("query", "sentence"),
    [
        ("samplerate=abc", "samplerate 'abc', expected 1 to 768000"),
        ("samplerate=0", "samplerate '0', expected 1 to 768000"),
        ("samplerate=768001", "samplerate '768001', expected 1 to 768000"),
        ("samplerate=-1", "samplerate '-1', expected 1 to 768000"),
        ("samplerate=8e3", "samplerate '8e3', expected 1 to 768000"),
        ("samplerate=%D9%A1", "samplerate '١', expected 1 to 768000"),
        ("samplerate=", "samplerate '', expected 1 to 768000"),
        ("samplerate=0004410012345", "samplerate '0004410012345', expected 1 to 768000"),
        (f"samplerate=1{'0' * 5000}", f"samplerate '1{'0' * 39}', expected 1 to 768000"),
        ("channels=0", "channels '0', expected 1 to 64"),
        ("channels=65", "channels '65', expected 1 to 64"),
        ("channels=00000000199", "channels '00000000199', expected 1 to 64"),
        ("foo=1", "query ['foo'], expected samplerate, channels and encoding"),
        ("foo", "query ['foo'], expected samplerate, channels and encoding"),
        (
            "channels=1&Samplerate=1",
            "query ['Samplerate'], expected samplerate, channels and encoding",
        ),
    ],
)
def test_rubbish_in_the_address_is_refused(query, sentence):
    """One sentence has the value seen and the value expected."""
    with pytest.raises(wire.Malformed) as caught:
        Plain(f"/?{query}", STEREO).greet()

    assert sentence == str(caught.value)


@pytest.mark.parametrize("text", ["", "done", "Done ", "Done!", "x" * 100, "\ud800"])
def test_text_that_is_not_done_is_refused(text):
    """The dialect knows one text only: Done."""
    with pytest.raises(wire.Malformed) as caught:
        opened().decode(text)

    assert f"text {text[:40]!r}, expected 'Done'" == str(caught.value)


@pytest.mark.parametrize("extra", range(1, FRAME))
def test_a_stream_ends_with_a_whole_frame(extra):
    """Bytes that fill no frame at the end are an error, never dropped."""
    dialect = opened()
    list(dialect.decode(bytes(FRAME + extra)))

    with pytest.raises(wire.Malformed) as caught:
        list(dialect.decode("Done"))

    assert f"{extra}, expected a multiple of 8 (2 channels)" in str(caught.value)
