"""The receiver's half of a connection: order, offsets, credit, acknowledgements, silence."""

import pytest

from sonoduct import wire
from sonoduct.wire import Level

STREAM = "0123456789abcdef" * 2
FORMAT = wire.Format(samplerate=48_000, channels=2, encoding=wire.Encoding.S16LE)
HELLO = wire.Hello(stream=STREAM, instance="a", format=FORMAT)
RECEIPT = wire.Receipt(
    stream=STREAM,
    units=4,
    digest="0" * 32,
    frames=4,
    samplerate=48_000,
    channels=2,
    seconds=4 / 48_000,
    durable=True,
)
DEADLINES = wire.Deadlines(hello=5, progress=60)
# Two chunks of two frames, and room to spare for half a header.
DURABLE = wire.Terms(window=96, max_chunk=16, ack=Level.DURABLE, kept=True)
RECEIVED = wire.Terms(window=96, max_chunk=16, ack=Level.RECEIVED, kept=True)
UNKEPT = wire.Terms(window=96, max_chunk=16, ack=Level.RECEIVED, kept=False)


def chunk(offset, units=2, epoch=7, size=None):
    """Return a chunk of *units* frames, whose payload may have *size* bytes instead."""
    payload = bytes(4 * units if size is None else size)
    return wire.decode_chunk(wire.encode_chunk(epoch, offset, units, payload))


def inbound(phase="open", terms=DURABLE, offset=0):
    """Return a connection in *phase*, at the time 100."""
    half = wire.Inbound(DEADLINES, 100)
    if phase != "greeting":
        half.feed(HELLO, 100)
    if phase in ("open", "ending"):
        half.open(7, offset, terms, 100)
    if phase == "ending":
        half.feed(wire.Eos(units=offset, digest="0" * 32), 100)
    return half


def state(half):
    """Return everything that a refused message must leave alone."""
    return half.phase, half.epoch, half.received, half.released, half.deadline, half.held, half.room


def ack(durable, received, window=96):
    """Return an acknowledgement in the epoch of these tests."""
    return wire.Ack(epoch=7, durable=durable, received=received, window=window)


GREETING = ("greeting", "a hello")
CLAIMING = ("claiming", "nothing until opened")
OPEN = ("open", "a chunk, eos or cancel")
ENDING = ("ending", "nothing until committed")
EOS = wire.Eos(units=0, digest="0" * 32)
CANCEL = wire.Cancel(epoch=7)
MISPLACED = [
    *[(phase, HELLO, "hello") for phase in (CLAIMING, OPEN, ENDING)],
    *[(phase, chunk(0), "chunk") for phase in (GREETING, CLAIMING, ENDING)],
    *[(phase, EOS, "eos") for phase in (GREETING, CLAIMING, ENDING)],
    *[(phase, wire.Cancel(epoch=0), "cancel") for phase in (GREETING, CLAIMING)],
    *[(phase, ack(0, 0), "ack") for phase in (GREETING, CLAIMING, OPEN, ENDING)],
    (OPEN, wire.Drain(retry_ms=1), "drain"),
]


@pytest.mark.parametrize(("phase", "message", "name"), MISPLACED)
def test_message_at_the_wrong_moment_is_refused(phase, message, name):
    """The refusal names the message and the expected ones, and changes nothing."""
    half = inbound(phase[0])
    before = state(half)

    with pytest.raises(wire.Malformed) as raised:
        half.feed(message, 150)

    assert f"message {name}, expected {phase[1]}" == str(raised.value)
    assert 4400 == raised.value.close_code
    assert before == state(half)


