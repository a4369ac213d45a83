"""Damaged files give the samples that can be decoded and a warning, or a clear error."""

import os
import random
import time
from contextlib import suppress

import numpy as np
import pytest
import soundfile

from sonoduct.audio.decoding import DecodeError, GaveUp, LimitReached, Limits, NotAudio, Unfit
from sonoduct.audio.decoding.containers import joined
from sonoduct.audio.decoding.containers.part import Part
from sonoduct.audio.samples import to_float32
from tests.support.corpus import (
    FFMPEG,
    LOSSLESS,
    RATE,
    SOUNDFILE,
    encode,
    ffmpeg,
    read_all,
    truth,
    write,
)

LONG = 100_000


def samples(decoder):
    """Return all frames of *decoder* as a receiver's array."""
    form = decoder.format
    return to_float32(read_all(decoder), form.encoding, form.channels)


def spoil(path, change):
    """Apply *change* to the bytes of *path*; return *path*."""
    data = bytearray(path.read_bytes())
    path.write_bytes(change(data) or data)
    return path


def hole(data, size=200):
    """Put noise into the middle of the file."""
    middle = len(data) // 2
    data[middle : middle + size] = random.Random(0).randbytes(size)


@pytest.mark.parametrize("isolated", [False, True], ids=["here", "isolated"])
@pytest.mark.parametrize(
    ("claimed", "frames"),
    [(0, 1000), (2**32 - 1, 1000), (2**31, 1000), (4000, 1000), (1000, 500), (1, 1000)],
)
def test_false_lengths(tmp_path, opened, claimed, frames, isolated):
    """
    A length of 0 or of the largest values is unknown, and all samples are decoded.

    If the header claims more than there is, all samples are decoded with a warning. If it claims
    less, the rest is left out with a warning.
    """
    path = write(tmp_path / "a.wav", "PCM_16", 1000)
    expected = truth(path)
    at = path.read_bytes().index(b"data") + 4
    spoil(path, lambda data: data.__setitem__(slice(at, at + 4), claimed.to_bytes(4, "little")))
    if claimed == 1:  # less than a frame
        with pytest.raises(NotAudio, match="^0 frames, expected at least 1$"):
            opened(path, isolated=isolated)
        return

    decoder = opened(path, isolated=isolated)
    assert np.array_equal(expected[:frames], samples(decoder))
    warnings = {
        4000: "cut off: 2000 bytes, the file claims 4000",
        1000: "1000 bytes behind the 1000 that the file claims were left out",
    }
    assert warnings.get(claimed, "") == decoder.warning


def test_a_flac_without_a_length(tmp_path, opened):
    """A FLAC that was written into a pipe is decoded to its end."""
    source = write(tmp_path / "a.wav", frames=LONG)
    (tmp_path / "a.flac").write_bytes(ffmpeg("-i", source, "-f", "flac", "-"))
    decoder = opened(tmp_path / "a.flac")

    assert decoder.frames is None
    assert np.array_equal(truth(source), samples(decoder))


def test_a_flac_that_claims_too_much(tmp_path, opened):
    """All of its frames are decoded, and the warning has both numbers."""
    path = write(tmp_path / "a.flac", frames=LONG)
    expected = truth(path)
    spoil(path, lambda data: data.__setitem__(slice(22, 26), (2 * LONG).to_bytes(4)))
    decoder = opened(path)

    assert np.array_equal(expected, samples(decoder))
    assert f"{LONG} frames, the file claims {2 * LONG}" == decoder.warning


def claiming(frames, data):
    """Return a FLAC file's bytes with another number of frames in its header."""
    length = int.from_bytes(data[18:26]) & ~((1 << 36) - 1) | frames
    return data[:18] + length.to_bytes(8) + data[26:]


