"""Which failures are worth another attempt, when, and for how long."""

import random
import uuid

import pytest

from sender.errors import OddAnswerError, UnreachableError
from sender.retry import RetryPolicy
from sender.settings import Settings
from sender.websocket import LinkClosedError
from sonoduct import wire

HELLO = wire.Hello(
    stream=uuid.uuid4().hex,
    instance="test",
    format=wire.Format(samplerate=8000, channels=1, encoding=wire.Encoding.S16LE),
)


def opened(offset=0):
    """A stream that is open at *offset*."""
    outbound = wire.Outbound(HELLO)
    outbound.greet()
    outbound.feed(wire.Opened(epoch=1, offset=offset, window=4096, max_chunk=1024))
    return outbound


class Highest(random.Random):
    """Always the upper bound."""

    def uniform(self, _a, b):
        return b


def policy(outbound=None, *, reached=True, chance=None, **settings):
    """A policy that began at 0 s."""
    made = RetryPolicy(outbound or opened(), Settings(**settings), 0.0, chance)
    made.reached = reached
    return made


def decide(made, error, now, *, growing=False):
    """What *made* decides after *error*, by default of a file."""
    return made.delay_after(error, now, growing=growing)


def delay(made, now=0.0):
    """The delay after a lost connection."""
    return decide(made, LinkClosedError(1006, ""), now)[0]


def test_bounds_double_up_to_ten_seconds():
    """The longest delays are 0.1, 0.2, 0.4 … and never more than 10 s."""
    made = policy(chance=Highest())

    assert [0.1, 0.2, 0.4, 0.8, 1.6, 3.2, 6.4, 10.0, 10.0] == [delay(made) for _ in range(9)]


def test_any_delay_up_to_the_bound_may_come():
    """Full jitter: senders that lose a receiver together do not come back together."""
    first = [delay(policy(chance=random.Random(seed))) for seed in range(200)]

    assert 0 <= min(first) < 0.01
    assert 0.09 < max(first) <= 0.1


def test_progress_makes_the_next_delay_short():
    """An attempt after which more is acknowledged resets the bound."""
    outbound = opened()
    made = policy(outbound, chance=Highest())
    for _ in range(5):
        delay(made)
    outbound.chunk(1, b"ab")
    outbound.feed(wire.Ack(epoch=1, durable=1, received=1, window=4096))

    assert 0.1 == delay(made)


@pytest.mark.parametrize(
    ("error", "reason"),
    [
        (LinkClosedError(1006, ""), "lost"),
        (LinkClosedError(1000, "idle"), "lost"),
        (LinkClosedError(1001, ""), "lost"),
        (LinkClosedError(1012, ""), "drained"),
        (wire.Draining("stops"), "drained"),
        (wire.Overloaded("full"), "overloaded"),
        (wire.Held("busy"), "held"),
        (wire.Fenced("newer"), "fenced"),
        (wire.Stalled("silent"), "error"),
        (wire.StorageFailed("disk"), "error"),
        (ConnectionRefusedError("no"), "refused"),
        (TimeoutError(), "refused"),
        (OddAnswerError("HTTP 404"), "refused"),
        *((LinkClosedError(code, "by a proxy"), "lost") for code in (1002, 1003, 1005, 1008, 1014)),
    ],
    ids=repr,
)
def test_what_may_heal_is_tried_again(error, reason):
    """The reason is what metrics call it; the first wait is short."""
    wait, called = decide(policy(), error, 1.0)

    assert reason == called
    assert 0 <= wait <= 0.1


@pytest.mark.parametrize(
    "error",
    [
        wire.Malformed("x"),
        wire.Unauthorised("x"),
        wire.Forbidden("x"),
        wire.Gone("x"),
        wire.TooLarge("x"),
        wire.ProcessingFailed("x"),
    ],
    ids=repr,
)
def test_what_will_not_heal_ends_the_stream(error):
    """The receiver's word is final, by message or by close code."""
    with pytest.raises(type(error)):
        decide(policy(), error, 1.0)
    with pytest.raises(type(error), match="closed with"):
        decide(policy(), LinkClosedError(error.close_code, "x"), 1.0)


