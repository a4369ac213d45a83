"""Which failures the sender tries again, after which delay, and for how long."""

import random
import uuid

import pytest

from sender.errors import AccessError, OddAnswerError, UnreachableError
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
    """Randomness that always gives the upper bound."""

    def uniform(self, _a, b):
        return b


def policy(outbound=None, *, reached=True, chance=None, **settings):
    """A policy that began at 0 s."""
    made = RetryPolicy(outbound or opened(), Settings(**settings), 0.0, chance or random.Random())
    made.reached = reached
    return made


def decide(made, error, now, *, growing=False):
    """Return what *made* decides after *error*; by default the source is a file."""
    return made.delay_after(error, now, growing=growing)


def delay(made, now=0.0):
    """Return the delay after a lost connection."""
    return decide(made, LinkClosedError(1006, ""), now)[0]


def test_bounds_double_up_to_ten_seconds():
    """The longest delays are 0.1, 0.2, 0.4 … s and never more than 10 s."""
    made = policy(chance=Highest())

    assert [0.1, 0.2, 0.4, 0.8, 1.6, 3.2, 6.4, 10.0, 10.0] == [delay(made) for _ in range(9)]


def test_any_delay_up_to_the_bound_may_come():
    """Delays are random from 0 to the bound, so that senders do not return all together."""
    first = [delay(policy(chance=random.Random(seed))) for seed in range(200)]

    assert 0 <= min(first) < 0.01
    assert 0.09 < max(first) <= 0.1


def test_progress_makes_the_next_delay_short():
    """If more has been acknowledged since the last failure, the bound is 0.1 s again."""
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
def test_a_fault_that_may_pass_is_tried_again(error, reason):
    """The policy gives the reason that the metrics count, and a first delay of at most 0.1 s."""
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
def test_a_lasting_fault_ends_the_stream(error):
    """The error is raised if the receiver sends it, and if the receiver closes with its code."""
    with pytest.raises(type(error)):
        decide(policy(), error, 1.0)
    with pytest.raises(type(error), match="closed with"):
        decide(policy(), LinkClosedError(error.close_code, "x"), 1.0)


@pytest.mark.parametrize("error", [wire.Gap("x"), wire.BadChecksum("x")], ids=repr)
def test_damage_twice_at_one_place_is_final(error):
    """
    After the first damage the sender tries again.

    After a second one without progress it gives up.
    """
    made = policy()
    decide(made, error, 1.0)
    with pytest.raises(type(error)):
        decide(made, error, 2.0)


def test_damage_after_progress_is_tried_again():
    """If the stream has got further since the first damage, the sender tries again."""
    outbound = opened()
    made = policy(outbound)
    decide(made, wire.BadChecksum("x"), 1.0)
    outbound.greet()
    outbound.feed(wire.Opened(epoch=2, offset=10, window=4096, max_chunk=1024))

    assert "error" == decide(made, wire.BadChecksum("x"), 2.0)[1]


def test_a_digest_that_disagrees_is_final():
    """If all chunks are acknowledged, code 4460 means the digest; sending again would not help."""
    outbound = opened()
    outbound.chunk(1, b"ab")
    outbound.feed(wire.Ack(epoch=1, durable=1, received=1, window=4096))
    outbound.eos()
    with pytest.raises(wire.BadChecksum):
        decide(policy(outbound), wire.BadChecksum("digest"), 1.0)


def test_damage_after_eos_may_be_a_chunks():
    """While chunks are unacknowledged, code 4460 may mean one of them; the sender tries again."""
    outbound = opened()
    outbound.chunk(1, b"ab")
    outbound.eos()

    assert "error" == decide(policy(outbound), wire.BadChecksum("chunk"), 1.0)[1]


def test_a_source_that_grows_is_not_given_up():
    """While the source grows there is no limit; the patience begins when it has stopped growing."""
    made = policy(reached=False)
    waits = [decide(made, ConnectionRefusedError(), now, growing=True)[0] for now in range(999)]
    decide(made, ConnectionRefusedError(), 1007.9)
    with pytest.raises(UnreachableError, match="no progress for 10.0 s, expected some within 10 s"):
        decide(made, ConnectionRefusedError(), 1008.0)

    assert 5.0 < max(waits) <= 10.0