@pytest.mark.parametrize(
    ("subtype", "channels", "claimed"),
    [("PCM_16", 1, 1000), ("PCM_24", 2, LONG - 15_000), ("PCM_16", 2, 1)],
)
def test_a_flac_that_claims_too_little(tmp_path, opened, subtype, channels, claimed):
    """If a killed recorder has not written the length, all frames are decoded with a warning."""
    path = write(tmp_path / "a.flac", subtype, LONG, channels)
    expected = truth(path)
    path.write_bytes(claiming(claimed, path.read_bytes()) + b"\xff\xf8 something else")
    decoder = opened(path)

    assert np.array_equal(expected, samples(decoder))
    assert decoder.warning


BEHIND = {
    "zeros": bytes(200 * 1024),
    "many zeros": bytes(2 * 1024 * 1024),
    "ones": b"\xff" * 140 * 1024,
}


@pytest.mark.parametrize("claimed", [1000, 4096, LONG - 2000])
@pytest.mark.parametrize("behind", BEHIND)
def test_an_unfinished_flac_with_something_behind_it(tmp_path, opened, behind, claimed):
    """All frames are decoded with a warning, however many bytes follow them."""
    path = write(tmp_path / "a.flac", frames=LONG)
    expected = truth(path)
    path.write_bytes(claiming(claimed, path.read_bytes()) + BEHIND[behind])
    decoder = opened(path)

    assert np.array_equal(expected, samples(decoder)[:LONG])
    assert decoder.warning


@pytest.mark.parametrize("size", [1, 200 * 1024, 2 * 1024 * 1024])
def test_zeros_behind_a_flac(tmp_path, opened, size):
    """Zeros behind a whole file are ignored, and do not hide that two files were joined."""
    path = write(tmp_path / "a.flac", frames=LONG)
    expected, data = truth(path), path.read_bytes()
    path.write_bytes(data + bytes(size))
    decoder = opened(path, ffmpeg="no-such-program")

    assert np.array_equal(expected, samples(decoder))
    assert "" == decoder.warning
    path.write_bytes(data * 2 + bytes(size))
    assert np.array_equal(np.concatenate([expected] * 2), samples(opened(path))[: 2 * LONG])


def test_false_frame_headers_cost_little_time(tmp_path, opened):
    """Thousands of false headers behind the claimed frames cost less than 5 s."""
    path = write(tmp_path / "a.flac", frames=20_000)
    data = path.read_bytes()
    at = data.rindex(data[86:89])  # a later frame begins like the first one
    path.write_bytes(claiming(10, data) + (data[at : at + 6] + bytes(10)) * 10_000)
    started = time.monotonic()
    with suppress(GaveUp):
        read_all(opened(path))

    assert time.monotonic() - started < 5


def test_both_sides_give_up_at_the_same_frame(tmp_path, opened):
    """Libsndfile gives up at the same frame here and in a child, with reads of any size."""
    path = spoil(write(tmp_path / "a.flac", frames=LONG), hole)
    said = set()
    for isolated in (False, True):
        for block in (1000, 7000):
            with pytest.raises(GaveUp) as raised:
                read_all(opened(path, isolated=isolated, ffmpeg="no-such-program"), block)
            said.add(str(raised.value))

    assert 1 == len(said)


@pytest.mark.parametrize("where", [66, 74, 132])
@pytest.mark.parametrize(
    "change", ["noise before it", "zeros in it", "an earlier one before it", "both"]
)
def test_both_sides_give_up_at_the_same_frame_of_a_large_file(
    tmp_path, opened, where, change, monkeypatch
):
    """Also if two threads decode the file, and the damage lies where one of them begins."""
    monkeypatch.setattr(os, "cpu_count", lambda: 2)

    def damage(data):
        at = data.index(data[86:90] + chr(where).encode())  # numbers are as in UTF-8
        if change == "zeros in it":
            data[at + 50 : at + 60] = bytes(10)
        elif change == "noise before it":
            data[at:at] = random.Random(0).randbytes(200)
        else:
            data[at:at] = data[86 : data.index(data[86:90] + b"\x01")]
        if change == "both":
            later = data.index(data[86:90] + chr(where + 10).encode())
            data[later:later] = random.Random(0).randbytes(200)

    path = spoil(write(tmp_path / "a.flac", frames=600_000), damage)
    said = set()
    for isolated in (False, True):
        for block in (2**19,) if isolated else (2**19, 2**20):
            found = bytearray()
            decoder = opened(path, isolated=isolated, ffmpeg="no-such-program")
            try:
                while data := decoder.read(block):
                    found += data
                gave_up = False
            except GaveUp:
                gave_up = True
            said.add((gave_up, bytes(found)))

    assert 1 == len(said)


