"""Which failures are worth another attempt, and for how long."""

import uuid

import pytest

from sender.errors import OddAnswerError, UnreachableError
from sender.retry import Persistence
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


def persistence(outbound=None, *, reached=True, **settings):
    """A persistence that began at 0 s."""
    chosen = Persistence(outbound or opened(), Settings(**settings), now=0.0)
    chosen.reached = reached
    return chosen


def judge(chosen, error, now, *, growing=False):
    """What *chosen* makes of *error*, by default of a file."""
    return chosen.judge(error, now, growing=growing)


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
    wait, called = judge(persistence(), error, 1.0)

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
        judge(persistence(), error, 1.0)
    with pytest.raises(type(error), match="closed with"):
        judge(persistence(), LinkClosedError(error.close_code, "x"), 1.0)


@pytest.mark.parametrize("error", [wire.Gap("x"), wire.BadChecksum("x")], ids=repr)
def test_damage_twice_running_is_no_accident(error):
    """Once is sent again; the second time in the same place is final."""
    chosen = persistence()
    judge(chosen, error, 1.0)
    with pytest.raises(type(error)):
        judge(chosen, error, 2.0)


def test_damage_with_progress_in_between_may_heal():
    """Further along it is another accident."""
    outbound = opened()
    chosen = persistence(outbound)
    judge(chosen, wire.BadChecksum("x"), 1.0)
    outbound.greet()
    outbound.feed(wire.Opened(epoch=2, offset=10, window=4096, max_chunk=1024))

    assert "error" == judge(chosen, wire.BadChecksum("x"), 2.0)[1]


def test_a_digest_that_disagrees_is_final():
    """Sending it all again would not make it another stream."""
    outbound = opened()
    outbound.chunk(1, b"ab")
    outbound.feed(wire.Ack(epoch=1, durable=1, received=1, window=4096))
    outbound.eos()
    with pytest.raises(wire.BadChecksum):
        judge(persistence(outbound), wire.BadChecksum("digest"), 1.0)


def test_damage_that_is_noticed_after_eos_is_one_chunks():
    """As long as chunks are on their way, 4460 may mean one of them: that heals."""
    outbound = opened()
    outbound.chunk(1, b"ab")
    outbound.eos()

    assert "error" == judge(persistence(outbound), wire.BadChecksum("chunk"), 1.0)[1]


def test_a_source_that_grows_is_never_given_up():
    """Patience begins when nothing more is kept, whether or not a receiver has answered."""
    chosen = persistence(reached=False)
    waits = [judge(chosen, ConnectionRefusedError(), now, growing=True)[0] for now in range(999)]
    judge(chosen, ConnectionRefusedError(), 1007.9)
    with pytest.raises(UnreachableError, match="no progress for 10.0 s, expected some within 10 s"):
        judge(chosen, ConnectionRefusedError(), 1008.0)

    assert 5.0 < max(waits) <= 10.0


def test_patience_ends():
    """Without progress the last failure is said, with the address and both times."""
    chosen = persistence(patience=30.0)
    wait, _ = judge(chosen, LinkClosedError(1006, ""), 29.99)
    with pytest.raises(UnreachableError, match="no progress for 31.0 s, expected some within 30 s"):
        judge(chosen, LinkClosedError(1006, ""), 31.0)

    assert wait <= 0.011


def test_patience_is_short_until_a_receiver_has_answered():
    """A wrong address is noticed soon."""
    with pytest.raises(UnreachableError, match="within 10 s"):
        judge(persistence(reached=False), ConnectionRefusedError(), 10.5)


def test_a_stream_that_is_held_is_waited_for():
    """Whoever holds it makes the progress."""
    chosen = persistence(patience=30.0)
    for now in range(20, 400, 20):
        judge(chosen, wire.Held("busy"), float(now))
    with pytest.raises(UnreachableError):
        judge(chosen, LinkClosedError(1006, ""), 420.0)


def test_an_odd_answer_counts_until_a_receiver_has_answered():
    """A wrong address is said at once; later a proxy may answer for a receiver that is away."""
    with pytest.raises(OddAnswerError, match="HTTP 404"):
        judge(persistence(reached=False), OddAnswerError("HTTP 404"), 1.0)


@pytest.mark.parametrize("code", [1002, 1007, 1009])
def test_what_the_library_cannot_accept_is_no_receiver(code):
    """Its messages break WebSocket, or are longer than any control message."""
    with pytest.raises(wire.WireError, match=f"connection closed with {code}"):
        judge(persistence(), LinkClosedError(code, "", ours=True), 1.0)
