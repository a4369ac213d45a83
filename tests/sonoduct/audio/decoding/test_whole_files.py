"""Every promised format: lossless ones bit for bit, others as their decoder gives them."""

import os

import numpy as np
import pytest

from sonoduct.audio.decoding import runs
from sonoduct.audio.samples import to_float32
from sonoduct.wire import Encoding
from tests.support.corpus import FFMPEG, LOSSLESS, SOUNDFILE, encode, ffmpeg, read_all, truth, write

HERE = ("s16.wav", "s24.wav", "float.wav", "ulaw.wav", "s24.rf64", "s24.flac")
"""Kinds that this process decodes unless they are isolated; a child decodes all others."""

S16, S24, F32 = Encoding


def decoded(decoder):
    """Return all frames of *decoder* as a receiver's array."""
    form = decoder.format
    return to_float32(read_all(decoder), form.encoding, form.channels)


@pytest.mark.parametrize(
    ("name", "isolated"),
    [*((name, False) for name in SOUNDFILE), *((name, True) for name in HERE)],
)
def test_files_of_libsndfile(tmp_path, opened, name, isolated):
    """In this process and in a child, the samples equal soundfile's."""
    path = write(tmp_path / name, SOUNDFILE[name])
    decoder = opened(path, isolated=isolated)

    assert ("soundfile", SOUNDFILE[name]) == (decoder.decoder, decoder.subtype)
    assert np.array_equal(truth(path), decoded(decoder))
    assert "" == decoder.warning


@pytest.mark.parametrize("name", ["layer3.mp3", "opus.ogg", "s24.flac"])
def test_longer_than_a_block(tmp_path, opened, name):
    """If a file is read in several blocks, its samples are the same as in one read."""
    path = write(tmp_path / name, SOUNDFILE[name], 600_000)

    assert np.array_equal(truth(path), decoded(opened(path)))


@pytest.mark.parametrize("name", ["s16.flac", "s24.flac"])
@pytest.mark.parametrize("block", [300_001, 2**19, 2**20])
def test_a_large_flac_in_two_threads(tmp_path, opened, name, block, monkeypatch):
    """However large the reads are, the samples are the same, also after a seek."""
    start, halved = runs.SecondHandle.start, []
    monkeypatch.setattr(os, "cpu_count", lambda: 2)
    monkeypatch.setattr(
        runs.SecondHandle, "start", lambda *each: halved.append(each[1]) or start(*each)
    )
    path = write(tmp_path / name, SOUNDFILE.get(name, "PCM_16"), 1_300_077)
    decoder = opened(path)
    whole = read_all(decoder, block)
    assert np.array_equal(
        truth(path), to_float32(whole, decoder.format.encoding, decoder.format.channels)
    )
    assert len(halved) > 1 or block > 2**19

    decoder.seek(70_001)
    assert whole[70_001 * decoder.format.frame_bytes :] == read_all(decoder, block)


@pytest.mark.parametrize("name", LOSSLESS)
def test_lossless_files_of_ffmpeg(tmp_path, opened, name):
    """The samples equal the encoded ones, in the smallest encoding that holds them."""
    subtype, *how = LOSSLESS[name]
    path = tmp_path / name
    source = encode(path, *how, subtype=subtype, channels=2)
    decoder = opened(path)

    assert {"PCM_16": S16, "PCM_24": S24, "FLOAT": F32}[subtype] is decoder.format.encoding
    assert np.array_equal(truth(source), decoded(decoder))
    assert "" == decoder.warning


@pytest.mark.parametrize("name", FFMPEG)
def test_lossy_files_of_ffmpeg(tmp_path, opened, name):
    """The samples equal, bit for bit, ffmpeg's own samples of the same path."""
    path = tmp_path / name
    encode(path, *FFMPEG[name])
    decoder = opened(path)
    expected = ffmpeg("-i", path, "-map", "0:a:0", "-f", "f32le", "-c:a", "pcm_f32le", "-")

    assert ("ffmpeg", F32) == (decoder.decoder, decoder.format.encoding)
    assert expected == read_all(decoder)
    assert len(expected) // 4 > 8_000


