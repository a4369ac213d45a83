"""What clients may store: the decisions alone."""

from math import inf

import pytest

from receiver.streams import quotas
from receiver.streams.quotas import Quotas
from sonoduct.wire import StorageFailed, TooLarge


class Disk:
    """A store as quotas see it."""

    def __init__(self, free=1000.0):
        self.free_bytes = free
        self.counted_at = 0.0
        self.recordings, self.journals = {}, {}

    def stored_bytes(self, token):
        """Return what was counted."""
        return self.recordings.get(token, 0), self.journals.get(token, 0)


@pytest.fixture
def disk():
    """Return a disk of 1000 free bytes."""
    return Disk()


@pytest.fixture
def clock():
    """Return a clock that a test sets."""
    return [0.0]


@pytest.fixture
def made(disk, clock):
    """Return quotas of that disk."""
    return Quotas(5000, disk, lambda: clock[0])


def grown(made, client, source, size, token="", quota=None):
    """Decode a file whose stream is kept."""
    growth, kept = made.decoded(client, token, quota, source), False
    try:
        growth.require_fit(size)
        kept = True
    finally:
        growth.close(kept=kept)


def test_files_of_an_address_grow_by_a_tenth_of_what_is_free(made):
    """A file may take what it was sent with, and all of them together a tenth more."""
    with pytest.raises(TooLarge, match="at least 151, expected at most 150 of free space"):
        grown(made, "a", 50, 151)
    grown(made, "b", 50, 150)


def test_what_was_decoded_before_counts_for_a_day(made, clock, disk):
    """Another address has its own share."""
    grown(made, "a", 50, 140)
    with pytest.raises(TooLarge):
        grown(made, "a", 50, 80)
    grown(made, "b", 50, 80)
    clock[0] = quotas.PERIOD_S + 1
    disk.counted_at = clock[0]
    grown(made, "a", 50, 140)


def test_files_that_are_decoded_at_once_have_one_share(made):
    """Each takes from it what it has grown to so far, and gives it back if its stream ends."""
    one, two = (made.decoded("a", "", None, 0) for _ in range(2))
    one.require_fit(60)
    two.require_fit(40)
    with pytest.raises(TooLarge, match="at most 40 of free space"):
        two.require_fit(41)
    one.close(kept=False)
    two.require_fit(100)


def test_a_token_has_its_quota_only(made, disk):
    """What the store has counted, and what was stored since, are taken from it."""
    assert inf == made.left("anna", None)
    disk.recordings["anna"] = 300
    made.committed("anna", 100)
    made.committed("bert", 100)
    made.committed("", 100)

    assert 600 == made.left("anna", 1000)
    grown(made, "token anna", 1, 600, "anna", 1000)
    with pytest.raises(TooLarge, match="expected at most 600 left of the token's quota"):
        grown(made, "token anna", 1, 601, "anna", 1000)


def test_a_stream_that_the_store_has_counted_counts_once(made, disk, clock):
    """Those of before the count are dropped; journals and streams under way are the same ones."""
    made.committed("anna", 600)
    clock[0] = 10.0
    assert 400 == made.left("anna", 1000)
    disk.recordings["anna"], disk.counted_at = 600, 5.0
    assert 400 == made.left("anna", 1000)
    disk.journals["anna"] = 100
    assert 300 == made.left("anna", 1000, under_way=80)
    assert 280 == made.left("anna", 1000, under_way=120)


def test_the_reserve_is_never_used(made, disk):
    """A token without a quota may fill the disk, and no more."""
    grown(made, "token a", 1, 1000, "a")
    with pytest.raises(StorageFailed, match="at most 1000 that are free"):
        grown(made, "token a", 1, 1001, "a")
    disk.free_bytes = inf
    with pytest.raises(TooLarge, match="at most 5000 of a stream"):
        grown(made, "token a", 1, 5001, "a")


def test_clients_are_forgotten_in_time(made, disk, monkeypatch):
    """Ten thousand addresses take a bounded memory."""
    monkeypatch.setattr(quotas, "REMEMBERED", 10)
    for number in range(100):
        grown(made, str(number), 0, 1)

    assert 10 == len(made._grown)
    assert not made._growing
