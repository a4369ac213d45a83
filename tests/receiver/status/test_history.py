"""From two answers of a replica to its row."""

from math import inf

import pytest

from receiver.status.history import POINTS, UNNAMED, History
from receiver.status.replicas import Answer

PLACE = "10.0.0.1:8767"


def answer(at, name="one", address=PLACE, **totals):
    """Return the answer of a replica; *totals* are metrics without ``receiver_``."""
    named = {f"receiver_{metric}": value for metric, value in totals.items()}
    return Answer(address, at, named, {"replica": name, "version": "1.2"})


def test_rates_are_differences():
    """Audio and bytes per second; the store is full when what is left has been used up."""
    history = History()
    history.add([answer(10, audio_seconds_total=5, received_bytes_total=0, store_free_bytes=9000)])
    (row,) = history.add(
        [answer(12, audio_seconds_total=9, received_bytes_total=600, store_free_bytes=8000)]
    )

    assert (2.0, 300.0) == (row.audio_rate, row.bytes_rate)
    assert 16.0 == row.store_full_in
    assert ("ready", "1.2", (0.0, 2.0)) == (row.state, row.version, row.audio_rates)


def test_a_store_that_does_not_fill():
    """Without a store, or with one that gets emptier, there is no time at which it is full."""
    for free in ((inf, inf), (10, 20)):
        history = History()
        history.add([answer(0, store_free_bytes=free[0])])
        (row,) = history.add([answer(1, store_free_bytes=free[1])])

        assert inf == row.store_full_in
        assert "ready" == row.state


@pytest.mark.parametrize(
    ("totals", "state"),
    [({"draining": 1.0}, "draining"), ({"store_free_bytes": 0.0}, "full"), ({}, "ready")],
)
def test_states(totals, state):
    """A replica that stops, one without room, and one that is ready."""
    (row,) = History().add([answer(0, **totals)])

    assert state == row.state


def test_a_replica_that_is_gone():
    """It stays as a row, with the reason; so does an address that has never answered."""
    history = History()
    history.add([answer(0), answer(0, "two", "10.0.0.2:8767")])
    rows = history.add([Answer(PLACE, 1, fault="refused"), Answer("10.0.0.3:8767", 1, fault="no")])

    assert [("10.0.0.3:8767", "gone", "no"), ("one", "gone", "refused"), ("two", "gone", UNNAMED)]
    assert [
        ("10.0.0.3:8767", "gone", "no"),
        ("one", "gone", "refused"),
        ("two", "gone", UNNAMED),
    ] == [(row.replica, row.state, row.fault) for row in rows]


def test_a_roll():
    """The new replica counts under the name that both have, and its rates begin anew."""
    history = History()
    history.add([answer(0, audio_seconds_total=100)])
    new = answer(1, address="10.0.0.9:8767", audio_seconds_total=1)
    (row,) = history.add([new, answer(1, audio_seconds_total=101, draining=1.0)])

    assert ("ready", "10.0.0.9:8767", 0.0) == (row.state, row.address, row.audio_rate)
    (row,) = history.add([answer(2, address="10.0.0.9:8767", audio_seconds_total=4)])
    assert 3.0 == row.audio_rate


def test_the_past_is_limited():
    """Only so many rates are remembered."""
    history = History()
    for at in range(POINTS + 5):
        (row,) = history.add([answer(at)])

    assert POINTS == len(row.audio_rates)
