"""The loudness of a stream."""

import json

import numpy as np
import pytest

from receiver import StreamInfo
from receiver.processors.levels import Levels
from sonoduct import wire
from tests.support.rawclient import running, speaking

RATE = 8000


def sine(amplitude, seconds=1.0, channels=1):
    """Return a sine of 1 kHz, of shape (frames, channels)."""
    wave = amplitude * np.sin(2 * np.pi * 1000 * np.arange(int(seconds * RATE)) / RATE)
    return np.repeat(wave[:, None], channels, axis=1).astype(np.float32)


def opened(channels=1):
    """Return the Levels of a stream that has begun."""
    levels = Levels()
    levels.open(StreamInfo(id="0" * 32, name="", samplerate=RATE, channels=channels))
    return levels


def report(samples):
    """Return the report of Levels on a stream of *samples*."""
    levels = opened(samples.shape[1])
    levels.process(samples, 0)
    return levels.close()


@pytest.mark.parametrize(
    ("amplitude", "peak", "rms"),
    [(1.0, 0.0, -3.01), (0.5, -6.02, -9.03), (0.001, -60.0, -63.01), (2.0, 6.02, 3.01)],
)
@pytest.mark.parametrize("channels", [1, 3])
def test_a_sine_reads_as_textbooks_say(amplitude, peak, rms, channels):
    """Full scale is 0 dBFS of peak and -3.01 of RMS, in any number of channels."""
    values = report(sine(amplitude, channels=channels))

    assert peak == pytest.approx(values["peak_dbfs"], abs=0.03)
    assert rms == pytest.approx(values["rms_dbfs"], abs=0.011)


@pytest.mark.parametrize("frames", [0, 1, 100])
def test_silence_has_no_level(frames):
    """The level of digital silence and of an empty stream is null: 0 has no logarithm."""
    assert {"peak_dbfs": None, "rms_dbfs": None, "clipped_frames": 0} == report(
        np.zeros((frames, 2), np.float32)
    )


def test_full_scale_is_not_minus_zero():
    """The level of the largest 16-bit sample rounds to 0.0 dBFS, and not to -0.0."""
    values = report(np.full((10, 1), 32767 / 32768, np.float32))

    assert "0.0" == str(values["peak_dbfs"])


@pytest.mark.parametrize(
    ("frame", "clipped"),
    [
        ((0.5, -0.5), 0),
        ((32766 / 32768, -32766 / 32768), 0),
        ((32767 / 32768, 0), 1),
        ((0, -1.0), 1),
        ((1.0, -1.0), 1),
        ((0, 1.5), 1),
        ((0, float("inf")), 1),
    ],
)
def test_a_frame_clips_if_one_of_its_samples_does(frame, clipped):
    """Samples at or beyond what 16 bits can hold, counted once for each frame."""
    samples = np.zeros((100, 2), np.float32)
    samples[7] = samples[50] = frame

    assert 2 * clipped == report(samples)["clipped_frames"]


@pytest.mark.parametrize("step", [1, 300, 1000, 8000, 9000, 20_000])
def test_each_second_has_its_own_levels(step):
    """A finding for each full second, however large the chunks are; the receipt covers all."""
    levels = opened()
    whole = np.concatenate([sine(1.0), sine(0.1), sine(0.5, 0.5)])
    found = []
    for at in range(0, len(whole), step):
        found += levels.process(whole[at : at + step], at) or ()
    values = levels.close()

    loud = {"peak_dbfs": 0.0, "rms_dbfs": -3.01, "clipped_frames": 2000}
    quiet = {"peak_dbfs": -20.0, "rms_dbfs": -23.01, "clipped_frames": 0}
    assert [(0, 8000, loud), (8000, 16_000, quiet)] == found
    mean_square = (0.5 + 0.005 + 0.125 / 2) / 2.5
    expected = {"peak_dbfs": 0.0, "rms_dbfs": 10 * np.log10(mean_square), "clipped_frames": 2000}
    assert expected == pytest.approx(values, abs=0.006)


@pytest.mark.parametrize("odd", [np.nan, np.inf, -np.inf, 1e30, 1e-42])
@pytest.mark.parametrize("at", [0, 50, 99])
def test_nan_and_infinity_do_no_harm(odd, at):
    """No float raises an exception or a warning, and the JSON is valid."""
    samples = np.full((100, 1), 0.5, np.float32)
    samples[at] = odd

    values = report(samples)

    assert values == json.loads(json.dumps(values, allow_nan=False))


async def test_levels_arrive_at_the_client():
    """The client gets an event for each second of the stream, and the receipt has the report."""
    pcm = (sine(0.5, 3.0, 2) * 32767).astype("<i2").tobytes()
    async with running(Levels) as receiver, speaking(receiver.url) as client:
        await client.greet()
        await client.send(pcm, chunk_bytes=4000)
        receipt = await client.commit()
    events = client.all(wire.Event)

    assert [(0, 8000), (8000, 16_000), (16_000, 24_000)] == [
        (event.offset, event.end) for event in events
    ]
    for values in [event.values for event in events] + [receipt.processors["levels"]]:
        assert {"peak_dbfs", "rms_dbfs", "clipped_frames"} == set(values)
        assert -9.03 == pytest.approx(values["rms_dbfs"], abs=0.02)
        assert -6.02 == pytest.approx(values["peak_dbfs"], abs=0.03)


async def test_odd_floats_do_not_end_the_stream():
    """A stream full of NaN and infinity commits, with null for its levels."""
    format_ = wire.Format(samplerate=RATE, channels=1, encoding=wire.Encoding.F32LE)
    payload = np.tile(np.array([np.nan, np.inf, -np.inf, 1e38], "<f4"), 4000).tobytes()
    async with running(Levels) as receiver, speaking(receiver.url, format_=format_) as client:
        await client.greet()
        await client.send(payload)
        receipt = await client.commit()

    assert {} == receipt.failures
    assert receipt.processors["levels"]["rms_dbfs"] is None
