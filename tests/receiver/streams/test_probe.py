"""Which chunks of a stream are measured, and when a chunk counts as late."""

import pytest

from receiver.streams import probe as module
from receiver.streams.probe import EVERY_S, MOST, Probe


class Clock:
    """A clock that a test sets."""

    def __init__(self):
        self.now = 100.0

    def monotonic(self):
        return self.now


@pytest.fixture(name="clock", autouse=True)
def _clock(monkeypatch):
    clock = Clock()
    monkeypatch.setattr(module, "time", clock)
    return clock


def test_a_chunk_is_measured_twice(clock):
    """Once when the processors have seen it, and once when it is durable."""
    array, durable = [], []
    probe = Probe(array.append, durable.append)
    probe.start(10, 1.0)
    clock.now += 0.25
    probe.untaken.pass_(9)
    probe.untaken.pass_(10)
    clock.now += 0.5
    probe.unkept.pass_(12)

    assert ([0.25], [0.75]) == (array, durable)
    assert 0 == probe.untaken.first == probe.unkept.first
    assert 1.0 + EVERY_S == probe.due


def test_chunks_that_wait_are_all_measured(clock):
    """A store that stands still for long makes many chunks late, not one."""
    durable = []
    probe = Probe(None, durable.append)
    for end in range(1, MOST + 20):
        probe.start(end, 0.0)
        clock.now += 1

    assert 1 == probe.unkept.first
    probe.unkept.pass_(2)
    assert 3 == probe.unkept.first
    probe.unkept.pass_(1000)
    assert MOST == len(durable)
    assert MOST + 19 == max(durable)


def test_chunks_that_come_again_were_late(clock):
    """After a lost connection those that are durable are done; the others have waited so long."""
    array, durable = [], []
    probe = Probe(array.append, durable.append)
    for end in (10, 20, 30):
        probe.start(end, 0.0)
    clock.now += 4
    probe.resume(20)

    assert [4, 4, 4] == durable
    assert [] == array
    assert 0 == probe.untaken.first == probe.unkept.first


def test_nothing_is_measured_without_a_store():
    """Without somebody to tell, no chunk waits."""
    probe = Probe(None, None)
    probe.start(10, 0.0)

    assert 0 == probe.untaken.first == probe.unkept.first
