"""Converted samples are the same from every offset, and exact if the conversion allows it."""

import random
import threading
import time
from contextlib import ExitStack

import numpy as np
import pytest
import soundfile
import soxr
from hypothesis import given, settings
from hypothesis import strategies as st

from sender.errors import SourceError
from sender.sources.converted import Conversion, Converter, converted, parse_channels
from sender.sources.file import AudioFile
from sonoduct.audio.samples import to_float32
from sonoduct.wire import Encoding, Format
from tests.support.sounds import noise, same, samples, write

FORMAT = Format(samplerate=44_100, channels=2, encoding=Encoding.F32LE)


@pytest.fixture(name="opened")
def _opened():
    """Opens a file with a conversion; closes it after the test."""
    with ExitStack() as stack:

        def opened(path, encoding=None, **how):
            source = converted(AudioFile(path, encoding), Conversion(**how), encoding)
            stack.callback(source.close)
            return source

        yield opened


def everything(source, units=10_000):
    """Return all frames of *source* as an array."""
    data, offset = b"", 0
    while piece := source.read(offset, units):
        data += piece
        offset += len(piece) // source.format.frame_bytes
    return to_float32(data, source.format.encoding, source.format.channels)


@pytest.mark.parametrize("subtype", ["PCM_16", "PCM_24", "FLOAT"])
def test_picked_channels_are_exact(opened, tmp_path, subtype):
    """The samples have the order that was asked for, and the encoding of the source."""
    path = write(tmp_path / "a.wav", 10_000, 4, subtype)
    plain, picked = opened(path), opened(path, channels=(3, 1))

    assert plain.format.encoding is picked.format.encoding
    assert (2, 10_000) == (picked.format.channels, picked.units)
    assert same(samples(path)[:, [2, 0]], everything(picked))
    assert picked.read(5000, 7) == picked.read(4000, 1007)[-7 * picked.format.frame_bytes :]


@pytest.mark.parametrize("subtype", ["PCM_16", "PCM_24", "FLOAT"])
@pytest.mark.parametrize("channels", [2, 3, 7])
def test_a_mix_is_the_mean(opened, tmp_path, subtype, channels):
    """The channels are summed in float64; the sum is divided once and rounded once."""
    path = write(tmp_path / "a.wav", 10_000, channels, subtype)
    mixed = opened(path, mono=True)
    total = sum(channel.astype(np.float64) for channel in samples(path).T)

    assert (1, Encoding.F32LE) == (mixed.format.channels, mixed.format.encoding)
    assert same((total / channels).astype(np.float32)[:, np.newaxis], everything(mixed))


def test_only_picked_channels_are_mixed(opened, tmp_path):
    """If channels are picked as well, they are picked before the mix."""
    path = write(tmp_path / "a.wav", 1000, 3)
    expected = samples(path)[:, [0, 2]].astype(np.float64).mean(axis=1, keepdims=True)

    assert same(expected.astype(np.float32), everything(opened(path, mono=True, channels=(1, 3))))


@pytest.mark.parametrize("samplerate", [8000, 16_000, 44_101, 96_000])
def test_resampled_frames_equal_soxrs(opened, tmp_path, samplerate):
    """Read block by block, they equal one run of soxr, and are as many as the source claims."""
    path = write(tmp_path / "a.wav", 100_003, 2, "PCM_24", samplerate=44_100)
    source = opened(path, samplerate=samplerate)
    whole = soxr.resample(samples(path), 44_100, samplerate, "VHQ")

    assert (samplerate, Encoding.F32LE) == (source.format.samplerate, source.format.encoding)
    assert source.units == len(whole)
    assert same(whole, everything(source))


@pytest.mark.parametrize("name", ["a.wav", "a.flac", "a.ogg", "a.mp3"])
def test_a_read_gives_the_same_wherever_it_starts(opened, tmp_path, name):
    """Reads of any order and size give the same frames, from each kind of file."""
    path, choose = tmp_path / name, random.Random(7)
    soundfile.write(path, 0.3 * noise(60_000, 2), 44_100)
    how = {"samplerate": 16_000, "mono": True}
    expected = everything(opened(path, **how))
    source = opened(path, **how)
    for _ in range(6):
        offset, units = choose.randrange(len(expected)), choose.randrange(1, 9000)
        data = to_float32(source.read(offset, units), Encoding.F32LE, 1)

        assert same(expected[offset : offset + units], data)
    assert b"" == source.read(len(expected), 1)
    with pytest.raises(SourceError, match=f"ends at {len(expected)}, expected 99999"):
        source.read(99_999, 1)