def test_damage_in_a_large_file_that_repeats_itself(tmp_path, opened, monkeypatch):
    """Where the second thread begins, the same samples follow several times."""
    monkeypatch.setattr(os, "cpu_count", lambda: 2)
    block = 16_384
    sound = np.random.default_rng(0).integers(-9999, 9999, (600_000, 2), "int16")
    for number in range(14, 20):  # it begins at block 16, where frames too many put block 14
        sound[number * block :][:block] = sound[:block]
    path = tmp_path / "a.flac"
    soundfile.write(path, sound, RATE)
    data = path.read_bytes()
    frame = [data.index(data[86:90] + bytes([number])) for number in range(30)]
    path.write_bytes(data[: frame[20]] + data[frame[12] : frame[16]] + data[frame[20] :])

    assert 1 == len({read_all(opened(path, isolated=each), 2**19) for each in (True, False)})


def test_ffmpeg_continues_where_libsndfile_gives_up(tmp_path, opened):
    """If a FLAC has a hole, all frames before and behind it are decoded, and no others."""
    path = write(tmp_path / "a.flac", frames=LONG)
    whole = truth(path)
    decoder = opened(spoil(path, hole))
    found = samples(decoder)
    lost = LONG - len(found)

    assert 0 < lost <= 3 * 4096
    assert decoder.warning.startswith(
        "soundfile gave up: Error : flac decoder lost sync, ffmpeg went on"
    )
    before = next(at for at in range(len(found)) if found[at] != whole[at])
    assert np.array_equal(whole[before + lost :], found[before:])


def test_resuming_after_the_hole(tmp_path, opened):
    """After ffmpeg has continued, a read from any offset gives the same samples."""
    path = spoil(write(tmp_path / "a.flac", frames=LONG), hole)
    decoder = opened(path)
    everything = read_all(decoder)
    for offset in (80_000, 10, 60_000):
        decoder.seek(offset)

        assert everything[2 * offset :][:2000] == decoder.read(1000)

    fresh = opened(path)
    fresh.seek(10_000)

    assert everything[20_000:] == read_all(fresh)


def test_without_ffmpeg_a_hole_is_an_error(tmp_path, opened, monkeypatch):
    """The error says at which frame, why, and which program is missing."""
    path = spoil(write(tmp_path / "a.flac", frames=LONG), hole)
    decoder = opened(path, ffmpeg="no-such-program")
    with pytest.raises(GaveUp, match=r"^soundfile at frame \d+: .*needs ffmpeg") as raised:
        read_all(decoder)

    assert "no-such-program" in str(raised.value)


def test_ffmpeg_does_not_continue_with_other_samples(tmp_path, opened):
    """If ffmpeg decodes other samples than libsndfile, the decoder gives up."""
    path = write(tmp_path / "a.wav", "IMA_ADPCM", LONG)
    decoder = opened(path)
    decoder._run._run.close()
    decoder._run._run = Stub(b"\1\0" * 500)
    with pytest.raises(GaveUp, match=r"^soundfile at frame 499: tired; ffmpeg has other samples"):
        read_all(decoder, 499)


class Stub:
    """A run that gives up after its first read."""

    warning = ""

    def __init__(self, data):
        self.data = data

    def read(self, size):
        if not self.data:
            raise GaveUp("tired")
        data, self.data = self.data[:size], b""
        return data

    def kill(self):
        pass

    def close(self):
        pass


