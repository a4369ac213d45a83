"""The audio that is sent: noise, so that nothing in it can be compressed away."""

import struct
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import soundfile
import xxhash

RATE, CHANNELS = 44_100, 2
SUBTYPES = {2: "PCM_16", 3: "PCM_24"}
HEADER_BYTES = 80  # of the RF64 that `silence` makes


@dataclass(frozen=True)
class Sound:
    """A file, and what a receiver has to say about it."""

    path: Path
    frames: int
    digest: str
    """xxh3-128 of its samples as they are in the file."""
    payload_bytes: int
    seconds: float


def noise(path, seconds, *, form=(RATE, CHANNELS), sample_bytes=2, seed=0):
    """Write noise of *seconds* to *path*, WAV or FLAC by its suffix."""
    rate, channels = form
    wide = 8 * (4 - sample_bytes)
    chance, digest = np.random.default_rng(seed), xxhash.xxh3_128()
    with soundfile.SoundFile(path, "w", rate, channels, SUBTYPES[sample_bytes]) as file:
        for _ in range(seconds):
            second = chance.integers(-(2**29), 2**29, (rate, channels), np.int32) >> wide << wide
            file.write(second)
            # The lower bytes are empty: what is left is little-endian, as on the wire.
            wide_bytes = second.astype("<i4").view(np.uint8).reshape(-1, 4)
            digest.update(wide_bytes[:, 4 - sample_bytes :].tobytes())
    frames = rate * seconds
    return Sound(path, frames, digest.hexdigest(), frames * channels * sample_bytes, seconds)


def silence(path, size):
    """Write a 16 bit stereo WAV of *size* bytes of silence, which take no room on the disk."""
    width = 2 * CHANNELS
    frames = size // width
    form = struct.pack("<HHIIHH", 1, CHANNELS, RATE, RATE * width, width, 16)
    sizes = struct.pack("<QQQI", HEADER_BYTES - 8 + frames * width, frames * width, frames, 0)
    head = b"RF64\xff\xff\xff\xffWAVE" + b"ds64" + struct.pack("<I", len(sizes)) + sizes
    head += b"fmt " + struct.pack("<I", len(form)) + form + b"data\xff\xff\xff\xff"
    assert len(head) == HEADER_BYTES
    with path.open("wb") as file:
        file.write(head)
        file.truncate(HEADER_BYTES + frames * width)
    digest, zeros = xxhash.xxh3_128(), bytes(1 << 20)
    for start in range(0, frames * width, len(zeros)):
        digest.update(zeros[: frames * width - start])
    return Sound(path, frames, digest.hexdigest(), frames * width, frames / RATE)
