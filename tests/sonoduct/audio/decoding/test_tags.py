"""Tags, pictures and padding of whole files are neither decoded nor reported as damage."""

import random
from pathlib import Path

import imageio_ffmpeg
import numpy as np
import pytest

from sonoduct.audio.decoding import StreamDecoder
from sonoduct.audio.decoding.containers.part import without_tags
from sonoduct.audio.samples import to_float32
from tests.support.corpus import FFMPEG, LOSSLESS, SOUNDFILE, encode, ffmpeg, read_all, truth, write

NO_FFMPEG = "no-such-program"


def id3v2(*frames, padding=0, version=4, footer=False):
    """Return an ID3v2 tag."""
    body = b"".join(frames) + bytes(padding)
    head = bytes([version, 0, 0x10 if footer else 0]) + synchsafe(len(body))
    return b"ID3" + head + body + (b"3DI" + head if footer else b"")


def synchsafe(number):
    """Return *number* as four bytes of seven bits."""
    return bytes(number >> shift & 127 for shift in (21, 14, 7, 0))


COVER = b"\0image/jpeg\0\3\0" + bytes(range(256)) * 8
PICTURE = b"APIC" + synchsafe(len(COVER)) + b"\0\0" + COVER
"""A picture that is no JPEG, and has bytes that look like MPEG frames."""

TITLE = b"TIT2" + synchsafe(5) + b"\0\0\0abcd"
FRONT = id3v2(TITLE, PICTURE)

ID3V1 = b"TAG" + b"title".ljust(125, b"\0")
ENHANCED = b"TAG+" + bytes(223) + ID3V1


def ape():
    """Return an APE tag with header and footer."""
    item = (5).to_bytes(4, "little") + bytes(4) + b"Title\0hello"

    def end(flags):
        numbers = (2000, len(item) + 32, 1, flags)
        return b"APETAGEX" + b"".join(each.to_bytes(4, "little") for each in numbers) + bytes(8)

    return end(0xA0000000) + item + end(0x80000000)


LYRICS = b"LYRICSBEGININD0000211LYR00005hello"
LYRICS3V2 = LYRICS + f"{len(LYRICS):06d}".encode() + b"LYRICS200"
LYRICS3V1 = b"LYRICSBEGIN" + b"la la la" * 9 + b"LYRICSEND"

BEHIND = {
    "id3v1": ID3V1,
    "enhanced": ENHANCED,
    "ape": ape(),
    "lyrics3v2": LYRICS3V2 + ID3V1,
    "lyrics3v1": LYRICS3V1 + ID3V1,
    "id3v2": id3v2(TITLE, footer=True),
    "several": ape() + LYRICS3V2 + ID3V1,
    "padded": ID3V1 + bytes(1000),
    "padded ape": ape() + bytes(1000),
}


@pytest.mark.parametrize("behind", BEHIND)
@pytest.mark.parametrize("front", [b"", FRONT, FRONT + id3v2(padding=3000), ape()])
def test_where_the_audio_is(tmp_path, front, behind):
    """The audio lies between the tags, of any kind and number."""
    path, audio = tmp_path / "a", random.Random(0).randbytes(500) + b"\1"
    path.write_bytes(front + audio + BEHIND[behind])
    with path.open("rb") as file:
        part = without_tags(file.fileno(), path.stat().st_size)

        assert audio == part.read(9999, 0)
        assert (len(front), len(audio)) == (part.start, part.size)


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"TAG",
        b"ID3",
        b"ID3\4\0\0\xff\xff\xff\xff" + bytes(500),
        b"APETAGEX",
        ape()[-32:],
        b"x" * 200 + b"LYRICS200",
        b"x" * 200 + b"000000LYRICS200",
        b"x" * 200 + b"LYRICSEND",
        b"x" * 500 + ape().replace(b"\x33\0\0\0", (400).to_bytes(4, "little")),
        b"x" * 500 + b"3DI\4\0\x10" + synchsafe(400),
        bytes(500),
        b"x" + bytes(500),
        id3v2(padding=10),
        ID3V1,
    ],
)
def test_bytes_that_are_no_tag(tmp_path, data):
    """If a tag is incomplete, or would leave no audio, the whole file counts as audio."""
    (tmp_path / "a").write_bytes(data)
    with (tmp_path / "a").open("rb") as file:
        part = without_tags(file.fileno(), len(data))

    assert (0, len(data)) == (part.start, part.end)


def make(path, frames=9001):
    """Write the file of the corpus that has the name of *path*; return its bytes."""
    if path.name in SOUNDFILE:
        write(path, SOUNDFILE[path.name], frames)
    else:
        subtype, *how = LOSSLESS.get(path.name) or ("PCM_16", *FFMPEG[path.name])
        encode(path, *how, subtype=subtype, frames=frames)
    return path.read_bytes()