JOINED = {
    "aac": ("-f", "adts"),
    "ac3": ("-f", "ac3"),
    "flac": ("-f", "flac"),
    "mp3": ("-f", "mp3"),
    "bare.mp3": ("-f", "mp3", "-write_xing", "0", "-id3v2_version", "0"),
    "counted.mp3": ("-f", "mp3", "-id3v2_version", "0"),
    "ogg": ("-f", "ogg", "-c:a", "libvorbis"),
}
"""Kinds of files that `cat` can join, and the options with which ffmpeg makes them."""


def parts(folder, how, *formats):
    """Yield files of three seconds in *formats*, each a samplerate and a number of channels."""
    for samplerate, channels in formats:
        source = write(folder / "part.wav", "PCM_16", 3 * samplerate, channels, samplerate)
        ffmpeg("-i", source, *how, folder / "part")  # not into a pipe: an MP3 then has its length
        yield (folder / "part").read_bytes()


@pytest.mark.parametrize("name", JOINED)
def test_joined_files_of_one_format(tmp_path, opened, name):
    """All of the joined files are decoded, not only the first one."""
    path = tmp_path / f"a.{name}"
    path.write_bytes(b"".join(parts(tmp_path, JOINED[name], (32_000, 1), (32_000, 1))))

    assert len(samples(opened(path))) == pytest.approx(192_000, rel=0.03)


@pytest.mark.parametrize("name", ["aac.m4a", "tta.tta", "wma.wma"])
def test_joined_files_of_which_ffmpeg_reads_the_first(tmp_path, opened, name):
    """The first file is decoded, and a warning says where the other one begins."""
    path = tmp_path / name
    encode(path, *(FFMPEG.get(name) or LOSSLESS[name][1:]))
    plain = opened(path)
    expected, data = read_all(plain), path.read_bytes()
    path.write_bytes(data * 2)
    decoder = opened(path)

    assert "" == plain.warning
    assert expected == read_all(decoder)
    assert decoder.warning.endswith(f" bytes were left out: another file begins at {len(data)}")


def test_false_lengths_of_mp4_asf_and_tta(tmp_path):
    """If a length is false or incomplete, the search for another file ends without an error."""
    path = tmp_path / "a"
    film = b"\0\0\0\x08ftyp\0\0\0\x08moof"
    tta = b"TTA1" + bytes(6) + b"\1\0\0\0\xff\xff\xff\xff"
    asf = bytes.fromhex("3026b2758e66cf11a6d900aa0062ce6c")
    for data in (film * 2, film[:8] * 3000, b"\0\0\0\1ftyp" + b"\xff" * 8, tta, tta[:9], asf * 2):
        path.write_bytes(data)
        with path.open("rb") as file:
            said = joined.damage(Part(descriptor=file.fileno(), start=0, end=len(data)))

        assert ("another file" in said) == (data == film[:8] * 3000)


@pytest.mark.parametrize("name", ["aac", "flac", "mp3", "ogg"])
@pytest.mark.parametrize(
    ("first", "second"),
    [((44_100, 2), (48_000, 2)), ((48_000, 1), (48_000, 2))],
    ids=["samplerate", "channels"],
)
def test_a_format_that_changes_midway(tmp_path, opened, name, first, second):
    """The decoder gives up and says at which frame; it neither resamples nor mixes."""
    path = tmp_path / f"a.{name}"
    path.write_bytes(b"".join(parts(tmp_path, JOINED[name], first, second)))
    decoder = opened(path)
    with pytest.raises(GaveUp, match="the samplerate or the channels change here$") as raised:
        read_all(decoder)

    assert first == (decoder.format.samplerate, decoder.format.channels)
    assert int(str(raised.value).split()[3].rstrip(":")) == pytest.approx(3 * first[0], rel=0.05)


CUT = {
    "a.flac": "PCM_16",
    "a.ogg": "VORBIS",
    "opus.ogg": "OPUS",
    "a.mp3": "MPEG_LAYER_III",
    "a.wav": "PCM_16",
    "a.rf64": "PCM_24",
    "a.w64": "PCM_16",
    "a.aiff": "PCM_16",
    "a.au": "FLOAT",
    "a.voc": "PCM_16",
    "ima.wav": "IMA_ADPCM",
    "gsm.wav": "GSM610",
}


