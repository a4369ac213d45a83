"""A stream's format and its limits."""

import pytest
from msgspec.structs import replace

from sonoduct import wire


def make(samplerate=48_000, channels=2, encoding=wire.Encoding.S16LE):
    """Build a format."""
    return wire.Format(samplerate=samplerate, channels=channels, encoding=encoding)


@pytest.mark.parametrize(
    ("encoding", "frame_bytes"),
    [(wire.Encoding.S16LE, 4), (wire.Encoding.S24LE, 6), (wire.Encoding.F32LE, 8)],
)
def test_frame_is_one_sample_for_each_channel(encoding, frame_bytes):
    """A frame of two channels has twice the bytes of a sample."""
    assert frame_bytes == make(encoding=encoding).frame_bytes


@pytest.mark.parametrize("samplerate", [-1, 0, 768_001])
def test_samplerate_out_of_range_is_refused(samplerate):
    """The error names the samplerate and the allowed range."""
    with pytest.raises(ValueError, match=f"^samplerate {samplerate}, expected 1 to 768000$"):
        make(samplerate=samplerate)


@pytest.mark.parametrize("channels", [-1, 0, 65])
def test_channels_out_of_range_are_refused(channels):
    """The error names the number of channels and the allowed range."""
    with pytest.raises(ValueError, match=f"^channels {channels}, expected 1 to 64$"):
        make(channels=channels)


@pytest.mark.parametrize(("samplerate", "channels"), [(1, 1), (768_000, 64)])
def test_bounds_are_in_range(samplerate, channels):
    """The first and the last value are allowed."""
    wanted = make(samplerate=samplerate, channels=channels)

    assert (samplerate, channels) == (wanted.samplerate, wanted.channels)


def test_wire_names():
    """These words are part of the protocol; a change here is a new version."""
    assert ["pcm", "file"] == list(wire.Kind)
    assert ["s16le", "s24le", "f32le"] == list(wire.Encoding)
    assert ["received", "durable"] == list(wire.Level)
    assert ["open", "committed"] == list(wire.State)
    assert "sonoduct.v1" == wire.SUBPROTOCOL


S24LE, F32LE = wire.Encoding.S24LE, wire.Encoding.F32LE


@pytest.mark.parametrize(
    ("changed", "fits"),
    [
        ({}, True),
        ({"encoding": S24LE, "channels": 8, "samplerate": 655_350}, True),
        ({"samplerate": 65_535}, True),
        ({"samplerate": 65_536}, False),
        ({"samplerate": 655_360}, False),
        ({"channels": 9}, False),
        ({"encoding": F32LE}, False),
    ],
)
def test_flac_holds_some_formats(changed, fits):
    """If FLAC cannot hold a format exactly, the format cannot be compressed."""
    made = make(**changed)

    assert fits == made.fits_flac
    if fits:
        assert wire.Compression.FLAC == replace(made, compression="flac").compression
    else:
        with pytest.raises(ValueError, match="flac of .*, expected s16le or s24le, 1 to 8 chann"):
            replace(made, compression=wire.Compression.FLAC)


@pytest.mark.parametrize(
    ("size", "frames", "packed"),
    [(0, 0, 0), (3, 0, 0), (4, 1, 0), (256, 64, 0), (261, 65, 1), (65_536, 16_384, 16_256)],
)
def test_as_many_frames_as_fit(size, frames, packed):
    """Compressed frames leave some room in a payload, because noise may grow."""
    made = make()
    flac = replace(made, compression=wire.Compression.FLAC)

    assert (frames, packed) == (made.frames_in(size), flac.frames_in(size))


def hello(**fields):
    """Return a hello with *fields*."""
    return wire.Hello(stream="0" * 32, instance="a", **fields)


def test_units_of_samples_are_frames():
    """The units of samples are frames, and the units of a file are bytes."""
    flac = replace(make(), compression=wire.Compression.FLAC)
    samples, packed = hello(format=make()), hello(format=flac)
    file = hello(kind=wire.Kind.FILE)

    assert [4, 4, 1] == [each.unit_bytes for each in (samples, packed, file)]
    assert [False, True, False] == [each.compressed for each in (samples, packed, file)]
    assert [25, 0, 100] == [each.units_in(100) for each in (samples, packed, file)]
    assert make() == samples.pcm


@pytest.mark.parametrize(
    ("fields", "said"),
    [
        ({}, "no format in a hello of kind pcm, expected one"),
        (
            {"kind": wire.Kind.FILE, "format": make()},
            "a format in a hello of kind file, expected none",
        ),
    ],
)
def test_only_samples_have_a_format(fields, said):
    """A hello of samples needs a format, and a hello of a file must have none."""
    with pytest.raises(ValueError, match=f"^{said}$"):
        hello(**fields)
