"""Files whose header is unfinished or false."""

import io
import os

import numpy as np
import pytest
import soundfile

from sonoduct.audio.decoding import NotAudio
from sonoduct.audio.decoding.sndfile import Shown, SndFile, SndFileError
from sonoduct.audio.samples import to_float32
from tests.support.corpus import RATE, ffmpeg, read_all, tone, truth, write

NO_FFMPEG = "no-such-program"
FRAMES = 5000


def samples(decoder):
    """Return all frames of *decoder* as a receiver's array."""
    return to_float32(read_all(decoder), decoder.format.encoding, decoder.format.channels)


KILLED = [
    ("WAV", "PCM_16", "FILE"),
    ("WAV", "PCM_24", "BIG"),
    ("WAVEX", "FLOAT", "FILE"),
    ("W64", "PCM_24", "FILE"),
    ("RF64", "PCM_16", "FILE"),
    ("RF64", "PCM_24", "FILE"),
    ("AIFF", "PCM_24", "FILE"),
    ("AIFF", "PCM_16", "LITTLE"),
    ("AIFF", "FLOAT", "FILE"),
    ("AIFF", "ULAW", "FILE"),
    ("AU", "PCM_16", "FILE"),
    ("AU", "FLOAT", "FILE"),
    ("AU", "PCM_24", "LITTLE"),
    ("CAF", "PCM_16", "FILE"),
    ("CAF", "PCM_24", "LITTLE"),
    ("VOC", "PCM_16", "FILE"),
    ("NIST", "PCM_16", "FILE"),
]


@pytest.mark.parametrize("isolated", [False, True], ids=["here", "isolated"])
@pytest.mark.parametrize("recorder", KILLED, ids="-".join)
def test_a_recorder_that_was_killed(tmp_path, opened, recorder, isolated):
    """If libsndfile was killed before it rewrote the header, every written sample is decoded."""
    path, made = tmp_path / "killed", tmp_path / "made"
    form, subtype, endian = recorder
    channels = 1 if subtype == "PCM_16" else 2
    sound = tone(FRAMES, channels)
    how = (RATE, channels, subtype, endian, form)
    with soundfile.SoundFile(made, "w", *how) as file:
        file.write(sound)
        path.write_bytes(made.read_bytes())  # libsndfile has written all of it
    decoder = opened(path, isolated=isolated, ffmpeg=NO_FFMPEG)

    assert np.array_equal(truth(made), samples(decoder))
    assert "" == decoder.warning


@pytest.mark.parametrize(
    "how",
    [("wav",), ("wav", "-rf64", "always"), ("w64",), ("aiff",), ("au",), ("caf",)],
    ids=" ".join,
)
def test_files_that_were_written_into_a_pipe(tmp_path, opened, how):
    """The writer could not go back to write the length; every sample is decoded."""
    source = write(tmp_path / "source.wav", "PCM_16", FRAMES, 2)
    form, *options = how
    codec = "pcm_s16le" if form in ("wav", "w64") else "pcm_s16be"
    data = ffmpeg("-i", source, "-c:a", codec, *options, "-f", form, "-")
    (tmp_path / "a").write_bytes(data)
    decoder = opened(tmp_path / "a", ffmpeg=NO_FFMPEG)

    assert np.array_equal(truth(source), samples(decoder))
    assert "" == decoder.warning


def made(form, subtype="PCM_24", channels=2):
    """Return a file's bytes."""
    file = io.BytesIO()
    soundfile.write(file, tone(FRAMES, channels), RATE, subtype, format=form)
    return file.getvalue()


FIELDS = {
    "WAV": (lambda data: data.index(b"data") + 4, 4, "little", 0),
    "RF64": (lambda _: 28, 8, "little", 0),
    "BW64": (lambda _: 28, 8, "little", 0),
    "AIFF": (lambda data: data.index(b"SSND") + 4, 4, "big", 8),
    "AU": (lambda _: 8, 4, "big", 0),
    "CAF": (lambda data: data.rindex(b"data") + 4, 8, "big", 4),
}
"""The length in each kind of file: its place, its size, its order, and bytes that it adds."""

WIDTH = 6
CUT = FRAMES * WIDTH // 2 + 1

