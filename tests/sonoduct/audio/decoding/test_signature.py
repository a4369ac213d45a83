"""Signatures: which bytes begin a file, and which are only samples."""

import io
import subprocess

import imageio_ffmpeg
import numpy as np
import pytest
import soundfile

from sonoduct.audio.decoding import MPEG_BYTES, SIGNATURE_BYTES, may_be_mpeg, suffix_of_container

FFMPEG = imageio_ffmpeg.get_ffmpeg_exe()
SOUND = np.random.default_rng(0).integers(-9000, 9000, (16_000, 1)).astype("<i2")


def written(form, subtype="PCM_16"):
    """Return the bytes of a file that soundfile writes."""
    file = io.BytesIO()
    soundfile.write(file, SOUND, 16_000, format=form, subtype=subtype)
    return file.getvalue()


def encoded(*how):
    """Return the bytes that ffmpeg writes to a pipe."""
    return subprocess.run(
        [FFMPEG, "-v", "error", "-f", "s16le", "-ar", "16000", "-i", "-", *how, "-"],
        input=SOUND.tobytes(),
        capture_output=True,
        check=True,
    ).stdout


@pytest.mark.parametrize(
    ("form", "subtype", "suffix"),
    [
        ("WAV", "PCM_16", ".wav"),
        ("RF64", "PCM_16", ".wav"),
        ("W64", "PCM_16", ".w64"),
        ("FLAC", "PCM_16", ".flac"),
        ("OGG", "VORBIS", ".ogg"),
        ("AIFF", "PCM_16", ".aiff"),
        ("CAF", "PCM_16", ".caf"),
        ("AU", "PCM_16", ".au"),
        ("VOC", "PCM_16", ".voc"),
    ],
)
def test_files_of_libsndfile(form, subtype, suffix):
    """The first twelve bytes are enough to know the suffix."""
    assert suffix == suffix_of_container(written(form, subtype)[:SIGNATURE_BYTES])


@pytest.mark.parametrize(
    ("how", "suffix"),
    [
        (("-f", "webm", "-c:a", "libopus"), ".webm"),
        (("-f", "matroska", "-c:a", "flac"), ".webm"),
        (("-f", "mp3"), ".mp3"),
        (("-f", "mp3", "-id3v2_version", "0", "-write_xing", "0"), ".mp3"),
        (("-f", "mp3", "-id3v2_version", "0", "-ar", "8000"), ".mp3"),
        (("-f", "mp4", "-movflags", "frag_keyframe+empty_moov"), ".mp4"),
    ],
)
def test_files_of_ffmpeg(how, suffix):
    """MPEG audio without a tag is known by several frames, any other file by its first bytes."""
    data = encoded(*how)

    assert suffix == suffix_of_container(data[:MPEG_BYTES])
    assert may_be_mpeg(data) or suffix == suffix_of_container(data[:SIGNATURE_BYTES])


@pytest.mark.parametrize("scale", [1e-4, 0.1, 1.0, 3e4])
def test_sound_is_no_file(scale):
    """The first bytes of float32 samples, in 20,000 cases, are not taken for a file."""
    floats = np.random.default_rng(1).normal(0, scale, (20_000, MPEG_BYTES // 4 + 1))
    beginnings = floats.astype("<f4")[:, : SIGNATURE_BYTES // 4].tobytes()
    heads = [beginnings[at : at + SIGNATURE_BYTES] for at in range(0, len(beginnings), 12)]
    suspects = [number for number, head in enumerate(heads) if may_be_mpeg(head)]

    assert not any(suffix_of_container(head) for head in heads)
    for number in suspects:
        assert suffix_of_container(floats[number].astype("<f4").tobytes()) is None


@pytest.mark.parametrize(
    "head", [b"", b"RIFF", b"RIFF1234ACON", b"FORM1234ILBM", b"ID3\x09", bytes(12)]
)
def test_bytes_that_begin_no_audio_file(head):
    """Half a signature, and files of other kinds than audio, give no suffix."""
    assert suffix_of_container(head) is None


def test_a_tag_that_is_cut_off_is_no_container():
    """A few bytes that begin like an ID3 tag are looked at without a fault."""
    for size in range(20):
        suffix_of_container((b"ID3\x04" + bytes(20))[:size])
