"""Credit: counting bytes by the units they carry."""

from sonoduct.wire.credit import Grant, Ledger


def test_new_ledger_is_empty():
    """Nothing sent, nothing outstanding."""
    ledger = Ledger()

    assert (0, 0, 0) == (ledger.added, ledger.settled, ledger.outstanding)


def test_settling_frees_whole_messages_only():
    """A message of which one unit is missing keeps all of its bytes."""
    ledger = Ledger()
    ledger.add(end=10, size=100)
    ledger.add(end=20, size=200)
    ledger.settle(19)

    assert (300, 100, 200) == (ledger.added, ledger.settled, ledger.outstanding)


def test_settling_is_cumulative():
    """One offset frees everything before it, and a second time nothing."""
    ledger = Ledger()
    ledger.add(end=10, size=100)
    ledger.add(end=20, size=200)
    ledger.settle(20)
    ledger.settle(20)

    assert (300, 0) == (ledger.settled, ledger.outstanding)


def test_settling_an_older_offset_changes_nothing():
    """Offsets may come twice or late."""
    ledger = Ledger()
    ledger.add(end=10, size=100)
    ledger.settle(10)
    ledger.settle(5)

    assert 100 == ledger.settled


def test_edge_starts_at_the_window():
    """The sender knows of the window from the answer to its hello."""
    grant = Grant(1000)

    assert (1000, 1000) == (grant.edge, grant.announced)


def test_edge_moves_with_what_is_settled():
    """The edge is the window plus every byte that was freed; the sender is told later."""
    grant = Grant(1000)
    grant.add(end=10, size=600)
    grant.settle(10)

    assert (1600, 1000) == (grant.edge, grant.announced)


def test_announcing_tells_the_edge():
    """From now on the sender may go to the edge."""
    grant = Grant(1000)
    grant.add(end=10, size=600)
    grant.settle(10)
    grant.announce()

    assert 1600 == grant.announced
