"""A file as a source: its name, format and length, and reads from any offset."""

import os

import numpy as np
import pytest
import soundfile

from sender.errors import SourceError
from sender.sources.file import AudioFile
from sonoduct.audio.decoding.sndfile import smallest_encoding
from sonoduct.audio.samples import to_float32
from sonoduct.wire import Encoding
from tests.support.sounds import noise, write

NAMES = [
    *(("a.wav", subtype) for subtype in ("PCM_U8", "PCM_16", "PCM_24", "PCM_32", "FLOAT", "ULAW")),
    *(("a.wav", subtype) for subtype in ("IMA_ADPCM", "MS_ADPCM", "GSM610")),
    *(("a.flac", "PCM_16"), ("a.flac", "PCM_24"), ("a.ogg", "VORBIS"), ("a.ogg", "OPUS")),
    *(("a.mp3", "MPEG_LAYER_III"), ("a.caf", "ALAC_24")),
]


@pytest.fixture(name="open_file")
def _open_file():
    opened = []

    def open_file(*arguments):
        opened.append(AudioFile(*arguments))
        return opened[-1]

    yield open_file
    for each in opened:
        each.close()


@pytest.mark.parametrize(("name", "subtype"), NAMES)
def test_reading_from_anywhere(tmp_path, open_file, name, subtype):
    """Reads in any order give the same bytes, and these equal the samples that soundfile reads."""
    soundfile.write(tmp_path / name, 0.5 * noise(30_000), 8000, subtype)
    truth = soundfile.read(tmp_path / name, dtype="float32", always_2d=True)[0]
    source = open_file(tmp_path / name)
    width = source.format.frame_bytes
    everything = source.read(0, len(truth))

    assert np.array_equal(truth, to_float32(everything, source.format.encoding, 1))
    assert b"" == source.read(len(truth), 10)
    for offset, units in ((0, 1), (1, 999), (12_345, 70), (12_415, 4096), (100, 20_000), (0, 7)):
        expected = everything[offset * width : (offset + units) * width]
        assert expected == source.read(offset, units)


def test_a_short_block_comes_at_the_end(tmp_path, open_file):
    """If fewer frames are left than asked for, a read gives the rest, and the next one nothing."""
    source = open_file(write(tmp_path / "a.wav", 100))

    assert [160, 40, 0] == [len(source.read(offset, 80)) for offset in (0, 80, 100)]


def test_a_read_of_no_frames_is_empty(tmp_path, open_file):
    """The next read has every frame, even at the start, where one frame was decoded already."""
    source = open_file(write(tmp_path / "a.wav", 100))

    assert (b"", 200) == (source.read(0, 0), len(source.read(0, 100)))


def test_a_resume_beyond_the_end(tmp_path, open_file):
    """If no seek is exact, the end is found while decoding up to the offset, and is an error."""
    source = open_file(write(tmp_path / "a.mp3", 5000, subtype="MPEG_LAYER_III"))
    with pytest.raises(SourceError, match=r"a\.mp3: ends at frame 5000, expected 100000"):
        source.read(100_000, 1)


def test_name_format_and_length(tmp_path, open_file):
    """All three are the file's, unless another name is given."""
    path = write(tmp_path / "a.wav", 123, 2, "PCM_24", samplerate=44_100)
    source = open_file(path)

    assert (str(path), 123, False) == (source.name, source.units, source.live)
    assert (44_100, 2, Encoding.S24LE) == (
        source.format.samplerate,
        source.format.channels,
        source.format.encoding,
    )
    assert "else" == open_file(path, None, "else").name


def test_identity_of_a_file(tmp_path, open_file):
    """Links have the id of their file; another path, time, size or encoding gives another id."""
    path = write(tmp_path / "a.wav")
    (tmp_path / "link.wav").symlink_to(path)
    first = open_file(path).stream
    others = [open_file(path, Encoding.F32LE).stream]
    assert first == open_file(path).stream == open_file(tmp_path / "link.wav").stream

    os.utime(path, ns=(1, 1))
    others.append(open_file(path).stream)
    write(path, 10)
    os.utime(path, ns=(1, 1))
    others.append(open_file(path).stream)
    others.append(open_file(path.rename(tmp_path / "b.wav")).stream)
    assert 5 == len({first, *others})
    assert {32} == {len(stream) for stream in others}


@pytest.mark.parametrize(
    ("at", "value", "expected"),
    [
        (24, (800_000).to_bytes(4, "little"), "samplerate 800000, expected 1 to 768000"),
        (22, (65).to_bytes(2, "little"), "channels 65, expected 1 to 64"),
    ],
)
def test_formats_beyond_the_protocol(tmp_path, at, value, expected):
    """The error names the value in the header and the allowed range."""
    path = write(tmp_path / "a.wav", 1000)
    data = path.read_bytes()
    data = data[:at] + value + data[at + len(value) :]
    if at == 22:
        data = data[:32] + (130).to_bytes(2, "little") + data[34:]
    path.write_bytes(data)
    with pytest.raises(SourceError) as raised:
        AudioFile(path)

    assert f"{path}: {expected}" == str(raised.value)


@pytest.mark.parametrize("requested", Encoding)
@pytest.mark.parametrize("subtype", ["PCM_S8", "PCM_16", "PCM_24", "PCM_32", "FLOAT", "VORBIS"])
def test_only_encodings_that_are_wide_enough(tmp_path, open_file, subtype, requested):
    """An encoding is accepted if it holds every sample exactly, and refused otherwise."""
    suffix = {"PCM_S8": "aiff", "VORBIS": "ogg"}.get(subtype, "wav")
    path = write(tmp_path / f"a.{suffix}", subtype=subtype)
    exact = Encoding(smallest_encoding(subtype))
    if requested.sample_bytes >= exact.sample_bytes:
        assert requested is open_file(path, requested).format.encoding
        return
    with pytest.raises(
        SourceError, match=f"{requested} cannot hold {subtype} exactly, expected {exact}"
    ):
        AudioFile(path, requested)


def test_a_file_without_frames_is_refused(tmp_path):
    """Opening the file fails, before a receiver is asked for a stream."""
    path = write(tmp_path / "a.wav", 0)
    with pytest.raises(SourceError, match=f"^{path}: 0 frames, expected at least 1$"):
        AudioFile(path)