@pytest.mark.parametrize("name", CUT)
@pytest.mark.parametrize("share", [0.4, 0.8])
def test_truncated_files(tmp_path, opened, name, share):
    """The frames that are there are decoded, up to a codec's block, with a warning."""
    subtype = CUT
    path = write(tmp_path / name, subtype.get(name, "PCM_16"), LONG)
    whole = truth(path)
    spoil(path, lambda data: data[: int(len(data) * share)])
    decoder = opened(path)
    found = samples(decoder)

    assert share * LONG - 17_000 <= len(found) <= share * LONG + 3000
    if name == "a.flac":  # libsndfile itself reads nothing of a truncated FLAC
        assert np.array_equal(whole[: len(found)], found)
    else:
        assert np.array_equal(truth(path), found)
    assert decoder.warning


@pytest.mark.parametrize(
    "name", ["aac.m4a", "front.m4a", "adts.aac", "wma.wma", "ac3.ac3", "s16.caf", "alac16.caf"]
)
def test_truncated_files_of_ffmpeg(tmp_path, opened, name):
    """Some frames are decoded with a warning; an MP4 without its index is an error."""
    path = tmp_path / name
    if name in FFMPEG:
        encode(path, *FFMPEG[name], frames=LONG)
    else:
        write(path, SOUNDFILE[name], LONG)
    spoil(path, lambda data: data[: len(data) * 2 // 3])
    try:
        decoder = opened(path)
        frames = len(read_all(decoder)) // decoder.format.frame_bytes
    except DecodeError as exc:
        assert name == "aac.m4a"
        assert "no audio: ffmpeg: " in str(exc)
    else:
        assert 0 < frames < LONG * 4
        assert decoder.warning


@pytest.mark.parametrize("frames", [700, 3000])
@pytest.mark.parametrize("name", ["wma.wma", "opus.webm", "vorbis.mka", "video.mp4"])
def test_short_files_give_no_warning(tmp_path, opened, name, frames):
    """If a length counts a codec's padding or a longer film, there is no warning."""
    path = tmp_path / name
    encode(path, *FFMPEG[name], frames=frames)
    decoder = opened(path)

    assert 500 <= len(read_all(decoder)) // decoder.format.frame_bytes
    assert "" == decoder.warning


@pytest.mark.parametrize("name", ["a.wav", "a.flac", "a.ogg", "a.mp3", "a.caf"])
def test_bytes_behind_the_audio(tmp_path, opened, name):
    """If random bytes follow the audio, all of the audio is decoded."""
    subtype = {"a.ogg": "VORBIS", "a.mp3": "MPEG_LAYER_III"}
    path = write(tmp_path / name, subtype.get(name, "PCM_16"), LONG)
    expected = truth(path)
    spoil(path, lambda data: data + random.Random(0).randbytes(5000))
    found = samples(opened(path))

    if name == "a.mp3":  # ffmpeg decodes such an MP3
        assert len(found) == pytest.approx(LONG, rel=0.02)
    else:
        assert np.array_equal(expected, found[: len(expected)])
        assert name == "a.caf" or len(expected) == len(found)


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        (b"", "no audio: ffmpeg: "),
        (b"RIFF", "libsndfile: .*no audio: ffmpeg: "),
        (b"just a text", "no audio: ffmpeg: Invalid data found when processing input"),
        (bytes(10_000), "no audio: ffmpeg: Invalid data found when processing input"),
        (b"fLaC" + bytes(100), "libsndfile: .*; no audio: ffmpeg: "),
        (b"OggS" + bytes(100), "libsndfile: .*; no audio: ffmpeg: "),
        (b"\x1a\x45\xdf\xa3" + bytes(100), "no audio: ffmpeg: "),
        (b"#EXTM3U\n#EXT-X-TARGETDURATION:9\n#EXTINF:9,\n/etc/passwd\n", "no audio: ffmpeg: "),
        (b"ffconcat version 1.0\nfile /etc/passwd\n", "no audio: ffmpeg: "),
        (b"v=0\nc=IN IP4 127.0.0.1\nm=audio 9 RTP/AVP 0\n", "no audio: ffmpeg: "),
        (b"P6\n1 1\n255\nabc", "no audio: ffmpeg: "),
    ],
)
def test_content_without_audio(tmp_path, opened, content, reason):
    """One line says which decoder reports which fault; files that a list names are not opened."""
    (tmp_path / "a.wav").write_bytes(content)
    with pytest.raises(NotAudio, match=f"^{reason}") as raised:
        opened(tmp_path / "a.wav")

    assert "\n" not in str(raised.value)