REFUSED = {
    "epoch": (chunk(4, epoch=6), wire.Malformed, "chunk epoch 6, expected 7"),
    "duplicate": (chunk(2), wire.Gap, "chunk offset 2, expected 4"),
    "gap": (chunk(5), wire.Gap, "chunk offset 5, expected 4"),
    "large": (chunk(4, units=5), wire.TooLarge, "payload bytes 20, expected <= 16"),
    "part of a frame": (
        chunk(4, units=2, size=7),
        wire.Malformed,
        "payload bytes of 2 units 7, expected 4 for each of one or more",
    ),
    "no frame": (
        chunk(4, units=0),
        wire.Malformed,
        "payload bytes of 0 units 0, expected 4 for each of one or more",
    ),
    "window": (chunk(4, units=1), wire.Malformed, "bytes over the window 20, expected 0"),
    "eos early": (wire.Eos(units=3, digest=""), wire.Gap, "eos units 3, expected 4"),
    "eos late": (wire.Eos(units=5, digest=""), wire.Gap, "eos units 5, expected 4"),
    "cancel": (wire.Cancel(epoch=6), wire.Malformed, "cancel epoch 6, expected 7"),
}


@pytest.mark.parametrize(("message", "error", "text"), REFUSED.values(), ids=REFUSED)
def test_faulty_message_is_refused(message, error, text):
    """Each fault has its class and its sentence; accepted units stay."""
    half = inbound()
    half.feed(chunk(0), 101)
    half.feed(chunk(2), 102)
    before = state(half)

    with pytest.raises(wire.PeerError) as raised:
        half.feed(message, 150)

    assert (error, text) == (type(raised.value), str(raised.value))
    assert before == state(half)


@pytest.mark.parametrize(
    ("error", "code"), [(wire.Malformed, 4400), (wire.TooLarge, 4413), (wire.Gap, 4416)]
)
def test_refusals_have_their_close_codes(error, code):
    """Each class of refusal has its own close code."""
    assert code == error.close_code


def greeted(hello):
    """Return a connection whose stream *hello* opens, with room for 16 bytes in a chunk."""
    half = wire.Inbound(DEADLINES, 100)
    half.feed(hello, 100)
    half.open(7, 0, DURABLE, 100)
    return half


FILE = wire.Hello(stream=STREAM, instance="a", kind=wire.Kind.FILE)


def test_units_of_a_file_are_bytes():
    """A chunk may have any number of bytes, and eos counts bytes."""
    half = greeted(FILE)
    half.feed(chunk(0, units=3, size=3), 101)
    half.feed(chunk(3, units=1, size=1), 101)
    half.feed(wire.Eos(units=4, digest=""), 101)

    assert 4 == half.received
    assert 32 + 3 + 32 + 1 == half.held


def test_a_file_has_no_other_units():
    """If a chunk of a file counts other units than bytes, it is refused."""
    half = greeted(FILE)

    with pytest.raises(wire.Malformed, match="payload bytes of 2 units 8, expected 1 for each"):
        half.feed(chunk(0, units=2), 101)


FLAC = wire.Format(
    samplerate=48_000,
    channels=2,
    encoding=wire.Encoding.S16LE,
    compression=wire.Compression.FLAC,
)
PACKED = wire.Hello(stream=STREAM, instance="a", format=FLAC)


@pytest.mark.parametrize(("size", "cost"), [(1, 16), (15, 16), (16, 16), (3, 16)])
def test_a_compressed_chunk_costs_its_unpacked_size(size, cost):
    """If the payload is smaller than its samples, the samples count, as they are held."""
    half = greeted(PACKED)
    half.feed(chunk(0, units=4, size=size), 101)

    assert 32 + cost == half.held


def test_a_compressed_chunk_costs_its_packed_size_if_larger():
    """Noise may be larger when it is compressed; then the payload counts."""
    half = greeted(PACKED)
    half.feed(chunk(0, units=1, size=14), 101)

    assert 32 + 14 == half.held


def test_credit_of_compressed_chunks_is_bounded():
    """The window holds no more compressed samples than others."""
    half = greeted(PACKED)
    half.feed(chunk(0, units=4, size=1), 101)
    half.feed(chunk(4, units=4, size=1), 101)  # 96 bytes, by their unpacked size

    with pytest.raises(wire.Malformed, match="bytes over the window 36, expected 0"):
        half.feed(chunk(8, units=1, size=1), 101)


