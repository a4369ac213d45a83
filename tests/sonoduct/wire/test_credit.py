"""Credit: counting the bytes of messages by the units that they carry."""

from sonoduct.wire.credit import Grant, Ledger


def test_new_ledger_is_empty():
    """Nothing sent, nothing outstanding."""
    ledger = Ledger()

    assert (0, 0, 0) == (ledger.added, ledger.settled, ledger.outstanding)


def test_settling_frees_whole_messages_only():
    """If one unit of a message is missing, the message keeps all of its bytes."""
    ledger = Ledger()
    ledger.add(end=10, size=100)
    ledger.add(end=20, size=200)
    ledger.settle(19)

    assert (300, 100, 200) == (ledger.added, ledger.settled, ledger.outstanding)


def test_settling_is_cumulative():
    """One offset frees everything before it; the same offset again frees nothing."""
    ledger = Ledger()
    ledger.add(end=10, size=100)
    ledger.add(end=20, size=200)
    ledger.settle(20)
    ledger.settle(20)

    assert (300, 0) == (ledger.settled, ledger.outstanding)


def test_settling_an_older_offset_changes_nothing():
    """If an offset is older than the last one, it is ignored."""
    ledger = Ledger()
    ledger.add(end=10, size=100)
    ledger.settle(10)
    ledger.settle(5)

    assert 100 == ledger.settled


def test_edge_starts_at_the_window():
    """The sender learns the window from the answer to its hello."""
    grant = Grant(1000)

    assert (1000, 1000) == (grant.edge, grant.announced)


def test_settled_bytes_move_the_edge():
    """The edge is the window plus all freed bytes; the sender has not been told of it yet."""
    grant = Grant(1000)
    grant.add(end=10, size=600)
    grant.settle(10)

    assert (1600, 1000) == (grant.edge, grant.announced)


def test_announcing_tells_the_edge():
    """After the announcement the sender may send up to the edge."""
    grant = Grant(1000)
    grant.add(end=10, size=600)
    grant.settle(10)
    grant.announce()

    assert 1600 == grant.announced