ALONE = (
    *("s16.wav", "s24.rf64", "s16.w64", "s24.aiff", "s16.au", "s16.caf", "alac16.caf"),
    *("s16.nist", "s16.voc", "s16.flac", "s24.flac", "vorbis.ogg", "layer3.mp3"),
)
BY_FFMPEG = ("adts.aac", "ac3.ac3", "layer2.mp2", "tta.tta", "wavpack.wv")
FILLED = (
    *("s16.wav", "s24.rf64", "s24.aiff", "s16.au", "s16.caf", "s16.flac", "s24.flac"),
    *("vorbis.ogg", "layer3.mp3", "ac3.ac3", "layer2.mp2", "wavpack.wv", "adts.aac", "aac.m4a"),
)
"""Kinds that say where the audio ends; in the other kinds, zeros behind it would be silence."""


@pytest.mark.parametrize("name", [*ALONE, *BY_FFMPEG])
def test_tags_are_no_audio(tmp_path, opened, name):
    """If there are tags in front or behind, samples and decoder are the same, without a warning."""
    path = tmp_path / name
    data = make(path)
    how = {"ffmpeg": NO_FFMPEG} if name in ALONE else {}
    plain = opened(path)
    expected = read_all(plain)
    for front, behind in ((FRONT, BEHIND["several"]), (b"", ID3V1 + bytes(1000))):
        path.write_bytes(front + data + behind)
        decoder = opened(path, **how)

        assert expected == read_all(decoder)
        assert (plain.decoder, "") == (decoder.decoder, decoder.warning)
        decoder.seek(5000)
        assert expected[5000 * decoder.format.frame_bytes :] == read_all(decoder)


@pytest.mark.parametrize("name", FILLED)
@pytest.mark.parametrize("zeros", [1, 5000])
def test_padding_with_zeros(tmp_path, opened, name, zeros):
    """If a file says where its audio ends, zeros behind it are ignored without a warning."""
    path = tmp_path / name
    data = make(path)
    expected = read_all(opened(path))
    path.write_bytes(data + bytes(zeros))
    decoder = opened(path, **({"ffmpeg": NO_FFMPEG} if name in ALONE else {}))

    assert expected == read_all(decoder)
    assert "" == decoder.warning


def test_a_flac_whose_last_frame_ends_with_zeros(tmp_path, opened):
    """If the last frame's checksum ends with zeros, it is not taken for padding."""
    for seed in range(2000):
        path = write(tmp_path / "a.flac", "PCM_16", 20 + seed)
        if path.read_bytes().endswith(b"\0"):
            break
    expected = truth(path)
    path.write_bytes(path.read_bytes() + bytes(50))
    decoder = opened(path, ffmpeg=NO_FFMPEG)

    form = decoder.format
    assert np.array_equal(expected, to_float32(read_all(decoder), form.encoding, form.channels))
    assert "" == decoder.warning


def test_samples_that_look_like_a_tag(tmp_path, opened):
    """Samples that the header counts are decoded, even if they look like a tag."""
    path = write(tmp_path / "a.wav", "PCM_16", 1000)
    path.write_bytes(path.read_bytes()[:-128] + ID3V1)
    decoder = opened(path, ffmpeg=NO_FFMPEG)

    assert 2000 == len(read_all(decoder))
    assert "" == decoder.warning


def test_a_damaged_flac_with_tags(tmp_path, opened):
    """If ffmpeg continues behind the damage, it does not see the tags."""
    path = write(tmp_path / "a.flac", frames=100_000)
    data = bytearray(path.read_bytes())
    middle = len(data) // 2
    data[middle : middle + 200] = random.Random(0).randbytes(200)
    path.write_bytes(data)
    plain = opened(path)
    expected = read_all(plain)
    path.write_bytes(FRONT + data + ID3V1)
    decoder = opened(path)

    assert expected == read_all(decoder)
    assert plain.warning == decoder.warning


@pytest.mark.parametrize(
    ("name", "how"),
    [
        ("a.m4a", ("-c:a", "aac", "-c:v", "png")),
        ("a.mp4", ("-c:a", "alac", "-c:v", "mjpeg")),
        ("a.wma", ("-c:v", "png")),
        ("a.mka", ("-c:a", "flac", "-c:v", "png")),
        ("a.flac", ("-c:a", "flac", "-c:v", "png")),
        ("a.aiff", ("-write_id3v2", "1", "-c:v", "png")),
        ("a.mp3", ("-c:v", "png")),
        ("film.mov", ("-c:a", "pcm_s16le", "-c:v", "mpeg4", "-disposition:v", "0")),
    ],
)
def test_a_picture_that_is_broken(tmp_path, opened, name, how):
    """A broken picture changes no samples, and gives no warning."""
    path = tmp_path / name
    picture = ("-f", "lavfi", "-i", "color=s=64x64:d=0.2", "-map", "0:a", "-map", "1:v")
    encode(path, *picture, "-disposition:v", "attached_pic", *how)
    expected = read_all(opened(path))
    data = bytearray(path.read_bytes())
    marks = (b"\x89PNG", b"\xff\xd8\xff", b"\0\0\1\xb0", b"\0\0\1\xb6")
    at = max(data.find(mark) for mark in marks)
    for offset, noise in ((16, b"\x7f" + b"\xff" * 7), (0, random.Random(0).randbytes(100))):
        data[at + offset : at + offset + len(noise)] = noise  # a PNG has its size at 16
        path.write_bytes(data)
        decoder = opened(path)

        assert expected == read_all(decoder)
        assert "" == decoder.warning


