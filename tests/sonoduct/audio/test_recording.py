"""Recordings hold every sample exactly, in every format."""

import random

import numpy as np
import pytest
import soundfile

import sonoduct.audio.recording
from sonoduct.audio.recording import (
    container_for,
    digest_recording,
    read_recording,
    write_recording,
)
from sonoduct.wire import Encoding, Format, StorageFailed
from tests.support.rawclient import digest, sound

FRAMES = 3000
DTYPES = {"s16le": "<i2", "s24le": "<i4", "f32le": "<f4"}


def form(encoding="s16le", channels=2, samplerate=44_100):
    """Return a format."""
    return Format(samplerate=samplerate, channels=channels, encoding=Encoding(encoding))


def pieces(source, width):
    """Cut *source* into payloads of one frame and more."""
    chance, at = random.Random(0), 0
    while at < len(source):
        size = width * chance.choice((1, 7, 160, 1000))
        yield source[at : at + size]
        at += size


def written(path, made, container="wav", source=None):
    """Write a recording; return the samples that it should hold."""
    source = sound(FRAMES, made) if source is None else source
    frames = len(source) // made.frame_bytes
    write_recording(path, made, container, frames, pieces(source, made.frame_bytes))
    return source


@pytest.mark.parametrize("channels", [1, 2, 5])
@pytest.mark.parametrize(
    ("encoding", "container"),
    [("s16le", "wav"), ("s24le", "wav"), ("f32le", "wav"), ("s16le", "flac"), ("s24le", "flac")],
)
def test_samples_are_exact(tmp_path, encoding, container, channels):
    """Reading gives back the bytes that were written, and soundfile reads the same samples."""
    made, path = form(encoding, channels), tmp_path / f"a.{container}"
    source = written(path, made, container)
    raw = np.frombuffer(source, np.uint8).reshape(-1, made.encoding.sample_bytes)
    if encoding == "s24le":  # soundfile gives 24 bits as the upper ones of 32
        raw = np.pad(raw, ((0, 0), (1, 0)))
    expected = np.ascontiguousarray(raw).view(DTYPES[encoding]).reshape(-1, channels)
    dtype = {"s16le": "int16", "s24le": "int32", "f32le": "float32"}[encoding]
    samples, samplerate = soundfile.read(path, dtype=dtype, always_2d=True)

    assert source == b"".join(read_recording(path, made))
    assert (44_100, expected.tobytes()) == (samplerate, samples.tobytes())
    assert container.upper() == soundfile.info(path).format
    assert digest(source, made) == digest_recording(path, made).hexdigest()


@pytest.mark.parametrize(
    ("encoding", "container"),
    [("s16le", "wav"), ("s24le", "wav"), ("s16le", "flac"), ("s24le", "flac")],
)
def test_the_largest_and_smallest_samples(tmp_path, encoding, container):
    """A recording scales, clips and dithers nothing."""
    made, size = form(encoding, 1), form(encoding, 1).frame_bytes
    values = (0, 1, -1, 2 ** (8 * size - 1) - 1, -(2 ** (8 * size - 1)))
    source = b"".join(each.to_bytes(size, "little", signed=True) for each in values) * 100

    assert source == b"".join(read_recording(_made(tmp_path, made, container, source), made))


def test_floats_of_all_kinds(tmp_path):
    """Values beyond 1, denormals, negative zero, infinities and NaN are kept bit for bit."""
    made = form("f32le", 1)
    values = [1.5, -3e38, 1e-45, -0.0, float("inf"), float("-inf"), float("nan")]
    source = np.array(values, "<f4").tobytes()

    assert source == b"".join(read_recording(_made(tmp_path, made, "wav", source), made))


@pytest.mark.parametrize("requested", ["wav", "flac"])
def test_an_empty_stream(tmp_path, requested):
    """An empty stream becomes a file without frames, even if FLAC was requested."""
    made = form()
    path = _made(tmp_path, made, container_for(made, requested, 0), b"")

    assert 0 == soundfile.info(path).frames
    assert [] == list(read_recording(path, made))


@pytest.mark.parametrize(
    ("made", "expected"),
    [
        (form(), "flac"),
        (form("s24le", 8, 655_350), "flac"),
        (form("f32le"), "wav"),
        (form(channels=9), "wav"),
        (form(samplerate=655_351), "wav"),
        (form(samplerate=65_537), "wav"),
    ],
    ids=["plain", "most", "floats", "channels", "samplerate", "odd samplerate"],
)
def test_flac_where_it_fits(tmp_path, made, expected):
    """If FLAC cannot hold a stream exactly, WAV is chosen; the chosen kind holds every sample."""
    container = container_for(made, "flac", FRAMES)

    assert (expected, "wav") == (container, container_for(made, "wav", FRAMES))
    path = tmp_path / "a"
    assert written(path, made, container) == b"".join(read_recording(path, made))


@pytest.mark.parametrize("encoding", ["s16le", "s24le", "f32le"])
def test_more_bytes_than_wav_counts_go_into_rf64(tmp_path, monkeypatch, encoding):
    """One frame beyond WAV's limit makes the file an RF64, and the samples are exact."""
    made = form(encoding)
    monkeypatch.setattr(sonoduct.audio.recording, "WAV_BYTES", FRAMES * made.frame_bytes)
    fits = written(tmp_path / "a.wav", made)
    more = fits + fits[: made.frame_bytes]
    written(tmp_path / "b.wav", made, source=more)
    kinds = [(tmp_path / name).read_bytes()[:4] for name in ("a.wav", "b.wav")]

    assert [b"RIFF", b"RF64"] == kinds
    assert more == b"".join(read_recording(tmp_path / "b.wav", made))


def test_a_file_is_never_replaced(tmp_path):
    """If the path exists already, writing fails, and the file stays as it is."""
    path = tmp_path / "a.wav"
    path.write_text("mine")
    with pytest.raises(StorageFailed, match="a.wav"):
        written(path, form())

    assert "mine" == path.read_text()


def test_another_format_is_not_read(tmp_path):
    """The error names the format of the file and the expected one."""
    path = _made(tmp_path, form(), "wav", b"")

    with pytest.raises(StorageFailed) as raised:
        list(read_recording(path, form("s24le", 1)))
    text = f"{path}: format (44100, 2, 'PCM_16'), expected (44100, 1, 'PCM_24')"
    assert text == str(raised.value)


@pytest.mark.parametrize("content", [None, b"", b"no audio"])
def test_a_missing_or_strange_recording(tmp_path, content):
    """If the file is missing or no audio, the storage has failed."""
    path = tmp_path / "a.wav"
    if content is not None:
        path.write_bytes(content)

    with pytest.raises(StorageFailed, match="a.wav"):
        list(read_recording(path, form()))


def test_a_folder_that_is_missing(tmp_path):
    """If the folder is missing, the storage has failed."""
    with pytest.raises(StorageFailed, match="missing"):
        written(tmp_path / "missing" / "a.wav", form())


def _made(folder, made, container, source):
    path = folder / f"a.{container}"
    written(path, made, container, source)
    return path
