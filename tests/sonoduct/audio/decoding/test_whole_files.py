"""Every format that is promised: lossless ones bit for bit, others as their decoder gives them."""

import os

import numpy as np
import pytest

from sonoduct.audio.samples import to_float32
from sonoduct.wire import Encoding
from tests.support.corpus import FFMPEG, LOSSLESS, SOUNDFILE, encode, ffmpeg, read_all, truth, write

HERE = ("s16.wav", "s24.wav", "float.wav", "ulaw.wav", "s24.rf64", "s24.flac")
"""What is decoded in this process otherwise; the rest is in a child anyway."""

S16, S24, F32 = Encoding


def decoded(decoder):
    """All frames of *decoder* as a receiver has them."""
    form = decoder.format
    return to_float32(read_all(decoder), form.encoding, form.channels)


@pytest.mark.parametrize(
    ("name", "isolated"),
    [*((name, False) for name in SOUNDFILE), *((name, True) for name in HERE)],
)
def test_what_libsndfile_reads(tmp_path, opened, name, isolated):
    """On either side it is what soundfile reads at once."""
    path = write(tmp_path / name, SOUNDFILE[name])
    decoder = opened(path, isolated=isolated)

    assert ("soundfile", SOUNDFILE[name]) == (decoder.decoder, decoder.subtype)
    assert np.array_equal(truth(path), decoded(decoder))
    assert "" == decoder.warning


@pytest.mark.parametrize("name", ["layer3.mp3", "opus.ogg", "s24.flac"])
def test_longer_than_a_block(tmp_path, opened, name):
    """Reading in pieces gives what reading at once does: libsndfile is not made to seek."""
    path = write(tmp_path / name, SOUNDFILE[name], 600_000)

    assert np.array_equal(truth(path), decoded(opened(path)))


@pytest.mark.parametrize("name", LOSSLESS)
def test_what_ffmpeg_reads_exactly(tmp_path, opened, name):
    """Whatever was put in comes out, in the smallest encoding that holds it."""
    subtype, *how = LOSSLESS[name]
    path = tmp_path / name
    source = encode(path, *how, subtype=subtype, channels=2)
    decoder = opened(path)

    assert {"PCM_16": S16, "PCM_24": S24, "FLOAT": F32}[subtype] is decoder.format.encoding
    assert np.array_equal(truth(source), decoded(decoder))
    assert "" == decoder.warning


@pytest.mark.parametrize("name", FFMPEG)
def test_what_ffmpeg_reads_otherwise(tmp_path, opened, name):
    """It is, bit for bit, what ffmpeg itself makes of the file that has a name and a place."""
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
    """From telephone to studio, up to eight channels; more than two make a WAV extensible."""
    path = write(tmp_path / name, SOUNDFILE[name], 300, channels, samplerate)
    decoder = opened(path)

    assert (samplerate, channels) == (decoder.format.samplerate, decoder.format.channels)
    assert np.array_equal(truth(path), decoded(decoder))


@pytest.mark.parametrize("channels", [1, 2, 3, 6, 8])
def test_channels_through_ffmpeg(tmp_path, opened, channels):
    """All of them, in their order."""
    path = tmp_path / "a.mka"
    source = encode(path, "-c:a", "flac", channels=channels, samplerate=192_000)
    decoder = opened(path)

    assert (192_000, channels) == (decoder.format.samplerate, decoder.format.channels)
    assert np.array_equal(truth(source), decoded(decoder))


@pytest.mark.parametrize("name", ["s16.wav", "ima.wav", "alac16.m4a"])
def test_a_wider_encoding(tmp_path, opened, name):
    """What is asked for holds the same samples."""
    path = tmp_path / name
    source = encode(path, *LOSSLESS[name][1:]) if name in LOSSLESS else write(path, SOUNDFILE[name])
    for requested in (S24, F32):
        decoder = opened(path, requested=requested)

        assert requested is decoder.format.encoding
        assert np.array_equal(truth(source), decoded(decoder))


@pytest.mark.parametrize("name", ["s24.wav", "alac24.m4a", "layer3.mp3"])
def test_names_decide_nothing(tmp_path, opened, name):
    """A wrong suffix, none, or one that stands for samples without a header."""
    path = tmp_path / name
    if name in SOUNDFILE:
        write(path, SOUNDFILE[name])
    else:
        encode(path, *(FFMPEG.get(name) or LOSSLESS[name][1:]), subtype="PCM_24")
    expected = read_all(opened(path))
    for other in ("a", "a.raw", "http:a.flac", "-i", os.fsdecode(b"a\xff.m3u8")):
        path = path.rename(tmp_path / other)

        assert expected == read_all(opened(path))


def test_facts(tmp_path, opened):
    """What a decoder says of its file before it has read it."""
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


def test_tags_and_pictures(tmp_path, opened):
    """Text in any encoding, a cover, chunks that nobody knows: only what is audio is decoded."""
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


def test_a_debugger_shows_what_is_decoded(tmp_path, opened):
    """One line: the decoder, the file's kind, and the position."""
    decoder = opened(write(tmp_path / "a.wav", frames=1000))
    decoder.read(300)
    decoding = repr(decoder)
    decoder.close()

    assert "<FileDecoder soundfile WAV/pcm at frame 300 of 1000>" == decoding
    assert "<FileDecoder soundfile WAV/pcm closed of 1000>" == repr(decoder)
