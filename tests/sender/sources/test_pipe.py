"""Standard input as a source, on real pipes."""

import os
import threading

import pytest

from sender.errors import SourceError
from sender.sources.pipe import SPOOL_BYTES, Pipe, SpooledPipe, parse_raw
from sonoduct.wire import Encoding, Format
from tests.support.sounds import write

MONO = Format(samplerate=8000, channels=1, encoding=Encoding.S16LE)


@pytest.fixture(name="ends")
def _ends():
    """The two ends of a pipe: where to read and where to write."""
    reading, writing = os.pipe()
    closed = []
    yield reading, writing, lambda: closed.append(os.close(writing))
    os.close(reading)
    if not closed:
        os.close(writing)


@pytest.mark.parametrize("begun", [b"", b"aab"])
def test_close_ends_a_read_that_waits(ends, begun):
    """If a thread waits for input, it returns soon after another thread closes the pipe."""
    reading, writing, _ = ends
    pipe = Pipe(reading)
    got = []
    thread = threading.Thread(target=lambda: got.append(pipe.read_some(100)))
    thread.start()
    os.write(writing, begun)
    pipe.close()
    thread.join(5)

    assert not thread.is_alive()
    assert got[0] in (begun, b"")


def test_a_container_is_spooled(ends, tmp_path):
    """A container is decoded like a file; closing the source removes the temporary file."""
    reading, writing, close = ends
    data = write(tmp_path / "a.wav", 1000).read_bytes()
    os.write(writing, data)
    close()
    source = SpooledPipe(Pipe(reading))
    spool = source._spool.name

    assert (1000, True, "standard input") == (source.units, source.live, source.name)
    assert data[44:] == source.read(0, 1000)
    source.close()
    assert not os.path.exists(spool)  # noqa: PTH110


def test_the_same_container_is_the_same_stream(tmp_path):
    """The same bytes are the same stream, which can be resumed; other bytes are another one."""
    streams = []
    for frames in (1000, 1000, 999):
        path = write(tmp_path / f"{len(streams)}.wav", frames)
        with path.open("rb") as file:
            source = SpooledPipe(Pipe(file.fileno()))
        streams.append(source.stream)
        source.close()

    assert streams[0] == streams[1] != streams[2]


def test_a_container_that_is_too_long(ends, monkeypatch):
    """If a container is longer than the spool may be, the error names the size and the limit."""
    monkeypatch.setattr("sender.sources.pipe.SPOOL_BYTES", 10)
    reading, writing, close = ends
    os.write(writing, b"x" * 11)
    close()
    with pytest.raises(SourceError, match="standard input: 11 bytes, expected <= 10"):
        SpooledPipe(Pipe(reading))

    assert SPOOL_BYTES == 2**30


def test_raw_formats():
    """A raw format is written as ENCODING:SAMPLERATE:CHANNELS."""
    stereo = Format(samplerate=44_100, channels=2, encoding=Encoding.F32LE)

    assert MONO == parse_raw("s16le:8000:1")
    assert stereo == parse_raw("f32le:44100:2")


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        *((text, "s16le|s24le|f32le:SAMPLERATE:CHANNELS") for text in ("", "s16le", "s16le:8000")),
        *((text, "s16le|s24le|f32le:SAMPLERATE:CHANNELS") for text in ("u8:8000:1", "s16le:x:1")),
        *((text, "samplerate 1 to 768000") for text in ("s16le:0:1", "s16le:768001:1")),
        *((text, "channels 1 to 64") for text in ("s16le:8000:0", "s16le:8000:65")),
    ],
)
def test_wrong_raw_formats(text, expected):
    """The error names the text that was given and the form that was expected."""
    with pytest.raises(ValueError, match="expected") as raised:
        parse_raw(text)

    assert str(raised.value).startswith(f"{text!r}, expected ")
    assert expected in str(raised.value)
