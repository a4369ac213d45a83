"""G.711, the 8 bit samples of telephony."""

import numpy as np
import pytest
import soundfile

from sonoduct.audio.g711 import ALAW, MULAW


@pytest.mark.parametrize(("table", "subtype"), [(MULAW, "ULAW"), (ALAW, "ALAW")])
def test_every_byte_decodes_as_in_libsndfile(tmp_path, table, subtype):
    """Another implementation agrees on all 256 values."""
    path = tmp_path / "all.raw"
    path.write_bytes(bytes(range(256)))
    expected = soundfile.read(
        path, dtype="int16", samplerate=8000, channels=1, format="RAW", subtype=subtype
    )[0]

    assert np.array_equal(expected, table)


@pytest.mark.parametrize(
    ("table", "byte", "value"),
    [(MULAW, 0x80, 32124), (MULAW, 0x00, -32124), (MULAW, 0xFF, 0), (ALAW, 0xAA, 32256)],
)
def test_the_ends_of_the_scale(table, byte, value):
    """Full scale and silence have the values of the standard's tables."""
    assert value == table[byte]
