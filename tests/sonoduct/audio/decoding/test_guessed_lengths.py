"""MP3 and Ogg files with no length or a false one are decoded whole, or there is a warning."""

import random
import time

import numpy as np
import pytest

from sonoduct.audio.decoding import NoDecoder
from sonoduct.audio.decoding.containers import ogg
from sonoduct.audio.decoding.containers.mpeg import parse_frame
from sonoduct.audio.decoding.containers.ogg import counter_of
from sonoduct.audio.decoding.containers.part import Part
from sonoduct.audio.samples import to_float32
from tests.sonoduct.audio.decoding.test_tags import ID3V1, LYRICS3V2, ape
from tests.support import oggpages
from tests.support.corpus import ffmpeg, read_all, truth, write

RATE = 44_100
SECONDS = 4
SAMPLES = 1152
"""Samples of each MPEG frame."""

NO_FFMPEG = "no-such-program"


def samples(decoder):
    """All frames of *decoder* as a receiver has them."""
    return to_float32(read_all(decoder), decoder.format.encoding, decoder.format.channels)


@pytest.fixture(name="vbr", scope="module")
def _vbr(tmp_path_factory):
    """A list of MP3 frames, of which the first ones are small and the later ones large."""
    folder = tmp_path_factory.mktemp("vbr")
    return mp3_frames(encoded(folder, "-q:a", "2", "-write_xing", "0"))


def encoded(folder, *how):
    """Return an MP3 without tags: a sine, and noise in its second half."""
    sine = "0.2*sin(1000*t)"
    source = f"aevalsrc={sine}+gte(t\\,{SECONDS / 2})*0.7*(random(0)-0.5):s={RATE}:d={SECONDS}"
    ffmpeg("-f", "lavfi", "-i", source, *how, "-id3v2_version", "0", folder / "made.mp3")
    return (folder / "made.mp3").read_bytes()


def mp3_frames(data):
    """Return a list of the frames of *data*."""
    found, at = [], 0
    while frame := parse_frame(data[at : at + 4]):
        found.append(data[at : at + frame.length])
        at += frame.length
    return found


@pytest.mark.parametrize("skipped", [0, 2, 60])
@pytest.mark.parametrize("where", [False, True], ids=["here", "isolated"])
def test_an_mp3_without_a_length(tmp_path, opened, vbr, skipped, where):
    """All frames are decoded, although libsndfile guesses fewer from the size of the first one."""
    path = tmp_path / "a.mp3"
    path.write_bytes(b"".join(vbr[skipped:]))
    guessed, expected = truth(path), SAMPLES * (len(vbr) - skipped)
    decoder = opened(path, isolated=where, ffmpeg=NO_FFMPEG)

    assert ("soundfile", expected) == (decoder.decoder, decoder.frames)
    found = samples(decoder)
    assert expected == len(found)
    assert np.array_equal(guessed, found[: len(guessed)])
    other = np.frombuffer(ffmpeg("-i", path, "-f", "f32le", "-"), "<f4")
    assert np.allclose(other, found[:, 0], atol=1e-4)
    assert "" == decoder.warning


def test_that_libsndfile_guesses_too_few(tmp_path, vbr):
    """If libsndfile guessed enough, the test above would prove nothing."""
    path = tmp_path / "a.mp3"
    path.write_bytes(b"".join(vbr))

    assert len(truth(path)) < 0.9 * SAMPLES * len(vbr)


def test_resuming_where_libsndfile_would_have_ended(tmp_path, opened, vbr):
    """A read from any frame gives the same samples as reading from the start."""
    path = tmp_path / "a.mp3"
    path.write_bytes(b"".join(vbr))
    everything = read_all(opened(path))
    decoder, chance = opened(path), random.Random(0)
    for offset in (chance.randrange(SAMPLES * len(vbr) - 2000) for _ in range(3)):
        decoder.seek(offset)

        assert everything[4 * offset :][:8000] == decoder.read(2000)


@pytest.mark.parametrize("how", ["-q:a", "-b:a"])
def test_a_first_frame_without_a_count(tmp_path, opened, how):
    """If the first frame describes the file but has no count, all frames after it are decoded."""
    data = bytearray(encoded(tmp_path, how, "2" if how == "-q:a" else "96k"))
    frames = mp3_frames(data)
    at = max(data.find(b"Xing"), data.find(b"Info"))
    data[at + 7] &= 0xFE
    (tmp_path / "a.mp3").write_bytes(data)
    decoder = opened(tmp_path / "a.mp3", ffmpeg=NO_FFMPEG)

    assert SAMPLES * (len(frames) - 1) == len(samples(decoder))
    assert "" == decoder.warning