def test_a_film_without_sound(tmp_path, opened):
    """If no stream of a file is audio, the error says so."""
    path = tmp_path / "a.mp4"
    ffmpeg("-f", "lavfi", "-i", "color=s=32x32:d=0.1", path)
    with pytest.raises(NotAudio, match="^no audio: ffmpeg: no audio stream$"):
        opened(path)


def test_a_header_alone(tmp_path, opened):
    """If a file has no frames, opening it fails."""
    for name in ("a.wav", "a.aiff", "a.caf"):
        with pytest.raises(NotAudio, match="^0 frames, expected at least 1$"):
            opened(write(tmp_path / name, frames=0))


@pytest.mark.parametrize(
    ("at", "value", "expected"),
    [
        (24, (1_092_676).to_bytes(4, "little"), "samplerate 1092676, expected 1 to 768000"),
        (22, (65).to_bytes(2, "little"), "channels 65, expected 1 to 64"),
    ],
)
def test_formats_that_the_protocol_cannot_carry(tmp_path, opened, at, value, expected):
    """The error names the value in the file and the allowed range."""
    path = write(tmp_path / "a.wav", frames=1000)
    spoil(path, lambda data: data.__setitem__(slice(at, at + len(value)), value))
    if at == 22:
        spoil(path, lambda data: data.__setitem__(slice(32, 34), (130).to_bytes(2, "little")))
    with pytest.raises(Unfit, match=f"^{expected}$"):
        opened(path)


def test_no_regular_file(tmp_path, opened):
    """A folder is refused without reading it; a missing file raises FileNotFoundError."""
    with pytest.raises(NotAudio, match="^no regular file, expected one$"):
        opened(tmp_path)
    with pytest.raises(FileNotFoundError):
        opened(tmp_path / "gone")


def test_the_limit_of_expansion(tmp_path, opened):
    """Silence is decoded within the limit; beyond the limit the decoder gives up."""
    path = tmp_path / "a.flac"
    ffmpeg("-f", "lavfi", "-i", f"anullsrc=r={RATE}:cl=mono:d=60", "-c:a", "flac", path)
    factor = 2 * 60 * RATE // path.stat().st_size

    assert 60 * RATE == len(samples(opened(path)))

    limits = Limits(expansion=factor // 2, least_output=1000)
    for isolated in (False, True):
        decoder = opened(path, isolated=isolated, limits=limits)
        with pytest.raises(LimitReached, match=r"bytes of samples, expected at most") as raised:
            read_all(decoder)

        assert str(raised.value).startswith("soundfile at frame ")


def test_a_flipped_bit(tmp_path, opened):
    """In ten kinds of files, one flipped bit gives frames or a DecodeError of one line."""
    chance = random.Random(5)
    for name in chance.sample(sorted(SOUNDFILE), 10):
        path = write(tmp_path / name, SOUNDFILE[name], 1500)
        data = path.read_bytes()
        at = chance.randrange(len(data))
        path.write_bytes(data[:at] + bytes([data[at] ^ 1 << chance.randrange(8)]) + data[at + 1 :])
        try:
            read_all(opened(path, limits=Limits(wall_seconds=5)))
        except DecodeError as exc:
            assert "\n" not in str(exc)
