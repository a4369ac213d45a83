"""Synthesise the short audio files that lie beside this script.

``python audio/make_samples.py`` writes all four files again. Nothing is recorded or
downloaded: every sample is computed, and the only noise comes from a fixed seed.

A second run gives the same *sample values*, byte for byte once decoded; ``render()`` returns
them without writing anything. Compare decoded samples rather than files: the header of a
floating-point WAV holds the time it was written, and another libsndfile may pack FLAC
differently. Values are rounded to a fixed grid before they are written, so that a last-bit
difference between two machines' sine functions is rounded away.

``sweep-stereo-float.wav`` goes beyond +-1.0 for a few frames. That is on purpose: a
floating-point file can hold such samples, and they are what the ``levels`` processor counts
as clipped.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeAlias

import numpy as np
import soundfile as sf
from numpy.typing import NDArray

Signal: TypeAlias = NDArray[np.float64]

SEED = 1815


@dataclass(frozen=True)
class Sample:
    """One file to write: its frames already have the type that the subtype stores."""

    name: str
    samplerate: int
    subtype: str
    frames: NDArray[Any]


@dataclass(frozen=True)
class Partial:
    """One sine of a bell, relative to the pitch one hears."""

    ratio: float
    level: float
    decay_seconds: float


@dataclass(frozen=True)
class Vowel:
    """Centre frequencies of the three lowest formants, in Hz."""

    first: float
    second: float
    third: float


# The ratios of a minor-third bell: hum, prime, tierce, quint, nominal and three above it.
# They are not multiples of one frequency, which is what makes the ear hear metal.
BELL_PARTIALS = (
    Partial(0.5, 0.45, 1.6),
    Partial(1.0, 1.0, 0.9),
    Partial(1.183, 0.7, 0.7),
    Partial(1.506, 0.3, 0.5),
    Partial(2.0, 0.8, 0.45),
    Partial(2.514, 0.25, 0.3),
    Partial(2.662, 0.2, 0.25),
    Partial(3.011, 0.2, 0.2),
)
# The first quarter of the Westminster chimes: G sharp, F sharp, E, B.
BELL_PITCHES = (830.61, 739.99, 659.26, 493.88)
BELL_INTERVAL_SECONDS = 0.65

# F major, G with a suspended fourth, C major: it moves away and comes to rest.
CHORDS = (
    (174.61, 261.63, 349.23, 440.0),
    (196.0, 261.63, 293.66, 392.0),
    (130.81, 261.63, 329.63, 392.0),
)

# An adult voice saying "ah eh ee oh oo".
VOWELS = (
    Vowel(730.0, 1090.0, 2440.0),
    Vowel(530.0, 1840.0, 2480.0),
    Vowel(270.0, 2290.0, 3010.0),
    Vowel(450.0, 800.0, 2600.0),
    Vowel(300.0, 870.0, 2240.0),
)
VOWEL_SECONDS = 0.45
PAUSE_SECONDS = 0.3


def time_axis(seconds: float, samplerate: int) -> Signal:
    """The time of every frame, in seconds."""
    return np.arange(round(seconds * samplerate)) / samplerate


def white_noise(count: int) -> Signal:
    """Uniform noise in [-1, 1)."""
    # numpy keeps a bit generator's raw stream the same in every release; it makes no such
    # promise for the distributions of Generator.
    raw = np.random.PCG64(SEED).random_raw(count)
    return (raw >> np.uint64(11)).astype(np.float64) * 2.0**-52 - 1.0


def fades(time: Signal, fade_in: float, fade_out: float) -> Signal:
    """An envelope that starts and ends at zero, so that no edge clicks."""
    remaining = time[-1] - time
    rise = np.clip(time / fade_in, 0.0, 1.0)
    fall = np.clip(remaining / fade_out, 0.0, 1.0)
    envelope: Signal = (np.sin(0.5 * np.pi * rise) * np.sin(0.5 * np.pi * fall)) ** 2
    return envelope


def to_grid(signal: Signal, bits: int, peak: float) -> Signal:
    """Whole numbers of ``bits`` bits, the loudest at ``peak`` of full scale."""
    loudest = float(np.max(np.abs(signal)))
    return np.rint(signal * (peak / loudest * 2.0 ** (bits - 1)))


def strike(pitch: float, time: Signal) -> Signal:
    """A bell struck at time zero; silent before."""
    rung = np.maximum(time, 0.0)
    # The clapper needs a few milliseconds to let go: without them the start is a click.
    attack = 1.0 - np.exp(-rung / 0.002)
    tones = (
        partial.level
        * np.exp(-rung / partial.decay_seconds)
        * np.sin(2.0 * np.pi * partial.ratio * pitch * rung)
        for partial in BELL_PARTIALS
    )
    return attack * total(tones, time.size)


def total(parts: Iterable[Signal], count: int) -> Signal:
    """The sum of signals of one length, added in the order given."""
    mixed = np.zeros(count)
    for part in parts:
        mixed += part
    return mixed


def bells() -> Sample:
    """Four bells, each ringing on under the next."""
    samplerate = 44100
    time = time_axis(4.0, samplerate)
    strikes = (
        strike(pitch, time - index * BELL_INTERVAL_SECONDS)
        for index, pitch in enumerate(BELL_PITCHES)
    )
    ringing = total(strikes, time.size) * fades(time, 0.001, 0.6)
    frames = to_grid(ringing, bits=16, peak=0.5).astype(np.int16)
    return Sample("bells-mono-16bit.flac", samplerate, "PCM_16", frames)


def chord(pitches: Sequence[float], time: Signal) -> Signal:
    """Soft tones of two harmonics each, swelling in and dying away."""
    tones = (
        np.sin(2.0 * np.pi * pitch * time) + 0.2 * np.sin(4.0 * np.pi * pitch * time)
        for pitch in pitches
    )
    return total(tones, time.size) * fades(time, 0.12, 0.4)


def chords() -> Sample:
    """Three chords that wander once from the left to the right."""
    samplerate = 48000
    one = time_axis(1.0, samplerate)
    played = np.concatenate([chord(pitches, one) for pitches in CHORDS])
    angle = np.linspace(0.1, 0.4, played.size) * np.pi
    panned = np.stack([played * np.cos(angle), played * np.sin(angle)], axis=1)
    # Full 24-bit detail is mostly rounding noise, which FLAC cannot compress. Eighteen bits are
    # still more than a 16-bit conversion can keep, and the six zero bits below cost nothing.
    grid = to_grid(panned, bits=18, peak=0.35).astype(np.int32)
    # libsndfile takes 24-bit samples left-aligned in 32 bits: 18 bits, then 14 zeros.
    return Sample("chords-stereo-24bit.flac", samplerate, "PCM_24", grid << 14)


def vocal_tract(frequency: Signal, vowel: Vowel) -> Signal:
    """How strongly the throat and mouth pass each frequency."""
    formants = ((vowel.first, 90.0, 1.0), (vowel.second, 110.0, 0.6), (vowel.third, 170.0, 0.3))
    peaks = (
        level / (1.0 + ((frequency - centre) / (0.5 * bandwidth)) ** 2)
        for centre, bandwidth, level in formants
    )
    # The floor keeps the harmonics between two formants audible, as in a real voice.
    return total(peaks, frequency.size) + 0.01


def utter(vowel: Vowel, time: Signal, samplerate: int, breath: Signal) -> Signal:
    """One vowel: the harmonics of a falling pitch, shaped by the formants."""
    pitch = 132.0 - 40.0 * time + 2.0 * np.sin(2.0 * np.pi * 5.5 * time)
    phase = 2.0 * np.pi * np.cumsum(pitch) / samplerate
    # The highest harmonic stays below half the samplerate for the highest pitch.
    harmonics = range(1, int(0.5 * samplerate / float(pitch.max())))
    voiced = total(
        (vocal_tract(n * pitch, vowel) * np.sin(n * phase) / n**0.5 for n in harmonics),
        time.size,
    )
    return (voiced + 0.01 * breath) * fades(time, 0.04, 0.09)


def voice() -> Sample:
    """Five vowels with digital silence before, between and after them."""
    samplerate = 16000
    time = time_axis(VOWEL_SECONDS, samplerate)
    pause = np.zeros(round(PAUSE_SECONDS * samplerate))
    breaths = np.split(white_noise(time.size * len(VOWELS)), len(VOWELS))
    parts = [pause]
    for vowel, breath in zip(VOWELS, breaths, strict=True):
        uttered = utter(vowel, time, samplerate, breath)
        # A closed vowel would be much softer than an open one; a speaker evens that out.
        parts += [uttered / np.sqrt(np.mean(uttered**2)), pause]
    frames = to_grid(np.concatenate(parts), bits=16, peak=0.6).astype(np.int16)
    return Sample("voice-mono-16bit.wav", samplerate, "PCM_16", frames)


def sweep() -> Sample:
    """A rising tone on the left, the same one falling on the right, one moment too loud."""
    samplerate = 22050
    seconds = 0.8
    time = time_axis(seconds, samplerate)
    low, high = 110.0, 7040.0
    growth = np.log(high / low) / seconds
    rising = np.sin(2.0 * np.pi * low / growth * (np.exp(growth * time) - 1.0))
    both = np.stack([rising, rising[::-1]], axis=1)
    # The swell lies in the middle, where both channels pass the same pitch.
    swell = 0.4 + 0.7 * np.exp(-(((time - 0.5 * seconds) / 0.004) ** 2))
    loudness = swell * fades(time, 0.03, 0.03)
    # Twenty bits below the point fit a 32-bit float exactly, above 1.0 too.
    grid = np.rint(both * loudness[:, np.newaxis] * 2.0**20) * 2.0**-20
    return Sample("sweep-stereo-float.wav", samplerate, "FLOAT", grid.astype(np.float32))


def render() -> tuple[Sample, ...]:
    """All samples, in memory."""
    return bells(), chords(), voice(), sweep()


def main() -> None:
    """Write every sample beside this script."""
    folder = Path(__file__).resolve().parent
    for sample in render():
        path = folder / sample.name
        sf.write(path, sample.frames, sample.samplerate, subtype=sample.subtype)
        print(f"{sample.name}: {path.stat().st_size} bytes")


if __name__ == "__main__":
    main()