@pytest.mark.parametrize("samplerate", [8000, 11_025, 44_100, 48_000, 96_000, 192_000])
@pytest.mark.parametrize("channels", [1, 2, 3, 6, 8])
@pytest.mark.parametrize("name", ["s24.wav", "s16.flac"])
def test_samplerates_and_channels(tmp_path, opened, name, channels, samplerate):
    """Samplerates from 8 to 192 kHz and up to eight channels are decoded exactly."""
    path = write(tmp_path / name, SOUNDFILE[name], 300, channels, samplerate)
    decoder = opened(path)

    assert (samplerate, channels) == (decoder.format.samplerate, decoder.format.channels)
    assert np.array_equal(truth(path), decoded(decoder))


@pytest.mark.parametrize("channels", [1, 2, 3, 6, 8])
def test_channels_through_ffmpeg(tmp_path, opened, channels):
    """All channels are decoded, in their order."""
    path = tmp_path / "a.mka"
    source = encode(path, "-c:a", "flac", channels=channels, samplerate=192_000)
    decoder = opened(path)

    assert (192_000, channels) == (decoder.format.samplerate, decoder.format.channels)
    assert np.array_equal(truth(source), decoded(decoder))


@pytest.mark.parametrize("name", ["s16.wav", "ima.wav", "alac16.m4a"])
def test_a_wider_encoding(tmp_path, opened, name):
    """If a wider encoding is requested, it holds the same samples."""
    path = tmp_path / name
    source = encode(path, *LOSSLESS[name][1:]) if name in LOSSLESS else write(path, SOUNDFILE[name])
    for requested in (S24, F32):
        decoder = opened(path, requested=requested)

        assert requested is decoder.format.encoding
        assert np.array_equal(truth(source), decoded(decoder))


@pytest.mark.parametrize("name", ["s24.wav", "alac24.m4a", "layer3.mp3"])
def test_names_decide_nothing(tmp_path, opened, name):
    """If the suffix is wrong or missing, the samples are the same."""
    path = tmp_path / name
    if name in SOUNDFILE:
        write(path, SOUNDFILE[name])
    else:
        encode(path, *(FFMPEG.get(name) or LOSSLESS[name][1:]), subtype="PCM_24")
    expected = read_all(opened(path))
    for other in ("a", "a.raw", "http:a.flac", "-i", os.fsdecode(b"a\xff.m3u8")):
        path = path.rename(tmp_path / other)

        assert expected == read_all(opened(path))


def test_facts_of_a_file(tmp_path, opened):
    """A decoder knows the container, the codec and the length before it reads any samples."""
    wav = opened(write(tmp_path / "a.wav", "PCM_24", 123, 2, 44_100))
    encode(tmp_path / "a.m4a", "-c:a", "alac")
    m4a = opened(tmp_path / "a.m4a")

    assert ("WAV", "pcm", "PCM_24", 123, True) == (
        *(wav.container, wav.codec, wav.subtype, wav.frames),
        wav.seekable,
    )
    assert ("mov,mp4,m4a,3gp,3g2,mj2", "alac", "s16p", False) == (
        *(m4a.container, m4a.codec, m4a.subtype),
        m4a.seekable,
    )
    assert m4a.frames == pytest.approx(9001, abs=160)


def test_tags_and_unknown_chunks(tmp_path, opened):
    """Unknown chunks of a WAV, and a tag in front of an MP3, are not decoded as audio."""
    path = write(tmp_path / "a.wav", "PCM_16", 1000)
    expected, data = truth(path), path.read_bytes()
    junk = b"JUNK" + (5).to_bytes(4, "little") + b"12345\0"
    odd = data[:12] + junk + data[12:36] + junk * 3 + data[36:] + b"LIST\xff\xff\xff\x7f" + junk
    path.write_bytes(odd)

    assert np.array_equal(expected, decoded(opened(path)))

    title = b"TIT2\0\0\0\x09\0\0\0\xff\xfe\xfd\n  Stre"
    mp3 = write(tmp_path / "a.mp3", "MPEG_LAYER_III")
    expected = truth(mp3)
    mp3.write_bytes(b"ID3\x03\0\0\0\0\0" + bytes([len(title)]) + title + mp3.read_bytes())

    assert np.array_equal(expected, decoded(opened(mp3)))


def test_a_debugger_shows_the_decoder(tmp_path, opened):
    """One line has the decoder, the kind of the file, and the position."""
    decoder = opened(write(tmp_path / "a.wav", frames=1000))
    decoder.read(300)
    decoding = repr(decoder)
    decoder.close()

    assert "<Decoder soundfile WAV/pcm at frame 300 of 1000>" == decoding
    assert "<Decoder soundfile WAV/pcm closed of 1000>" == repr(decoder)