LIES = {
    "nothing": (0, FRAMES, ""),
    "all ones": (-1, FRAMES, ""),
    "the middle": (None, FRAMES, ""),
    "twice": (2 * FRAMES * WIDTH, FRAMES, "cut off: 30000 bytes, the file claims 60000"),
    "half": (
        *(FRAMES * WIDTH // 2, FRAMES // 2),
        "15000 bytes behind the 15000 that the file claims were left out",
    ),
}


def claiming(form, claimed):
    """Return a file's bytes that claim *claimed* bytes of samples; None for a 1 and zeros."""
    data = bytearray(made("RF64" if form == "BW64" else form))
    at, size, order, besides = FIELDS[form]
    if claimed is None:
        value = 1 << 8 * size - 1
    else:
        value = (claimed + (besides if claimed > 0 else 0)) % (1 << 8 * size)
    data[at(data) : at(data) + size] = value.to_bytes(size, order)
    if form == "BW64":
        data[:4] = b"BW64"
    return bytes(data)


@pytest.mark.parametrize("isolated", [False, True], ids=["here", "isolated"])
@pytest.mark.parametrize("form", FIELDS)
@pytest.mark.parametrize("lie", LIES)
def test_false_lengths(tmp_path, opened, form, lie, isolated):
    """An unknown length gives no warning; a length that is too large or too small gives one."""
    claimed, frames, warning = LIES[lie]
    (tmp_path / "a").write_bytes(claiming(form, claimed))
    (tmp_path / "true").write_bytes(made("WAV"))
    decoder = opened(tmp_path / "a", isolated=isolated, ffmpeg=NO_FFMPEG)

    assert np.array_equal(truth(tmp_path / "true")[:frames], samples(decoder))
    assert warning == decoder.warning


@pytest.mark.parametrize("form", FIELDS)
def test_cut_within_a_frame(tmp_path, opened, form):
    """The whole frames are decoded; if the length is known, there is a warning."""
    expected = FRAMES // 2
    for claimed in (FRAMES * WIDTH, -1):
        data = claiming(form, claimed)
        (tmp_path / "a").write_bytes(data[: len(data) - FRAMES * WIDTH + CUT])
        decoder = opened(tmp_path / "a", ffmpeg=NO_FFMPEG)

        # Some kinds have bytes behind the samples, which the cut removes first.
        assert expected <= len(samples(decoder)) <= expected + 8
        assert claimed < 0 or decoder.warning.startswith("cut off: ")


@pytest.mark.parametrize("form", FIELDS)
def test_from_anywhere(tmp_path, opened, form):
    """If the header was mended, a read from any frame gives the same samples."""
    (tmp_path / "a").write_bytes(claiming(form, 0))
    decoder = opened(tmp_path / "a", ffmpeg=NO_FFMPEG)
    everything = read_all(decoder)
    for offset in (4000, 1, 4999):
        decoder.seek(offset)

        assert everything[WIDTH * offset :] == read_all(decoder)


CHUNK = b"LIST\x06\0\0\0INFOab"


@pytest.mark.parametrize(
    ("behind", "warned"),
    [
        (CHUNK, False),
        (CHUNK + b"cue \x05\0\0\0abcde\0" + bytes(100), False),
        (CHUNK + b"abcd\x05\0\0\0abcde", False),
        (b"LIST\xff\xff\xff\x7fINFO", False),
        (bytes(3000), False),
        (b"\0", False),
        (b"\r\n\r\n", False),
        (CHUNK + b"\r\n\r\n", False),
        (b"12345678", False),
        (b"123456789", True),
        (b"data\x06\0\0\0abcdef", True),
        (CHUNK + b"data\x06\0\0\0abcdef", True),
        (b"\x01\x02\x03\x04" * 100, True),
        (CHUNK + b"\x01\x02\x03\x04" * 100, True),
        (b"abcd\xff\xff\xff\x7f" + bytes(100) + b"x", True),
    ],
)
@pytest.mark.parametrize("channels", [1, 2])
def test_bytes_behind_the_samples(tmp_path, opened, behind, warned, channels):
    """
    Chunks, zeros and a few bytes give no warning.

    Samples that the header does not count give one.
    """
    path = write(tmp_path / "a.wav", "PCM_U8", 999, channels)
    expected = truth(path)
    path.write_bytes(path.read_bytes()[: 44 + 999 * channels] + behind)
    decoder = opened(path, ffmpeg=NO_FFMPEG)

    assert np.array_equal(expected, samples(decoder))
    assert warned == ("were left out" in decoder.warning)


@pytest.mark.parametrize("form", ["WAV", "RF64", "AIFF", "AU", "CAF"])
def test_joined_files(tmp_path, opened, form):
    """Libsndfile decodes the first file, and a warning tells of the bytes behind it."""
    data = made(form, "PCM_16", 1)
    (tmp_path / "a").write_bytes(data)
    expected = truth(tmp_path / "a")
    (tmp_path / "a").write_bytes(data * 2)
    decoder = opened(tmp_path / "a", ffmpeg=NO_FFMPEG)

    assert np.array_equal(expected, samples(decoder))
    assert f"behind the {2 * FRAMES} that the file claims were left out" in decoder.warning


def test_a_header_followed_only_by_chunks(tmp_path, opened):
    """The chunks are not taken for samples, although the header claims 0 bytes."""
    for form in ("WAV", "AIFF"):
        file = io.BytesIO()
        soundfile.write(file, tone(0), RATE, format=form)
        (tmp_path / "a").write_bytes(file.getvalue() + CHUNK)
        with pytest.raises(NotAudio, match="^0 frames, expected at least 1$"):
            opened(tmp_path / "a")


def test_a_read_that_fails_is_no_end(tmp_path):
    """Libsndfile takes a failed read for the end of the file; SndFile raises the error."""
    path = write(tmp_path / "a.aiff", "PCM_16", 100_000)
    with path.open("rb") as file:
        descriptor = os.dup(file.fileno())
    sound = SndFile(descriptor, shown=Shown(0, path.stat().st_size))
    assert 200 == len(sound.read(100))
    os.close(descriptor)
    with pytest.raises(SndFileError, match="^Bad file descriptor$"):
        sound.read(100)
    sound.close()
