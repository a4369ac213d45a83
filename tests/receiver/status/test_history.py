"""From two answers of a replica to its row."""

from math import inf

import pytest

from receiver.status.history import POINTS, UNNAMED, History
from receiver.status.replicas import Answer

PLACE = "10.0.0.1:8767"
NAMED = {"replica": "one"}


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

    assert [
        ("10.0.0.3:8767", "gone", "no"),
        ("one", "gone", "refused"),
        ("two", "gone", UNNAMED),
    ] == [(row.replica, row.state, row.fault) for row in rows]


def test_a_roll():
    """Both replicas have a row while both are there; then the new one has the name alone."""
    history = History()
    history.add([answer(0, audio_seconds_total=100)])
    new = answer(1, address="10.0.0.9:8767", audio_seconds_total=1)
    rows = history.add([new, answer(1, audio_seconds_total=101, draining=1.0)])

    assert [(PLACE, "draining", 1.0), ("10.0.0.9:8767", "ready", 0.0)] == [
        (row.address, row.state, row.audio_rate) for row in rows
    ]
    gone = Answer(PLACE, 2, fault="refused")
    (row,) = history.add([answer(2, address="10.0.0.9:8767", audio_seconds_total=4), gone])
    assert ("10.0.0.9:8767", "ready", 3.0) == (row.address, row.state, row.audio_rate)


def test_a_restart_at_the_same_address():
    """Its counters begin anew, and its rates with them: none is below 0."""
    history = History()
    before = Answer(
        PLACE, 0, {"receiver_audio_seconds_total": 110, "process_start_time_seconds": 5}, NAMED
    )
    after = Answer(
        PLACE, 1, {"receiver_audio_seconds_total": 3, "process_start_time_seconds": 9}, NAMED
    )
    history.add([before])
    (row,) = history.add([after])

    assert (0.0, (0.0,)) == (row.audio_rate, row.audio_rates)


def test_the_past_is_limited():
    """Only so many rates are remembered."""
    history = History()
    for at in range(POINTS + 5):
        (row,) = history.add([answer(at)])

    assert POINTS == len(row.audio_rates)