def test_patience_ends():
    """
    The last delay is cut to the rest of the patience.

    Then the error names the passed and the allowed time.
    """
    made = policy(patience=30.0)
    wait, _ = decide(made, LinkClosedError(1006, ""), 29.99)
    with pytest.raises(UnreachableError, match="no progress for 31.0 s, expected some within 30 s"):
        decide(made, LinkClosedError(1006, ""), 31.0)

    assert wait <= 0.011


def test_patience_is_short_until_a_receiver_has_answered():
    """Before the first answer the patience is 10 s, so that a wrong address is noticed soon."""
    with pytest.raises(UnreachableError, match="within 10 s"):
        decide(policy(reached=False), ConnectionRefusedError(), 10.5)


def test_a_stream_that_is_held_is_waited_for():
    """While another sender holds the stream, the patience does not pass."""
    made = policy(patience=30.0)
    for now in range(20, 400, 20):
        decide(made, wire.Held("busy"), float(now))
    with pytest.raises(UnreachableError):
        decide(made, LinkClosedError(1006, ""), 420.0)


def test_an_odd_answer_is_final_until_a_receiver_has_answered():
    """If no receiver has answered before, an answer that is no WebSocket is raised at once."""
    with pytest.raises(OddAnswerError, match="HTTP 404"):
        decide(policy(reached=False), OddAnswerError("HTTP 404"), 1.0)


@pytest.mark.parametrize("code", [1002, 1007, 1009])
def test_a_peer_that_our_library_rejects_is_no_receiver(code):
    """If our side closes because a message is too long or breaks WebSocket, the stream ends."""
    with pytest.raises(wire.WireError, match=f"connection closed with {code}"):
        decide(policy(), LinkClosedError(code, "", ours=True), 1.0)


def busy(made, now, code=1006, **how):
    """Return what *made* decides if the receiver said that it works, or closed with 4423."""
    return made.delay_after(LinkClosedError(code, ""), now, growing=False, **how)


@pytest.mark.parametrize(("code", "how"), [(4423, {}), (1006, {"working": True})])
def test_a_busy_receiver_is_waited_for_longer(code, how):
    """Patience begins anew each time, but not for ever: it may lie."""
    made = policy(patience=300, busy_timeout=1000)
    for now in range(0, 1000, 200):
        busy(made, float(now), code, **how)

    with pytest.raises(UnreachableError, match="busy for 1000.0 s, expected progress within 1000"):
        busy(made, 1000.0, code, **how)


def test_patience_goes_on_after_a_busy_receiver():
    """It counts from the last time that the receiver said so."""
    made = policy(patience=300, busy_timeout=1000)
    busy(made, 200.0, 4423)
    delay(made, 499.0)

    with pytest.raises(UnreachableError, match="no progress for 300.0 s"):
        delay(made, 500.0)


def test_only_units_count_that_were_never_acknowledged():
    """A receiver that goes back and forth makes no progress."""
    outbound = opened()
    made = policy(outbound, patience=300)
    outbound.chunk(100, bytes(200))
    for number, units in enumerate((50, 20, 50)):
        outbound.received = outbound.durable = units
        delay(made, 100.0 * number)

    with pytest.raises(UnreachableError, match="no progress for 300.0 s"):
        delay(made, 300.0)


def test_progress_counts_from_when_it_was_made():
    """A receiver that acknowledges once, and then nothing, has one patience and not two."""
    outbound = opened()
    made = policy(outbound, patience=300)
    outbound.chunk(100, bytes(200))
    outbound.received = outbound.durable = 50

    with pytest.raises(UnreachableError, match="no progress for 300.0 s"):
        made.delay_after(LinkClosedError(1006, ""), 310.0, growing=False, owed_s=300.0)


def test_a_refused_token_is_final_at_first():
    """If the sender has been let in before, the token may just be replaced."""
    with pytest.raises(AccessError):
        decide(policy(reached=False), AccessError("no"), 0.0)

    assert "refused" == decide(policy(), AccessError("no"), 0.0)[1]
