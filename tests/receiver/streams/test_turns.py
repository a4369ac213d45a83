"""Which file is decoded next."""

from receiver.streams.turns import Turns


def started(turns):
    """Start every file that may start; return the tickets."""
    found = []
    while ticket := turns.next():
        found.append(ticket)
    return found


def order(turns):
    """Decode one file after the other; return their owners and sizes."""
    found = []
    while ticket := turns.next():
        found.append((ticket.owner, ticket.size))
        turns.give_back(ticket, started=True)
    return found


def test_owners_take_turns():
    """Each owner gets a turn before one gets a second, whoever came first."""
    turns = Turns(1, 100)
    for owner in ("many", "many", "many", "few", "one", "few"):
        turns.take(owner, 1)

    assert ["many", "few", "one", "many", "few", "many"] == [owner for owner, _ in order(turns)]


def test_the_shortest_file_of_an_owner_comes_first():
    """Within one owner the size decides, and of equals the order in which they came."""
    turns = Turns(1, 100)
    tickets = [turns.take("a", size) for size in (30, 10, 20, 10)]

    assert [tickets[1]] == started(turns)
    turns.give_back(tickets[1], started=True)
    assert [tickets[3]] == started(turns)
    turns.give_back(tickets[3], started=True)
    assert [20, 30] == [size for _, size in order(turns)]


def test_an_owner_uses_every_place_but_the_last():
    """One owner may use all decoders; the place beyond them is for an owner who has none."""
    turns = Turns(2, 100)
    for size in range(5):
        turns.take("many", size)

    assert 2 == len(started(turns))
    (extra,) = (turns.take("one", 10**9),)
    assert [extra] == started(turns)
    turns.take("another", 1)
    assert [] == started(turns)


def test_the_extra_place_is_free_again():
    """Who has it gives it back; it goes to the next owner who has none, and to no other."""
    turns = Turns(1, 100)
    first, second = turns.take("many", 1), turns.take("many", 2)
    one, two = turns.take("one", 1), turns.take("two", 1)

    assert [first, one] == started(turns)
    turns.give_back(one, started=True)
    assert [two] == started(turns)
    turns.give_back(two, started=True)
    assert [] == started(turns)
    turns.give_back(first, started=True)
    assert [second] == started(turns)


def test_who_has_nothing_running_comes_first():
    """An owner whose file is being decoded waits for those without one."""
    turns = Turns(2, 100)
    many = [turns.take("many", size) for size in range(4)]
    assert many[:2] == started(turns)
    one, two = turns.take("one", 1), turns.take("two", 1)
    assert [one] == started(turns)
    turns.give_back(many[0], started=True)

    assert [two] == started(turns)


def test_the_queue_is_bounded():
    """If too many wait, the last of the owner with the most has to go."""
    turns = Turns(1, 3)
    for size in (5, 9, 7):
        turns.take("many", size)

    assert turns.crowded_out() is None
    turns.take("one", 100)
    refused = turns.crowded_out()
    assert ("many", 9) == (refused.owner, refused.size)
    assert turns.crowded_out() is None
    assert 3 == turns.waiting
    mine = turns.take("many", 50)
    assert mine == turns.crowded_out()


def test_who_leaves_has_no_turn():
    """A stream may give up while it waits; and a ticket that is gone may be given back."""
    turns = Turns(1, 1)
    first, second = turns.take("a", 1), turns.take("a", 2)
    assert second == turns.crowded_out()
    turns.give_back(first, started=False)
    turns.give_back(second, started=False)

    assert [] == started(turns)
    assert 0 == turns.waiting
