"""
Telephony's 8 bit samples as 16 bit ones: ITU-T G.711, µ-law and A-law.

Each table maps a byte to its value, scaled to 16 bit. Different bytes have different values, so
nothing is lost.
"""

from __future__ import annotations

from typing import Final

import numpy as np
import numpy.typing as npt

Table = npt.NDArray[np.int16]
"""256 values of ``<i2``, by byte."""


def _mulaw() -> Table:
    """Table 2a of G.711: the sign, three bits of exponent, four of mantissa, all inverted."""
    code = ~np.arange(256) & 0xFF
    magnitude = (((code & 0x0F) << 3) + 0x84 << (code >> 4 & 7)) - 0x84
    return np.where(code & 0x80, -magnitude, magnitude).astype("<i2")


def _alaw() -> Table:
    """Table 1a of G.711: as above, with every second bit inverted; small values are linear."""
    code = np.arange(256) ^ 0x55
    exponent, mantissa = code >> 4 & 7, (code & 0x0F) << 4
    magnitude = np.where(
        exponent == 0, mantissa + 8, (mantissa + 0x108) << np.maximum(exponent - 1, 0)
    )
    return np.where(code & 0x80, magnitude, -magnitude).astype("<i2")


MULAW: Final = _mulaw()
ALAW: Final = _alaw()
