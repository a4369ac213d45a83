"""Chunks as FLAC streams: packing and unpacking are exact, and other payloads are refused."""

import io
import json
import random
from pathlib import Path

import numpy as np
import pytest
import soundfile
from hypothesis import given, settings
from hypothesis import strategies as st

from sonoduct import wire
from sonoduct.audio.flac import pack, unpack
from sonoduct.wire import Compression, Encoding, Malformed

VECTORS = json.loads((Path(__file__).parents[1] / "wire" / "vectors.json").read_text("utf-8"))
EXACT = [Encoding.S16LE, Encoding.S24LE]


def form(encoding="s16le", channels=1, samplerate=48_000):
    """A format of compressed samples."""
    return wire.Format(
        samplerate=samplerate,
        channels=channels,
        encoding=Encoding(encoding),
        compression=Compression.FLAC,
    )


MONO = form()


def noise(frames, made=MONO, seed=0):
    """Reproducible canonical bytes, which do not compress."""
    return np.random.default_rng(seed).bytes(frames * made.frame_bytes)


@pytest.mark.parametrize("vector", VECTORS["flac"], ids=lambda vector: vector["name"])
def test_vectors(vector):
    """Each payload of the vectors unpacks to its samples, and these survive being packed again."""
    made = form(vector["encoding"], vector["channels"], vector["samplerate"])
    payload, canonical = bytes.fromhex(vector["payload"]), bytes.fromhex(vector["canonical"])

    assert canonical == unpack(payload, vector["units"], made)
    assert canonical == unpack(pack(canonical, made), vector["units"], made)


@given(
    st.sampled_from(EXACT),
    st.integers(1, 8),
    st.sampled_from([1, 7, 8000, 44_101, 65_535, 96_000, 655_350]),
    st.integers(1, 5000),
    st.integers(0, 100),
)
@settings(deadline=None, max_examples=60)
def test_every_sample_survives(encoding, channels, samplerate, frames, seed):
    """Noise of each width, number of channels and samplerate survives packing and unpacking."""
    made = form(encoding, channels, samplerate)
    samples = noise(frames, made, seed)
    packed = pack(samples, made)

    assert samples == unpack(packed, frames, made)
    assert frames <= made.frames_in(max(len(packed), len(samples)) + 256 + frames // 64 + 1)


@pytest.mark.parametrize("size", [1024, 16_384, 65_536, 524_288])
@pytest.mark.parametrize("channels", [1, 2, 8])
@pytest.mark.parametrize("encoding", EXACT)
def test_noise_fits_into_a_payload(encoding, channels, size):
    """As many frames as `frames_in` gives fit into a payload, packed or not."""
    made = form(encoding, channels)
    frames = made.frames_in(size)
    samples = noise(frames, made)

    assert len(samples) <= size
    assert len(pack(samples, made)) <= size
    assert len(samples) > size * 0.9 - 256


def flac(samples, samplerate=48_000, subtype="PCM_16", container="FLAC"):
    """A file of *samples*."""
    made = io.BytesIO()
    soundfile.write(made, samples, samplerate, subtype, format=container)
    return made.getvalue()


SILENCE = np.zeros((100, 1), np.int16)
GOOD = flac(SILENCE)
REFUSED = {
    "nothing": (b"", "payload starts with , expected 664c6143"),
    "noise": (noise(100), "payload starts with"),
    "a WAV": (flac(SILENCE, container="WAV"), "payload starts with 52494646"),
    "only the magic": (b"fLaC", "FLAC payload of 100 frames"),
    "half of it": (GOOD[: len(GOOD) // 2], "FLAC payload"),
    "one frame less": (flac(SILENCE[1:]), "frames in a FLAC payload 99, expected 100"),
    "one frame more": (flac(np.zeros((101, 1), np.int16)), "payload 100 and more, expected 100"),
    "a bomb": (flac(np.zeros((1_000_000, 1), np.int16)), "payload 100 and more, expected 100"),
    "two channels": (flac(np.zeros((100, 2), np.int16)), "payload of (48000, 2, 'PCM_16')"),
    "another rate": (flac(SILENCE, 44_100), "payload of (44100, 1, 'PCM_16')"),
    "24 bit": (flac(SILENCE, subtype="PCM_24"), "payload of (48000, 1, 'PCM_24')"),
    "8 bit": (flac(SILENCE, subtype="PCM_S8"), "payload of (48000, 1, 'PCM_S8')"),
}


@pytest.mark.parametrize(("payload", "sentence"), REFUSED.values(), ids=REFUSED)
def test_another_payload_is_refused(payload, sentence):
    """The error says in one line what differs from the expected stream."""
    with pytest.raises(Malformed) as raised:
        unpack(payload, 100, MONO)

    assert sentence in str(raised.value)
    assert 4400 == raised.value.close_code
    assert 1 == len(str(raised.value).splitlines())


def test_a_damaged_payload_never_gives_another_number_of_frames():
    """Each of 2,000 damaged streams gives the frames that the chunk claims, or Malformed."""
    chance = random.Random(0)
    sound = noise(3000)
    whole = pack(sound, MONO)
    refused = 0
    for _ in range(2000):
        payload = bytearray(whole)
        for _ in range(chance.randint(1, 4)):
            payload[chance.randrange(len(payload))] ^= 1 << chance.randrange(8)
        try:
            assert len(sound) == len(unpack(payload[: chance.choice([None, -1, 99])], 3000, MONO))
        except Malformed:
            refused += 1

    assert refused > 1000
