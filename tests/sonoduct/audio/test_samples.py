"""Samples as bytes and back: bit for bit what soundfile reads from the same file."""

import numpy as np
import pytest
import soundfile as sf

from sonoduct.audio.samples import pack24, to_float32
from sonoduct.wire import Encoding

SAMPLERATE = 48_000
EXTREMES_16 = [-(2**15), -(2**15) + 1, -1, 0, 1, 2**15 - 1]
EXTREMES_24 = [-(2**23), -(2**23) + 1, -(2**15), -1, 0, 1, 2**15, 2**22 + 1, 2**23 - 1]
EXTREMES_32 = [
    0.0,
    -0.0,
    1.0,
    -1.0,
    1.5,
    2**-149,
    -(2**-126),
    3.4028234663852886e38,
    np.inf,
    np.nan,
]

SOURCES = {
    "PCM_16": (np.int16, EXTREMES_16, "int16", np.ndarray.tobytes, Encoding.S16LE),
    "PCM_24": (np.int32, EXTREMES_24, "int32", pack24, Encoding.S24LE),
    "FLOAT": (np.float32, EXTREMES_32, "float32", np.ndarray.tobytes, Encoding.F32LE),
}


def noise(dtype, extremes, channels):
    """Random samples of the whole range of a source, with its extremes in front."""
    rng = np.random.default_rng(channels)
    if dtype is np.float32:
        body = rng.standard_normal(6000).astype(np.float32)
    else:
        body = rng.integers(min(extremes), max(extremes), 6000, endpoint=True, dtype=dtype)
    flat = np.concatenate([np.array(extremes, dtype), body])
    return flat[: len(flat) // channels * channels].reshape(-1, channels)


@pytest.mark.parametrize("channels", [1, 2, 6])
@pytest.mark.parametrize("subtype", SOURCES)
def test_samples_equal_those_of_soundfile(tmp_path, subtype, channels):
    """The receiver's arrays equal the samples that soundfile reads from the sender's file."""
    dtype, extremes, read_as, to_bytes, encoding = SOURCES[subtype]
    path = tmp_path / "source.wav"
    samples = noise(dtype, extremes, channels)
    # soundfile's scale for 24 bit is the upper part of an int32.
    sf.write(path, samples << 8 if subtype == "PCM_24" else samples, SAMPLERATE, subtype)

    payload = to_bytes(sf.read(path, dtype=read_as, always_2d=True)[0])
    expected = sf.read(path, dtype="float32", always_2d=True)[0]
    actual = to_float32(payload, encoding, channels)

    assert expected.shape == actual.shape == samples.shape
    assert expected.tobytes() == actual.tobytes()


def test_every_16_bit_sample_is_exact():
    """All 65,536 integers become the quotient by 2**15, and no two the same."""
    integers = np.arange(-(2**15), 2**15)
    actual = to_float32(integers.astype("<i2").tobytes(), Encoding.S16LE, 1).ravel()

    assert np.array_equal(integers / 2**15, actual)
    assert 2**16 == len(np.unique(actual))


def test_every_24_bit_sample_is_exact():
    """All 16,777,216 integers become the quotient by 2**23."""
    for first in range(-(2**23), 2**23, 2**20):
        integers = np.arange(first, first + 2**20, dtype="<i4")
        packed = integers.view(np.uint8).reshape(-1, 4)[:, :3].tobytes()
        actual = to_float32(packed, Encoding.S24LE, 1).ravel()

        assert np.array_equal(integers / 2**23, actual)


def test_every_16_bit_sample_equals_soundfile(tmp_path):
    """All 65,536 integers, through a file."""
    path = tmp_path / "all.wav"
    integers = np.arange(-(2**15), 2**15).astype(np.int16)
    sf.write(path, integers, SAMPLERATE, "PCM_16")

    expected = sf.read(path, dtype="float32", always_2d=True)[0]
    actual = to_float32(integers.astype("<i2").tobytes(), Encoding.S16LE, 1)

    assert expected.tobytes() == actual.tobytes()


def test_pack24_takes_the_upper_bits():
    """Three bytes of each int32, least significant first."""
    samples = np.array([[0x12345600, -256], [-(2**31), 2**31 - 256]], np.int32)

    assert "563412ffffff000080ffff7f" == pack24(samples).hex()


def test_pack24_does_not_depend_on_the_byte_order_of_the_array():
    """An array in the other byte order gives the same bytes."""
    samples = np.array([[0x12345600, -256]], np.int32)

    assert pack24(samples) == pack24(samples.astype(">i4"))


def test_every_24_bit_sample_survives_packing():
    """Boundaries and a sample of the rest come back as the quotient by 2**23."""
    integers = np.concatenate([EXTREMES_24, np.arange(-(2**23), 2**23, 251)]).astype(np.int32)
    actual = to_float32(pack24(integers << 8), Encoding.S24LE, 1).ravel()

    assert np.array_equal(integers / 2**23, actual)


@pytest.mark.parametrize("encoding", Encoding)
@pytest.mark.parametrize("kind", [bytes, bytearray, memoryview])
def test_samples_are_read_only(encoding, kind):
    """No processor can change the samples that another one sees."""
    samples = to_float32(kind(bytes(24)), encoding, 2)

    with pytest.raises(ValueError, match="read-only"):
        samples[0, 0] = 1


@pytest.mark.parametrize("encoding", Encoding)
def test_samples_have_the_shape_of_soundfile(encoding):
    """Frames by channels, float32, C-contiguous."""
    samples = to_float32(bytes(encoding.sample_bytes * 6), encoding, 3)

    assert (2, 3) == samples.shape
    assert np.float32 == samples.dtype
    assert samples.flags.c_contiguous


def test_channels_are_interleaved():
    """A frame's samples are neighbours."""
    payload = np.array([1, 2, 3, 4], "<f4").tobytes()

    assert [[1, 2], [3, 4]] == to_float32(payload, Encoding.F32LE, 2).tolist()


def test_floats_are_not_copied():
    """The array of an f32le payload is a view of its bytes."""
    payload = bytearray(8)
    samples = to_float32(payload, Encoding.F32LE, 1)
    payload[3] = 0x40

    assert 2.0 == samples[0, 0]


@pytest.mark.parametrize("encoding", Encoding)
def test_no_bytes_are_no_frames(encoding):
    """An empty payload is a whole number of frames."""
    assert (0, 2) == to_float32(b"", encoding, 2).shape


@pytest.mark.parametrize(
    ("encoding", "size"),
    [(encoding, size) for encoding in Encoding for size in range(1, encoding.sample_bytes * 2)],
)
def test_part_of_a_frame_is_refused(encoding, size):
    """Neither half a sample nor a sample for half of the channels is a frame."""
    with pytest.raises(ValueError, match=r"size|reshape"):
        to_float32(bytes(size), encoding, 2)


def test_unknown_encoding_is_refused():
    """If an encoding is added to the list but not to the conversion, the conversion fails."""
    with pytest.raises(AssertionError, match="'u8'"):
        to_float32(b"", "u8", 1)
