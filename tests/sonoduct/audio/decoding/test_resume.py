"""Reading from any frame gives the same samples as reading from the start."""

import random
import threading

import pytest

from sonoduct.audio.decoding import DecodeError, GaveUp
from tests.support.corpus import FFMPEG, LOSSLESS, SOUNDFILE, encode, read_all, write

HERE = ("s16.wav", "float.wav", "ulaw.wav", "s24.flac")
CHILD = ("s24.aiff", "layer3.mp3", "opus.ogg")
PROGRAM = ("alac16.m4a", "aac.m4a")


def make(path):
    """Write the file of the corpus that has the name of *path*."""
    if path.name in SOUNDFILE:
        return write(path, SOUNDFILE[path.name])
    encode(path, *(FFMPEG.get(path.name) or LOSSLESS[path.name][1:]))
    return path


@pytest.mark.parametrize(
    ("name", "isolated", "times"),
    [
        *((name, False, 20) for name in HERE),
        *((name, False, 3) for name in CHILD + PROGRAM),
        ("s24.flac", True, 3),
    ],
)
def test_from_anywhere(tmp_path, opened, name, isolated, times):
    """After a seek to any frame, the decoder gives the same samples up to the same end."""
    path = make(tmp_path / name)
    decoder = opened(path, isolated=isolated)
    everything, width = read_all(decoder), decoder.format.frame_bytes
    frames = len(everything) // width
    chance = random.Random(name)
    for _ in range(times):
        offset, length = chance.randrange(frames), chance.randrange(1, 5000)
        decoder.seek(offset)

        assert everything[offset * width :][: length * width] == decoder.read(length)
    decoder.seek(offset)

    assert everything[offset * width :] == read_all(decoder)


@pytest.mark.parametrize("name", [HERE[0], CHILD[0], CHILD[1], PROGRAM[0]])
def test_seeking_to_the_end_and_beyond(tmp_path, opened, name):
    """At the end a read gives nothing; a seek beyond the end fails."""
    decoder = opened(make(tmp_path / name))
    frames = len(read_all(decoder)) // decoder.format.frame_bytes
    decoder.seek(frames)

    assert b"" == decoder.read(10)
    assert b"" == decoder.read(10)
    with pytest.raises(GaveUp, match=r"frame"):
        decoder.seek(frames + 100)


def test_closing_a_decoder_ends_its_read(tmp_path, opened):
    """If another thread closes the decoder, the read fails soon, even if it would take minutes."""
    path = tmp_path / "a.m4a"
    encode(path, "-c:a", "aac", frames=400_000)
    decoder = opened(path)
    failures = []

    def read():
        try:
            while True:
                decoder.seek(0)
                read_all(decoder, 100)
        except DecodeError as exc:
            failures.append(exc)

    thread = threading.Thread(target=read)
    thread.start()
    decoder.close()
    thread.join(10)

    assert not thread.is_alive()
    assert 1 == len(failures)
