"""Going on anywhere gives the samples that reading straight on gives."""

import random
import threading

import pytest

from sonoduct.audio.decoding import DecodeError, GaveUp
from tests.support.corpus import FFMPEG, LOSSLESS, SOUNDFILE, encode, read_all, write

HERE = ("s16.wav", "float.wav", "ulaw.wav", "s24.flac")
CHILD = ("s24.aiff", "layer3.mp3", "opus.ogg")
PROGRAM = ("alac16.m4a", "aac.m4a")


def make(path):
    """The file of the corpus that is called so."""
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
    """Any order of offsets and lengths; the decoder that has sought goes on to the same end."""
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
def test_the_end_and_what_is_behind_it(tmp_path, opened, name):
    """At the end there is nothing more; behind it there is nothing to go on with."""
    decoder = opened(make(tmp_path / name))
    frames = len(read_all(decoder)) // decoder.format.frame_bytes
    decoder.seek(frames)

    assert b"" == decoder.read(10)
    assert b"" == decoder.read(10)
    with pytest.raises(GaveUp, match=r"frame"):
        decoder.seek(frames + 100)


def test_a_read_that_is_under_way_ends_when_it_is_closed(tmp_path, opened):
    """Whoever closes it need not wait for the decoder, even one that would take minutes."""
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
