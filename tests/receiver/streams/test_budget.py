"""The memory that streams share."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from receiver import Limits
from receiver.settings import MINIMUM_WINDOW
from receiver.streams.budget import Budget
from sonoduct import wire

KIB = 1024


def limits(connections, memory, window=2048 * KIB):
    """Return limits as an operator may set them."""
    return Limits(max_connections=connections, memory_bytes=memory, window_bytes=window)


@given(
    connections=st.integers(1, 12),
    spare=st.integers(0, 3000 * KIB),
    window=st.integers(MINIMUM_WINDOW, 2048 * KIB),
    turns=st.lists(st.integers(-12, 3), max_size=60),
)
def test_every_allowed_connection_gets_a_window(connections, spare, window, turns):
    """In any order of coming and going, each gets one, and the sum stays within memory."""
    memory = connections * MINIMUM_WINDOW + spare
    budget, taken = Budget(limits(connections, memory, window)), []
    for turn in turns:
        if turn >= 0 and len(taken) < connections:
            taken.append(budget.take())
        elif taken:
            budget.give_back(taken.pop(turn % len(taken)))

        assert all(MINIMUM_WINDOW <= each <= window for each in taken)
        assert sum(taken) == budget.taken <= memory


def test_windows_are_full_while_there_is_plenty():
    """The first streams get all that the settings allow for one."""
    budget = Budget(limits(4, 4 * 1024 * KIB, window=512 * KIB))

    assert [512 * KIB] * 4 == [budget.take() for _ in range(4)]


def test_one_more_than_allowed_is_refused():
    """If no memory is left, a stream is refused instead of given less than the minimum."""
    budget = Budget(limits(2, 2 * MINIMUM_WINDOW))
    budget.take()
    budget.take()

    with pytest.raises(wire.Overloaded, match=r"free memory for streams 0, expected 65536"):
        budget.take()


def test_memory_that_is_given_back_can_be_taken_again():
    """The budget does not leak."""
    budget = Budget(limits(1, MINIMUM_WINDOW))
    for _ in range(3):
        budget.give_back(budget.take())

    assert 0 == budget.taken


def test_memory_below_the_minimum_is_refused():
    """The settings themselves promise each connection its minimum."""
    with pytest.raises(ValueError, match=r"memory-bytes 131071, expected at least 131072: 65536"):
        limits(2, 2 * MINIMUM_WINDOW - 1)


@given(window=st.integers(MINIMUM_WINDOW, 4096 * KIB), chunk=st.integers(1024, 512 * KIB))
def test_two_chunks_fit_into_any_window(window, chunk):
    """A sender need not wait for the ack of each chunk."""
    largest = Limits(window_bytes=window, chunk_bytes=chunk).max_chunk(window)

    assert 0 < 2 * (largest + wire.HEADER_BYTES) <= window


@pytest.mark.parametrize(
    ("window", "halved"), [(4096 * KIB, 2048 * KIB), (MINIMUM_WINDOW, MINIMUM_WINDOW)]
)
def test_a_stream_without_a_store_gets_half_a_window(window, halved):
    """The receiver waits for no disk; the minimum stays."""
    chosen = Limits(window_bytes=window)

    assert (window, halved) == (chosen.window(kept=True), chosen.window(kept=False))
    assert [halved] == [Budget(chosen, chosen.window(kept=False)).take()]