PACKED_REFUSED = {
    "a bomb": (chunk(0, units=5, size=1), wire.TooLarge, "unpacked bytes 20, expected <= 16"),
    "large": (chunk(0, units=1, size=17), wire.TooLarge, "payload bytes 17, expected <= 16"),
    "no frame": (
        chunk(0, units=0, size=1),
        wire.Malformed,
        "units of a chunk 0, expected one or more",
    ),
}


@pytest.mark.parametrize(("message", "error", "text"), PACKED_REFUSED.values(), ids=PACKED_REFUSED)
def test_faulty_compressed_chunk_is_refused(message, error, text):
    """The unpacked size is checked before the payload is unpacked."""
    half = greeted(PACKED)
    before = state(half)

    with pytest.raises(wire.PeerError) as raised:
        half.feed(message, 101)

    assert (error, text) == (type(raised.value), str(raised.value))
    assert before == state(half)


def test_a_receiver_is_busy_until_it_has_committed():
    """The receiver is busy while it holds units, and from eos until the receipt."""
    half = greeted(FILE)
    before = half.busy
    half.feed(chunk(0, units=3, size=3), 101)
    holding = half.busy
    half.release(3, 102)
    released = half.busy
    half.feed(wire.Eos(units=3, digest=""), 103)
    ending = half.busy
    half.commit(RECEIPT, 104)

    assert [False, True, False, True, False] == [before, holding, released, ending, half.busy]


def test_ack_is_repeated_although_nothing_came():
    """While the receiver is busy after eos, it can repeat its ack, even without a new chunk."""
    half = inbound("ending", offset=4)
    silent = half.ack()
    half.repeat()

    assert silent is None
    assert ack(4, 4) == half.ack()
    assert half.ack() is None


def test_open_says_where_to_continue():
    """The answer to a hello has the epoch, the offset and the terms."""
    half = inbound("claiming")
    opened = half.open(7, 4, RECEIVED, 100)

    expected = wire.Opened(epoch=7, offset=4, window=96, max_chunk=16, ack=Level.RECEIVED)
    assert expected == opened


def test_chunks_advance():
    """Consecutive chunks move the received end, and their bytes count as held."""
    half = inbound(offset=4)
    half.feed(chunk(4), 101)
    half.feed(chunk(6, units=1), 102)

    assert (7, 4) == (half.received, half.released)
    assert 40 + 36 == half.held
    assert 96 - 76 == half.room


def test_window_may_be_filled_to_its_edge():
    """A sender may use all of its credit."""
    half = inbound(terms=wire.Terms(window=80, max_chunk=16, ack=Level.DURABLE, kept=True))
    half.feed(chunk(0), 101)
    half.feed(chunk(2), 101)

    assert 0 == half.room


def test_largest_chunk_is_taken():
    """A payload of exactly `max_chunk` bytes is accepted."""
    half = inbound()
    half.feed(chunk(0, units=4), 101)

    assert 4 == half.received


def test_credit_counts_once_the_sender_knows_of_it():
    """Freed bytes may not be used before they are announced."""
    half = inbound()
    half.feed(chunk(0), 101)
    half.feed(chunk(2), 101)
    half.release(4, 102)

    assert (96, 80) == (half.room, half.unannounced)
    with pytest.raises(wire.Malformed, match="bytes over the window 20, expected 0"):
        half.feed(chunk(4, units=1), 103)


def test_announced_credit_may_be_used():
    """After an acknowledgement the sender may send further chunks."""
    half = inbound()
    half.feed(chunk(0), 101)
    half.feed(chunk(2), 101)
    half.release(4, 102)
    half.ack()
    half.feed(chunk(4), 103)

    assert (6, 0) == (half.received, half.unannounced)


def test_nothing_to_acknowledge_at_first():
    """The message `opened` has said it all already."""
    assert inbound().ack() is None


@pytest.mark.parametrize("phase", ["greeting", "claiming"])
def test_nothing_to_acknowledge_without_a_stream(phase):
    """If no stream is open, there is no acknowledgement."""
    assert inbound(phase).ack() is None