@given(st.lists(st.integers(0, 6000), max_size=12))
@settings(max_examples=30, deadline=None)
def test_cuts_make_no_difference(cuts):
    """However the input is cut, the converter gives the same frames."""
    data = noise(30_000, 2).tobytes()
    once = Converter(Conversion(16_000), FORMAT, None, "x").convert(data, last=True)
    pieces, converter = [], Converter(Conversion(16_000), FORMAT, None, "x")
    for cut in cuts:
        pieces.append(converter.convert(data[: cut * 8]))
        data = data[cut * 8 :]
    pieces.append(converter.convert(data, last=True))

    assert once == b"".join(pieces)


def test_two_threads_read_one_source(opened, tmp_path, monkeypatch):
    """If a connection is lost during a read, the next one's reads are right all the same."""
    path = write(tmp_path / "a.wav", 100_000)
    expected = opened(path, samplerate=8000).read(0, 50_000)
    source, seen, read_once = opened(path, samplerate=8000), [], AudioFile.read

    def read_and_yield(*arguments):
        time.sleep(1e-4)  # lets the other thread run
        return read_once(*arguments)

    monkeypatch.setattr(AudioFile, "read", read_and_yield)

    def read(offset):
        seen.extend((offset, source.read(offset, 1000)) for _ in range(5))

    threads = [threading.Thread(target=read, args=(offset,)) for offset in (5_000, 30_000)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()

    assert {
        (offset, expected[4 * offset : 4 * offset + 4000]) for offset in (5_000, 30_000)
    } == set(seen)


def test_a_conversion_without_effect_is_left_out(opened, tmp_path):
    """The stream is the same as without the conversion, so that a receiver recognises it."""
    path = write(tmp_path / "a.wav", 100, 2)
    plain = opened(path)
    nothing = opened(path, samplerate=16_000, channels=(1, 2))
    mono = write(tmp_path / "b.wav", 100)

    assert isinstance(nothing, AudioFile)
    assert nothing.stream == plain.stream
    assert isinstance(opened(mono, mono=True), AudioFile)


def test_every_conversion_is_a_stream_of_its_own(opened, tmp_path):
    """Each conversion has its own stream id, which is the same in every run."""
    path = write(tmp_path / "a.wav", 100, 3)
    hows = (
        {},
        *({"channels": channels} for channels in ((1,), (2,), (1, 2), (2, 1), (1, 2, 3))),
        *({"mono": True, "channels": channels} for channels in ((), (1, 2))),
        *({"samplerate": samplerate} for samplerate in (8000, 48_000)),
        {"samplerate": 8000, "mono": True},
    )
    streams = [opened(path, **how).stream for how in hows]

    assert streams == [opened(path, **how).stream for how in hows]
    assert len(hows) - 1 == len(set(streams)), "naming all channels is the same as naming none"


@pytest.mark.parametrize(
    ("encoding", "how", "message"),
    [
        (None, {"channels": (1, 3)}, "channel 3, expected 1 to 2"),
        (None, {"samplerate": 62}, "samplerate 62, expected 63 to 4096000"),
        (Encoding.S16LE, {"mono": True}, "s16le cannot hold mixed or resampled samples exactly"),
        (Encoding.S24LE, {"samplerate": 8000}, "s24le cannot hold mixed or resampled samples"),
    ],
)
def test_impossible_conversions(opened, tmp_path, encoding, how, message):
    """The error names the file, the value seen and the value expected."""
    path = write(tmp_path / "a.wav", 100, 2)
    with pytest.raises(SourceError, match=f"{path}: {message}") as raised:
        opened(path, encoding, **how)

    assert ", expected " in str(raised.value)


def test_infinities_give_no_warning(opened, tmp_path):
    """Infinite samples can be mixed; the mix may be NaN."""
    path = tmp_path / "a.wav"
    soundfile.write(path, np.array([[np.inf, -np.inf], [1.0, 0.5]]), 8000, "FLOAT")
    mixed = everything(opened(path, mono=True))

    assert np.isnan(mixed[0, 0])
    assert 0.75 == mixed[1, 0]


def test_channel_lists():
    """A list of channels has numbers with commas in between."""
    assert (1, 3) == parse_channels("1,3")
    assert (64,) == parse_channels("64")


@pytest.mark.parametrize("text", ["", "0", "65", "1,1", "1,,2", "1 2", "a", "-1", "²", "1,"])
def test_wrong_channel_lists(text):
    """The error names the text and the expected numbers."""
    with pytest.raises(ValueError, match="expected different numbers from 1 to 64") as raised:
        parse_channels(text)

    assert str(raised.value).startswith(f"channels {text!r}, ")
