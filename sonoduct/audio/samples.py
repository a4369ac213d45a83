"""
Canonical bytes to float32 samples, exactly; 24 bit integers packed and unpacked.

Integers scale by a power of two, so that the float32 values equal, bit for bit, what
``soundfile.read(dtype="float32")`` gives on the source: every 16 and 24 bit integer fits into the
24 bit significand of a float32 (IEEE 754, table 3.5).
"""

from __future__ import annotations

from typing import Final, assert_never

import numpy as np
import numpy.typing as npt

from sonoduct.wire import Buffer, Encoding

Samples = npt.NDArray[np.float32]
"""Audio of shape ``(frames, channels)``, C-contiguous, nominally within [-1, 1]."""

_INT16: Final = np.dtype("<i2")
_FLOAT32: Final = np.dtype("<f4")
_SCALE16: Final = np.float32(2**-15)


def to_float32(payload: Buffer, encoding: Encoding, channels: int) -> Samples:
    """
    Return the samples that *payload* holds, as a read-only array of shape (frames, channels).

    An ``f32le`` payload is not copied: the array is a view that keeps *payload* alive.

    Raises:
        ValueError: if *payload* is not a whole number of frames.
    """
    match encoding:
        case Encoding.F32LE:
            flat = np.frombuffer(payload, _FLOAT32)
        case Encoding.S16LE:
            # In two steps: numpy would convert pieces of 8192 samples, in twice the time.
            flat = np.frombuffer(payload, _INT16).astype(np.float32)
            flat *= _SCALE16
        case Encoding.S24LE:
            flat = unpack24(payload).astype(np.float32) * np.float32(2**-31)
        case _:
            assert_never(encoding)
    samples = flat.reshape(-1, channels)
    samples.setflags(write=False)
    return samples


def pack24(samples: npt.NDArray[np.int32]) -> bytes:
    """Return the upper 24 bits of each int32 (soundfile's scale for 24 bit) as ``s24le``."""
    return samples.astype("<i4", copy=False).view(np.uint8).reshape(-1, 4)[:, 1:].tobytes()


def unpack24(payload: Buffer) -> npt.NDArray[np.int32]:
    """Return ``s24le`` samples as the upper 24 bits of int32, flat: `pack24` the other way."""
    packed = np.frombuffer(payload, np.uint8).reshape(-1, 3)
    wide = np.zeros((len(packed), 4), np.uint8)
    wide[:, 1:] = packed
    return wide.view("<i4").ravel()