def test_same_acknowledgement_is_not_repeated():
    """If an acknowledgement would say nothing new, it is not sent."""
    half = inbound()
    half.feed(chunk(0), 101)

    assert ack(0, 2) == half.ack()
    assert half.ack() is None


def test_durable_window_counts_from_the_released_offset():
    """With level durable the window stays the same, and the offset moves."""
    half = inbound()
    half.feed(chunk(0), 101)
    half.feed(chunk(2), 101)
    half.release(2, 102)

    assert ack(2, 4, window=96) == half.ack()


def test_received_window_counts_from_the_received_offset():
    """With level received the window gives the free bytes."""
    half = inbound(terms=RECEIVED)
    half.feed(chunk(0), 101)
    half.feed(chunk(2), 101)
    half.release(2, 102)

    assert ack(2, 4, window=96 - 40) == half.ack()


def test_nothing_is_durable_without_a_store():
    """A receiver without a store never acknowledges units as durable, but frees its window."""
    half = inbound(terms=UNKEPT)
    half.feed(chunk(0), 101)
    half.release(2, 102)

    assert ack(0, 2, window=96) == half.ack()


def test_release_within_a_chunk_frees_nothing():
    """A chunk counts as held until its last unit is released."""
    half = inbound()
    half.feed(chunk(0), 101)
    half.release(1, 102)

    assert ack(1, 2, window=96) == half.ack()
    assert (40, 0) == (half.held, half.unannounced)


def test_ending_is_still_acknowledged():
    """After eos the receiver still acknowledges units that become durable."""
    half = inbound()
    half.feed(chunk(0), 101)
    half.feed(wire.Eos(units=2, digest="0" * 32), 102)
    half.release(2, 103)

    assert ack(2, 2) == half.ack()


def test_commit_ends_the_stream():
    """The receiver sends the receipt, and accepts the next hello."""
    half = inbound("ending")

    assert wire.Committed(epoch=7, receipt=RECEIPT) == half.commit(RECEIPT, 200)
    assert half.ack() is None
    assert half.feed(HELLO, 201) is None


@pytest.mark.parametrize("phase", ["open", "ending"])
def test_cancel_ends_the_stream(phase):
    """A sender may cancel until it has the receipt; then the next hello is accepted."""
    half = inbound(phase)
    half.feed(CANCEL, 150)

    assert wire.Cancelled(epoch=7) == half.cancel(200)
    assert half.feed(HELLO, 201) is None


def test_cancel_that_crossed_the_receipt_is_harmless():
    """If the epoch of a cancel has just ended, the cancel is ignored."""
    half = inbound("ending")
    half.commit(RECEIPT, 200)
    before = state(half)
    half.feed(CANCEL, 201)

    assert before == state(half)


def test_complete_stream_is_answered_with_its_receipt():
    """If a sender opens a complete stream again, it gets the receipt."""
    half = inbound("claiming")
    expected = wire.Opened(
        epoch=8, offset=4, window=0, max_chunk=0, state=wire.State.COMMITTED, receipt=RECEIPT
    )

    assert expected == half.reopen(8, RECEIPT, 200)
    assert 8 == half.epoch
    assert half.feed(HELLO, 201) is None


def test_next_stream_starts_afresh():
    """Offsets, credit and format of a stream do not affect the next one."""
    half = inbound()
    half.feed(chunk(0), 101)
    half.feed(wire.Eos(units=2, digest="0" * 32), 102)
    half.commit(RECEIPT, 103)
    mono = wire.Format(samplerate=8000, channels=1, encoding=wire.Encoding.S16LE)
    half.feed(wire.Hello(stream="f" * 32, instance="a", format=mono), 104)
    half.open(8, 0, DURABLE, 105)

    assert (0, 0, 0, 96) == (half.received, half.released, half.held, half.room)
    assert half.ack() is None
    assert half.feed(chunk(0, units=4, epoch=8, size=8), 106) is None


