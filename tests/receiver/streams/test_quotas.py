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
        self.stored = {}

    def stored_bytes(self, token):
        """Return what was counted."""
        return self.stored.get(token, 0)


@pytest.fixture
def disk():
    """Return a disk of 1000 free bytes."""
    return Disk()


@pytest.fixture
def made(disk):
    """Return quotas of that disk."""
    made.now = 0.0
    return Quotas(5000, disk, lambda: made.now)


def test_files_of_an_address_grow_by_a_tenth_of_what_is_free(made):
    """A file may take what it was sent with, and all of them together a tenth more."""
    made.decoded("a", "", None, 50).require_fit(150)
    with pytest.raises(TooLarge, match="at least 151, expected at most 150 of free space"):
        made.decoded("a", "", None, 50).require_fit(151)
    made.grew("a", 50, 140)
    made.decoded("a", "", None, 50).require_fit(60)
    with pytest.raises(TooLarge):
        made.decoded("a", "", None, 50).require_fit(80)
    made.decoded("b", "", None, 50).require_fit(150)


def test_an_address_may_go_on_the_next_day(made):
    """What files have grown by counts for a day."""
    made.grew("a", 0, 100)
    with pytest.raises(TooLarge):
        made.decoded("a", "", None, 50).require_fit(100)
    quotas_day = quotas.PERIOD_S + 1
    made._since -= quotas_day
    made.decoded("a", "", None, 50).require_fit(100)


def test_a_token_has_its_quota_only(made, disk):
    """What the store has counted, and what was stored since, are taken from it."""
    assert inf == made.left("anna", None)
    disk.stored["anna"] = 300
    made.committed("anna", 100)
    made.committed("bert", 100)
    made.committed("", 100)

    assert 600 == made.left("anna", 1000)
    made.decoded("token anna", "anna", 1000, 1).require_fit(600)
    with pytest.raises(TooLarge, match="expected at most 600 left of the token's quota"):
        made.decoded("token anna", "anna", 1000, 1).require_fit(601)


def test_the_reserve_is_never_used(made, disk):
    """A token without a quota may fill the disk, and no more."""
    made.decoded("token a", "a", None, 1).require_fit(1000)
    with pytest.raises(StorageFailed, match="at most 1000, which are free"):
        made.decoded("token a", "a", None, 1).require_fit(1001)
    disk.free_bytes = inf
    with pytest.raises(TooLarge, match="at most 5000 of a stream"):
        made.decoded("token a", "a", None, 1).require_fit(5001)


def test_clients_are_forgotten_in_time(made, monkeypatch):
    """Ten thousand addresses take a bounded memory."""
    monkeypatch.setattr(quotas, "REMEMBERED", 10)
    for number in range(100):
        made.grew(str(number), 0, 1)

    assert 10 == len(made._grown)
