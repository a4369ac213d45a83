"""Audio files to send, and the samples that soundfile reads from them."""

import numpy as np
import soundfile

RATE = 16_000


def noise(frames, channels=1, seed=0):
    """Return reproducible float32 noise within [-1, 1), of shape (frames, channels)."""
    return np.random.default_rng(seed).uniform(-1, 1, (frames, channels)).astype(np.float32)


def write(path, frames=RATE, channels=1, subtype="PCM_16", **how):
    """Write noise to *path*; return *path*."""
    soundfile.write(path, noise(frames, channels), how.pop("samplerate", RATE), subtype, **how)
    return path


def samples(path):
    """Return the samples that soundfile reads from *path*; tests compare with them."""
    return soundfile.read(path, dtype="float32", always_2d=True)[0]


def same(expected, actual):
    """Return whether two arrays have the same shape, dtype and bits."""
    return (expected.shape, expected.dtype, expected.tobytes()) == (
        actual.shape,
        actual.dtype,
        actual.tobytes(),
    )