def silent(half, now):
    """Return whether *half* objects to silence until *now*."""
    try:
        half.expire(now)
    except wire.Stalled:
        return True
    return False


def test_silence_is_named():
    """The refusal says which message was expected."""
    with pytest.raises(wire.Stalled) as raised:
        inbound("greeting").expire(105)

    assert "silence past the deadline, expected a hello" == str(raised.value)
    assert 4408 == raised.value.close_code


@pytest.mark.parametrize(("phase", "deadline"), [("greeting", 105), ("open", 160)])
def test_silence_ends_at_the_deadline(phase, deadline):
    """A sender has 5 seconds for the hello, and 60 for a chunk."""
    half = inbound(phase)

    assert (False, True) == (silent(half, deadline - 0.001), silent(half, deadline))


@pytest.mark.parametrize("phase", ["claiming", "ending"])
def test_waiting_for_the_receiver_is_no_silence(phase):
    """While the receiver owes the next message, the sender may be silent for ever."""
    assert not silent(inbound(phase), 1e9)


@pytest.mark.parametrize(("window", "stalls"), [(40, False), (41, False), (75, False), (76, True)])
def test_silence_without_credit_is_no_stall(window, stalls):
    """If another frame does not fit into the window, the sender may be silent."""
    half = inbound(terms=wire.Terms(window, max_chunk=8, ack=Level.DURABLE, kept=True))
    half.feed(chunk(0), 101)

    assert stalls == silent(half, 1e9)


def test_chunk_moves_the_deadline():
    """After each chunk the sender has another 60 seconds."""
    half = inbound()
    half.feed(chunk(0), 130)

    assert 190 == half.deadline


def test_release_moves_the_deadline():
    """If a sender has waited for credit, its 60 seconds begin when units are released."""
    half = inbound()
    half.feed(chunk(0), 101)
    half.release(2, 130)

    assert 190 == half.deadline


def test_deadline_never_moves_back():
    """If a call comes with an earlier time, the deadline stays."""
    half = inbound()
    half.feed(chunk(0), 130)
    half.release(2, 120)

    assert 190 == half.deadline


@pytest.mark.parametrize(
    "end", [lambda half: half.commit(RECEIPT, 200), lambda half: half.cancel(200)]
)
def test_next_hello_has_the_deadline_of_progress(end):
    """Between streams a sender has 60 seconds to find its next file."""
    half = inbound("ending")
    end(half)

    assert (False, True) == (silent(half, 259), silent(half, 260))


def test_an_ack_can_be_repeated():
    """A busy receiver repeats its last acknowledgement to show that it is alive."""
    half = wire.Inbound(wire.Deadlines(), 0.0)
    hello = wire.Hello(
        stream="0" * 32,
        instance="a",
        format=wire.Format(samplerate=8000, channels=1, encoding=wire.Encoding.S16LE),
    )
    half.feed(hello, 0.0)
    half.open(1, 0, wire.Terms(4096, 1024, wire.Level.DURABLE, kept=True), 0.0)
    half.feed(wire.decode_chunk(wire.encode_chunk(1, 0, 1, b"ab")), 0.0)
    first, silent = half.ack(), half.ack()
    half.repeat()

    assert silent is None
    assert first == half.ack()


MIB = 1024 * 1024


@pytest.mark.parametrize(
    ("window", "step"), [(65_536, 32_768), (2 * MIB, MIB), (4 * MIB, MIB), (64 * MIB, MIB)]
)
def test_a_step_is_half_of_the_window_but_at_most_1_mib(window, step):
    """With a small window the sender keeps credit; with a large one it hears of progress often."""
    terms = wire.Terms(window, 16, wire.Level.DURABLE, kept=True)

    assert step == terms.step


def test_a_debugger_shows_the_position():
    """One line has the epoch, the phase, the next unit, and the bytes in memory."""
    half = inbound(offset=10)
    half.feed(chunk(10), 101)

    assert "<Inbound epoch 7 OPEN at 12, 40 bytes not released>" == repr(half)