@pytest.mark.parametrize(("claimed", "decoder"), [(0, "soundfile"), (40, "ffmpeg")])
def test_a_first_frame_that_counts_too_few(tmp_path, opened, claimed, decoder):
    """All frames are decoded; if the count is too small but not 0, ffmpeg decodes them."""
    data = bytearray(encoded(tmp_path, "-q:a", "2"))
    frames = mp3_frames(data)
    at = data.find(b"Xing")
    data[at + 8 : at + 12] = claimed.to_bytes(4)
    (tmp_path / "a.mp3").write_bytes(data)
    found = opened(tmp_path / "a.mp3")

    assert decoder == found.decoder
    assert SAMPLES * (len(frames) - 4) < len(samples(found)) <= SAMPLES * (len(frames) - 1)
    if decoder == "ffmpeg":
        with pytest.raises(NoDecoder):
            opened(tmp_path / "a.mp3", ffmpeg=NO_FFMPEG)


def test_a_first_frame_that_counts_too_many(tmp_path, opened):
    """If frames are missing, as in a file that was cut, a warning has both numbers."""
    data = bytearray(encoded(tmp_path, "-q:a", "2"))
    at, count = data.find(b"Xing"), len(mp3_frames(data))
    data[at + 8 : at + 12] = (9999).to_bytes(4)
    (tmp_path / "a.mp3").write_bytes(data)
    decoder = opened(tmp_path / "a.mp3", ffmpeg=NO_FFMPEG)

    assert SAMPLES * (count - 3) < len(samples(decoder))
    assert f"cut off: {count} MPEG frames, the first one claims 9999" == decoder.warning


class Short:
    """A run that ends early without reporting a fault."""

    warning = ""

    def __init__(self, frames):
        self.data = bytes(4 * frames)

    def read(self, size):
        data, self.data = self.data[:size], self.data[size:]
        return data

    def kill(self):
        pass

    def close(self):
        pass


def test_a_decoder_that_ends_early(tmp_path, opened, vbr):
    """If there are fewer samples than the frames of the file hold, a warning says so."""
    path = tmp_path / "a.mp3"
    path.write_bytes(b"".join(vbr))
    decoder = opened(path)
    decoder._run.close()
    decoder._run._run = Short(SAMPLES * (len(vbr) - 3))
    found = read_all(decoder)

    assert f"{len(found) // 4} frames, the file claims {SAMPLES * len(vbr)}" == decoder.warning


def test_an_mp3_that_ends_within_a_frame(tmp_path, opened, vbr):
    """The whole frames are decoded, and a warning tells of the incomplete one."""
    path = tmp_path / "a.mp3"
    path.write_bytes(b"".join(vbr[:-1]) + vbr[-1][:50])
    decoder = opened(path, ffmpeg=NO_FFMPEG)

    assert SAMPLES * (len(vbr) - 1) == len(samples(decoder))
    assert f"cut off: 50 bytes of a frame, it claims {len(vbr[-1])}" == decoder.warning


def test_an_mp3_that_begins_within_a_frame(tmp_path, opened, vbr):
    """Ffmpeg decodes all whole frames; without ffmpeg there is an error."""
    path = tmp_path / "a.mp3"
    path.write_bytes(vbr[0][100:] + b"".join(vbr[1:]))

    assert SAMPLES * (len(vbr) - 1) == len(samples(opened(path)))
    with pytest.raises(NoDecoder):
        opened(path, ffmpeg=NO_FFMPEG)


@pytest.mark.parametrize("tag", [ID3V1, ape(), LYRICS3V2], ids=["id3v1", "ape", "lyrics"])
def test_mp3_files_that_were_joined_with_their_tags(tmp_path, opened, vbr, tag):
    """Ffmpeg decodes the files on both sides of the tag; without ffmpeg there is an error."""
    path = tmp_path / "a.mp3"
    path.write_bytes((b"".join(vbr) + tag) * 2)

    assert len(samples(opened(path))) >= SAMPLES * 2 * (len(vbr) - 1)
    with pytest.raises(NoDecoder):
        opened(path, ffmpeg=NO_FFMPEG)


LONG = 200_000