@pytest.mark.parametrize("error", [wire.Gap("x"), wire.BadChecksum("x")], ids=repr)
def test_damage_twice_running_is_no_accident(error):
    """Once is sent again; the second time in the same place is final."""
    made = policy()
    decide(made, error, 1.0)
    with pytest.raises(type(error)):
        decide(made, error, 2.0)


def test_damage_with_progress_in_between_may_heal():
    """Further along it is another accident."""
    outbound = opened()
    made = policy(outbound)
    decide(made, wire.BadChecksum("x"), 1.0)
    outbound.greet()
    outbound.feed(wire.Opened(epoch=2, offset=10, window=4096, max_chunk=1024))

    assert "error" == decide(made, wire.BadChecksum("x"), 2.0)[1]


def test_a_digest_that_disagrees_is_final():
    """Sending it all again would not make it another stream."""
    outbound = opened()
    outbound.chunk(1, b"ab")
    outbound.feed(wire.Ack(epoch=1, durable=1, received=1, window=4096))
    outbound.eos()
    with pytest.raises(wire.BadChecksum):
        decide(policy(outbound), wire.BadChecksum("digest"), 1.0)


def test_damage_that_is_noticed_after_eos_is_one_chunks():
    """As long as chunks are on their way, 4460 may mean one of them: that heals."""
    outbound = opened()
    outbound.chunk(1, b"ab")
    outbound.eos()

    assert "error" == decide(policy(outbound), wire.BadChecksum("chunk"), 1.0)[1]


def test_a_source_that_grows_is_never_given_up():
    """Patience begins when nothing more is kept, whether or not a receiver has answered."""
    made = policy(reached=False)
    waits = [decide(made, ConnectionRefusedError(), now, growing=True)[0] for now in range(999)]
    decide(made, ConnectionRefusedError(), 1007.9)
    with pytest.raises(UnreachableError, match="no progress for 10.0 s, expected some within 10 s"):
        decide(made, ConnectionRefusedError(), 1008.0)

    assert 5.0 < max(waits) <= 10.0


def test_patience_ends():
    """Without progress the last failure is said, with the address and both times."""
    made = policy(patience=30.0)
    wait, _ = decide(made, LinkClosedError(1006, ""), 29.99)
    with pytest.raises(UnreachableError, match="no progress for 31.0 s, expected some within 30 s"):
        decide(made, LinkClosedError(1006, ""), 31.0)

    assert wait <= 0.011


def test_patience_is_short_until_a_receiver_has_answered():
    """A wrong address is noticed soon."""
    with pytest.raises(UnreachableError, match="within 10 s"):
        decide(policy(reached=False), ConnectionRefusedError(), 10.5)


def test_a_stream_that_is_held_is_waited_for():
    """Whoever holds it makes the progress."""
    made = policy(patience=30.0)
    for now in range(20, 400, 20):
        decide(made, wire.Held("busy"), float(now))
    with pytest.raises(UnreachableError):
        decide(made, LinkClosedError(1006, ""), 420.0)


def test_an_odd_answer_counts_until_a_receiver_has_answered():
    """A wrong address is said at once; later a proxy may answer for a receiver that is away."""
    with pytest.raises(OddAnswerError, match="HTTP 404"):
        decide(policy(reached=False), OddAnswerError("HTTP 404"), 1.0)


@pytest.mark.parametrize("code", [1002, 1007, 1009])
def test_what_the_library_cannot_accept_is_no_receiver(code):
    """Its messages break WebSocket, or are longer than any control message."""
    with pytest.raises(wire.WireError, match=f"connection closed with {code}"):
        decide(policy(), LinkClosedError(code, "", ours=True), 1.0)