def test_a_caf_without_a_length(tmp_path, opened):
    """The length -1 means that it is unknown, and gives no warning."""
    for name in ("s16.caf", "s24.caf"):
        path = write(tmp_path / name, "PCM_24" if "24" in name else "PCM_16")
        expected, data = truth(path), bytearray(path.read_bytes())
        at = data.rindex(b"data") + 4
        data[at : at + 8] = b"\xff" * 8
        path.write_bytes(data)
        decoder = opened(path, ffmpeg=NO_FFMPEG)

        form = decoder.format
        assert np.array_equal(expected, to_float32(read_all(decoder), form.encoding, form.channels))
        assert "" == decoder.warning


def test_an_mp3_with_more_tags_than_audio(tmp_path, opened):
    """Libsndfile is not shown the tags, as it would take their bytes for audio."""
    path = tmp_path / "a.mp3"
    ffmpeg("-f", "lavfi", "-i", "sine=d=3", "-q:a", "4", "-id3v2_version", "0", path)
    data = path.read_bytes()
    expected = truth(path)
    path.write_bytes(id3v2(TITLE, padding=100_000) + data + ape() + ID3V1 + bytes(3000))
    decoder = opened(path, ffmpeg=NO_FFMPEG)

    assert np.array_equal(expected, to_float32(read_all(decoder), decoder.format.encoding, 1))
    assert "" == decoder.warning


def test_an_ffmpeg_that_can_read_whole_files_only(tmp_path, opened):
    """If ffmpeg was built without the protocol subfile, it passes over the tags itself."""
    without = tmp_path / "ffmpeg"
    program = Path(imageio_ffmpeg.get_ffmpeg_exe()).read_bytes()
    without.write_bytes(program.replace(b"\0subfile\0", b"\0absence\0"))
    without.chmod(0o755)
    path = tmp_path / "adts.aac"
    data = make(path)
    expected = read_all(opened(path))
    path.write_bytes(id3v2(TITLE) + data)

    assert expected == read_all(opened(path, ffmpeg=str(without)))


@pytest.mark.parametrize("name", ["layer3.mp3", "s16.flac", "s16.wav"])
@pytest.mark.parametrize("content", [b"", TITLE, TITLE + bytes(500)])
def test_a_tag_that_claims_audio(tmp_path, opened, name, content):
    """If audio begins before the claimed end of a tag, it is decoded."""
    path = tmp_path / name
    data = make(path)
    expected = read_all(opened(path))
    head = b"ID3\4\0\0" + synchsafe(len(content) + len(data) // 2)
    path.write_bytes(head + content + data)
    decoder = opened(path, ffmpeg=NO_FFMPEG)

    assert expected == read_all(decoder)
    assert "" == decoder.warning


def test_a_tag_that_leads_to_no_audio(tmp_path, opened):
    """If the end of a tag cannot be found, there is a warning."""
    path = tmp_path / "layer3.mp3"
    data = make(path)
    path.write_bytes(b"ID3\4\0\0" + synchsafe(len(data) // 2 + 1001) + b"\1" * 1000 + data)
    decoder = opened(path)
    read_all(decoder)

    assert "tags in front claim" in decoder.warning


def test_a_broken_cover_in_a_pipe(tmp_path):
    """If a pipe brings a broken cover in front of the audio, there is no warning."""
    path = tmp_path / "adts.aac"
    path.write_bytes(FRONT + make(path))
    with path.open("rb") as file:
        decoder = StreamDecoder(imageio_ffmpeg.get_ffmpeg_exe(), file.fileno(), 1024**3)
        decoder.begin()
        while decoder.read_some(4096):
            pass
        decoder.close()

    assert "" == decoder.warning


def test_a_header_that_points_before_the_file(tmp_path, opened):
    """If a header points before the file, the samples are decoded as without the tag."""
    path = write(tmp_path / "a.w64")
    expected, data = truth(path), bytearray(path.read_bytes())
    at = data.rindex(b"data\xf3\xac") + 16
    data[at : at + 8] = (1 << 63).to_bytes(8, "little")
    path.write_bytes(data + ID3V1)
    decoder = opened(path, ffmpeg=NO_FFMPEG)

    form = decoder.format
    assert np.array_equal(expected, to_float32(read_all(decoder), form.encoding, form.channels))