def goes_back(pages):
    """Have the second half count from 0 again, as in joined files."""
    middle = oggpages.position(pages[len(pages) // 2])
    for page in pages[len(pages) // 2 + 1 :]:
        oggpages.count(page, oggpages.position(page) - middle)


def ends_early(pages):
    """Have only the last page count wrong, from which libsndfile takes the length."""
    oggpages.count(pages[-1], oggpages.position(pages[len(pages) // 2]))


def counts_nothing(pages):
    """Have every page count 0, as in an unfinished file."""
    for page in pages[2:]:
        oggpages.count(page, 0)


def counts_half(pages):
    """Have the pages count upwards, but half as fast."""
    for page in pages[2:]:
        oggpages.count(page, oggpages.position(page) // 2)


WRONG = (goes_back, ends_early, counts_nothing, counts_half)


@pytest.mark.parametrize("subtype", ["VORBIS", "OPUS"])
@pytest.mark.parametrize("change", WRONG)
def test_an_ogg_whose_pages_count_wrong(tmp_path, opened, subtype, change):
    """Ffmpeg decodes all pages, with a warning; without ffmpeg there is an error."""
    path = write(tmp_path / "a.ogg", subtype, LONG)
    pages = oggpages.pages(path.read_bytes())
    change(pages)
    path.write_bytes(oggpages.joined(pages))
    decoder = opened(path)
    found = len(samples(decoder)) * 16_000 / decoder.format.samplerate

    assert 0.85 * LONG < found < 1.01 * LONG
    assert "ffmpeg" == decoder.decoder
    assert " count" in decoder.warning
    with pytest.raises(NoDecoder):
        opened(path, ffmpeg=NO_FFMPEG)


def begins_later(pages):
    """Have the count begin high, as in a recording from the middle of a broadcast."""
    for page in pages[2:]:
        oggpages.count(page, oggpages.position(page) + 10_000_000)


def counts_by_milliseconds(pages):
    """Round the counts, as after copying from a container with coarse times."""
    for page in pages[2:-1]:
        oggpages.count(page, oggpages.position(page) // 16 * 16)


@pytest.mark.parametrize("subtype", ["VORBIS", "OPUS"])
@pytest.mark.parametrize("change", [begins_later, counts_by_milliseconds])
def test_an_ogg_whose_pages_count_rightly(tmp_path, opened, subtype, change):
    """Neither a high first count nor rounded counts change the samples or give a warning."""
    path = write(tmp_path / "a.ogg", subtype, LONG)
    expected = truth(path)
    pages = oggpages.pages(path.read_bytes())
    change(pages)
    path.write_bytes(oggpages.joined(pages))
    decoder = opened(path, ffmpeg=NO_FFMPEG)

    assert np.array_equal(expected, samples(decoder))
    assert "" == decoder.warning


def test_a_long_comment(tmp_path):
    """A comment of 130 MB is passed over in less than 5 s."""
    page = b"OggS\0\1" + b"\xff" * 8 + bytes(12) + b"\xff" * 256 + bytes(255 * 255)
    path = tmp_path / "a.ogg"
    path.write_bytes(b"OggS\0\2" + bytes(20) + b"\1\x08OpusHead" + page * 2000)
    started = time.monotonic()
    with path.open("rb") as file:
        size = path.stat().st_size
        seen = ogg.inspect(Part(descriptor=file.fileno(), start=0, end=size))

    assert seen.straight
    assert time.monotonic() - started < 5


@pytest.mark.parametrize(
    ("packet", "expected"),
    [
        (b"", 0),
        (b"\x00", 480),
        (b"\x18", 2880),
        (b"\x61", 960),
        (b"\x80", 120),
        (b"\xfe", 1920),
        (b"\xff\x03", 2880),
        (b"\xff", 0),
    ],
)
def test_samples_of_opus(packet, expected):
    """The first byte gives the length of a frame; it or the second byte gives their number."""
    counter = counter_of([b"OpusHead", b"OpusTags"])

    assert expected == counter.samples(packet)


@pytest.mark.parametrize(
    "headers",
    [
        [b"Speex   ", b""],
        [b"\1vorbis", b"", b"\5vorbis"],
        [b"\1vorbis" + bytes(23), b"", b"\5vorbis" + bytes(100)],
        [b"\1vorbis" + bytes(23), b"", b"\5vorbis" + b"\xff" * 100],
        [b"\1vorbis" + bytes(23), b"", b"nothing"],
    ],
)
def test_headers_without_a_counter(headers):
    """If the headers are unknown or damaged, no samples are counted."""
    assert counter_of(headers) is None
