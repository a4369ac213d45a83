"""A stream's format and its limits."""

import pytest

import wire


def make(samplerate=48_000, channels=2, encoding=wire.Encoding.S16LE):
    """Build a format."""
    return wire.Format(samplerate=samplerate, channels=channels, encoding=encoding)


@pytest.mark.parametrize(
    ("encoding", "frame_bytes"),
    [(wire.Encoding.S16LE, 4), (wire.Encoding.S24LE, 6), (wire.Encoding.F32LE, 8)],
)
def test_frame_is_one_sample_for_each_channel(encoding, frame_bytes):
    """Two channels take twice the bytes of a sample."""
    assert frame_bytes == make(encoding=encoding).frame_bytes


@pytest.mark.parametrize("samplerate", [-1, 0, 768_001])
def test_samplerate_out_of_range_is_refused(samplerate):
    """No device and no library knows such a samplerate."""
    with pytest.raises(ValueError, match=f"^samplerate {samplerate}, expected 1 to 768000$"):
        make(samplerate=samplerate)


@pytest.mark.parametrize("channels", [-1, 0, 65])
def test_channels_out_of_range_are_refused(channels):
    """64 channels are the most that a stream has."""
    with pytest.raises(ValueError, match=f"^channels {channels}, expected 1 to 64$"):
        make(channels=channels)


@pytest.mark.parametrize(("samplerate", "channels"), [(1, 1), (768_000, 64)])
def test_bounds_are_in_range(samplerate, channels):
    """The first and the last value are allowed."""
    wanted = make(samplerate=samplerate, channels=channels)

    assert (samplerate, channels) == (wanted.samplerate, wanted.channels)


def test_wire_names():
    """These words are the protocol; a change here is a new version."""
    assert ["pcm", "file"] == list(wire.Kind)
    assert ["s16le", "s24le", "f32le"] == list(wire.Encoding)
    assert ["received", "durable"] == list(wire.Level)
    assert ["open", "committed"] == list(wire.State)
    assert "sonoduct.v1" == wire.SUBPROTOCOL
