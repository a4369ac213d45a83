"""Fair shares of a receiver's work, and of its places."""

import pytest

from receiver.connections.intake import (
    ALL_SHARES,
    CLIENT_SHARE,
    CONNECTION_SHARE,
    LEAST_HALF,
    LONGEST_WAIT_S,
    MESSAGE_S,
    PATIENCE_S,
    Account,
    Full,
    Intake,
)

STEP_S = 0.5
"""Between two looks at all clients, as in a server."""


def spend(intake, accounts, seconds, each=64, size=64):
    """
    Let each of *accounts* send as fast as it is read, for *seconds* in all.

    Returns the messages of each account. Between slices of *each* messages, time passes as they
    take it.
    """
    now = looked = 0.0
    sent, until = [0] * len(accounts), [0.0] * len(accounts)
    while now < seconds:
        for index, account in enumerate(accounts):
            if until[index] <= now and (wait := account.wait(now)):
                until[index] = now + wait
            elif until[index] <= now:
                until[index] = now + account.charge(each, size, now)
                sent[index] += each
                now += each * MESSAGE_S / 2
        now += 0.0005
        if now - looked >= STEP_S:
            intake.look(now, now - looked)
            looked = now
    return sent


def accounts(intake, *keys):
    """Return an account for each of *keys*: connections of these clients."""
    return [Account(intake, intake.meter(key, 0.0), 0.0) for key in keys]


class Live(Account):
    """It sends one message at a time."""

    def charge(self, _messages, size, now):
        return super().charge(1, size, now)


def test_a_client_alone_is_not_limited():
    """What nothing else wants, one client may have."""
    intake = Intake(500, 125)

    (sent,) = spend(intake, accounts(intake, "a"), 5)

    assert sent * MESSAGE_S > 5


@pytest.mark.parametrize("connections", [1, 8, 64])
def test_beside_others_a_client_has_its_share(connections):
    """However many connections it has, they have one share together."""
    intake = Intake(500, 125)
    intake.crowded = True
    live = Live(intake, intake.meter("honest", 0.0), 0.0)
    evil = accounts(intake, *["evil"] * connections)

    sent = spend(intake, [live, *evil], 20)[1:]

    share = CONNECTION_SHARE if connections == 1 else CLIENT_SHARE
    assert 0.7 * share * 20 < sum(sent) * MESSAGE_S < 1.5 * share * 20 + connections * 0.01


def test_many_clients_leave_time_for_the_others():
    """Clients that take much share half of the time between them."""
    intake = Intake(500, 125)
    intake.crowded = True

    sent = spend(intake, accounts(intake, *map(str, range(20))), 20, each=16)

    assert sum(sent) * MESSAGE_S < 1.5 * ALL_SHARES * 20


def test_a_wait_is_bounded():
    """A client with much debt is looked at again soon, since the others may have gone."""
    intake = Intake(500, 125)
    intake.crowded = True
    (account,) = accounts(intake, "a")

    assert LONGEST_WAIT_S == account.charge(100_000, 1, 0.0)
    intake.crowded = False
    assert 0.0 == account.wait(0.1)


@pytest.mark.parametrize(("size", "abusive"), [(64 * 34, True), (64 * 16_384, False)])
def test_small_messages_without_a_pause_are_abuse(size, abusive):
    """A client that is slowed down and goes on is closed, unless its messages carry audio."""
    intake = Intake(500, 125)
    intake.crowded = True
    evil, _ = accounts(intake, "evil", "honest")
    now = 0.0
    while now < PATIENCE_S - 1:
        now += evil.charge(64, size, now) or 0.001
        assert not evil.is_abusive(now)
    while now < PATIENCE_S + 3:
        now += evil.charge(64, size, now) or 0.001

    assert abusive == evil.is_abusive(now)


def test_a_live_stream_is_never_abuse():
    """100 chunks a second are within every share."""
    intake = Intake(500, 125)
    intake.crowded = True
    (live,) = accounts(intake, "live")

    for step in range(6000):
        assert 0.0 == live.charge(1, 200, step / 100)
        assert not live.is_abusive(step / 100)


def test_gone_clients_are_forgotten():
    """Ten thousand addresses that come and go take no memory for long."""
    intake = Intake(500, 125)
    for number in range(10_000):
        intake.meter(str(number), 0.0)
    intake.look(0.5, 0.5)
    assert len(intake._meters) == 10_000
    intake.look(10.0, 9.5)

    assert not intake._meters


def test_an_address_has_a_quarter_and_a_token_its_quota():
    """The error names whose limit it is."""
    intake = Intake(8, 2)
    address, token = intake.meter("a", 0.0), intake.meter("token t", 0.0)
    for _ in range(2):
        intake.require_place(address, None, token=False)
        intake.enter(address)
    with pytest.raises(Full, match="2 connections of one address"):
        intake.require_place(address, None, token=False)
    for _ in range(3):
        intake.require_place(token, 3, token=True)
        intake.enter(token)
    with pytest.raises(Full, match="3 connections of one token"):
        intake.require_place(token, 3, token=True)
    intake.leave(token)
    intake.require_place(token, 3, token=True)


def test_the_last_places_are_for_newcomers():
    """A client with connections does not get them, and one without does."""
    intake = Intake(20, 20)
    old = intake.meter("old", 0.0)
    while not intake.is_short:
        intake.require_place(old, None, token=True)
        intake.enter(old)

    assert 18 == intake.taken
    with pytest.raises(Full, match="18 connections"):
        intake.require_place(old, None, token=True)
    for name in ("new", "newer"):
        meter = intake.meter(name, 0.0)
        intake.require_place(meter, None, token=False)
        intake.enter(meter)
    with pytest.raises(Full, match="20 connections"):
        intake.require_place(intake.meter("late", 0.0), None, token=False)


def test_handshakes_count_before_they_are_answered():
    """An address has no more of them than connections, and all together have a limit."""
    intake = Intake(500, 125)
    meter = intake.meter("a", 0.0)

    assert 125 == sum(intake.let_in(meter) for _ in range(1000))
    assert 375 == sum(intake.let_in(None) for _ in range(1000))
    intake.let_on(meter)
    assert intake.let_in(meter)
    small = Intake(4, 200)
    assert LEAST_HALF == sum(small.let_in(None) for _ in range(1000))
