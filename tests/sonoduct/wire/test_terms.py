"""What a receiver offers."""

import pytest

from sonoduct import wire

MIB = 1024 * 1024


@pytest.mark.parametrize(
    ("window", "step"), [(65_536, 32_768), (2 * MIB, MIB), (4 * MIB, MIB), (64 * MIB, MIB)]
)
def test_a_step_is_half_of_a_small_window_and_no_more_of_a_large_one(window, step):
    """So that the sender of a small one never runs dry, and that of a large one hears often."""
    terms = wire.Terms(window, 16, wire.Level.DURABLE, kept=True)

    assert step == terms.step
