"""The sender's half of a stream: its messages, its checks of the receiver's, and its digest."""

import msgspec
import pytest
import xxhash

from sonoduct import wire
from sonoduct.wire import Level

STREAM = "0123456789abcdef" * 2
FORMAT = wire.Format(samplerate=48_000, channels=2, encoding=wire.Encoding.S16LE)
HELLO = wire.Hello(stream=STREAM, instance="a", format=FORMAT)
AUDIO = bytes(range(80))
OPENED = wire.Opened(epoch=7, offset=0, window=96, max_chunk=16)
RECEIVED = msgspec.structs.replace(OPENED, ack=Level.RECEIVED)
RECEIPT = wire.Receipt(
    stream=STREAM,
    units=4,
    digest=xxhash.xxh3_128(AUDIO[:16]).hexdigest(),
    frames=4,
    samplerate=48_000,
    channels=2,
    seconds=4 / 48_000,
    durable=True,
)


def replace(message, **changed):
    """Return a copy of *message* with other fields."""
    return msgspec.structs.replace(message, **changed)


def frames(offset, units):
    """Return the bytes of *units* frames of the source."""
    return AUDIO[4 * offset : 4 * (offset + units)]


def send(half, units=2):
    """Send the next *units* frames."""
    return b"".join(half.chunk(units, frames(half.position, units)))


def outbound(phase="open", opened=OPENED):
    """Return a stream of four frames in *phase*."""
    half = wire.Outbound(HELLO)
    if phase != "lost":
        half.greet()
    if phase in ("open", "ending", "done"):
        half.feed(opened)
    if phase in ("ending", "done"):
        send(half)
        send(half)
        half.eos()
    if phase == "done":
        half.feed(wire.Committed(epoch=7, receipt=RECEIPT))
    return half


def reopen(half, **changed):
    """Lose the connection and open another one."""
    half.lose()
    half.greet()
    half.feed(replace(OPENED, epoch=8, **changed))


def ack(durable, received, window=96, epoch=7):
    """Return an acknowledgement."""
    return wire.Ack(epoch=epoch, durable=durable, received=received, window=window)


COMMITTED = wire.Committed(epoch=7, receipt=RECEIPT)
CANCELLED = wire.Cancelled(epoch=7)
EXPECTED = {
    "lost": "no connection",
    "greeting": "opened",
    "open": "ack, event or drain",
    "ending": "committed",
    "done": "nothing",
}
MISPLACED = [
    *[(phase, OPENED, "opened") for phase in ("lost", "open", "ending", "done")],
    *[(phase, COMMITTED, "committed") for phase in ("lost", "greeting", "open", "done")],
    *[(phase, CANCELLED, "cancelled") for phase in ("lost", "greeting", "done")],
    *[(phase, HELLO, "hello") for phase in EXPECTED],
]


@pytest.mark.parametrize(("phase", "message", "name"), MISPLACED)
def test_message_at_the_wrong_moment_is_refused(phase, message, name):
    """The refusal names the message and the expected ones."""
    half = outbound(phase)

    with pytest.raises(wire.Malformed) as raised:
        half.feed(message)

    assert f"message {name}, expected {EXPECTED[phase]}" == str(raised.value)
    assert 4400 == raised.value.close_code
    assert phase == half.phase.name.lower()


def test_new_stream_has_nothing():
    """Before the first connection every offset is 0."""
    half = outbound("lost")

    assert (0, 0, 0) == (half.epoch, half.position, half.read_from)
    assert (0, 0, 0) == (half.durable, half.received, half.acknowledged)
    assert Level.RECEIVED is half.level


def test_first_message_is_the_hello():
    """Each connection begins with the hello."""
    half = outbound("lost")

    assert HELLO == half.greet()
    assert "GREETING" == half.phase.name


def test_opened_says_where_to_continue():
    """Offset, epoch and limits come from the receiver."""
    half = outbound(opened=replace(OPENED, epoch=9, offset=3))

    assert ("OPEN", 9, 3) == (half.phase.name, half.epoch, half.position)
    assert (16, 16) == (half.max_chunk, half.room)
    assert (3, 3, 3) == (half.durable, half.received, half.acknowledged)


def test_opened_with_level_received_promises_nothing_durable():
    """The receiver's machine may fail, so the units that it has are only received."""
    half = outbound(opened=replace(RECEIVED, offset=3))

    assert (0, 3, 3) == (half.durable, half.received, half.acknowledged)


@pytest.mark.parametrize(("window", "max_chunk"), [(96, 0), (96, 65), (32, 1), (0, 0)])
def test_useless_terms_are_refused(window, max_chunk):
    """If a window holds no chunk, the stream could never continue."""
    half = outbound("greeting")

    with pytest.raises(wire.Malformed) as raised:
        half.feed(replace(OPENED, window=window, max_chunk=max_chunk))

    expected = f"max_chunk {max_chunk}, expected 4, one unit, to below the window"

    assert expected == str(raised.value)
    assert 4400 == raised.value.close_code


@pytest.mark.parametrize(("window", "max_chunk"), [(96, 64), (36, 4)])
def test_tight_terms_are_accepted(window, max_chunk):
    """A window for exactly one chunk is enough."""
    half = outbound(opened=replace(OPENED, window=window, max_chunk=max_chunk))

    assert max_chunk == half.room


def test_chunk_holds_the_next_units():
    """Each chunk begins where the last one ended, in the epoch that was opened."""
    half = outbound()

    assert wire.encode_chunk(7, 0, 2, frames(0, 2)) == send(half)
    assert wire.encode_chunk(7, 2, 1, frames(2, 1)) == send(half, 1)
    assert (3, 76) == (half.position, half.unacknowledged)


def test_room_is_the_rest_of_the_window():
    """Each message takes its payload and its header from the window."""
    half = outbound(opened=replace(OPENED, max_chunk=64))
    send(half)

    assert 96 - 40 - 32 == half.room


def test_chunk_beyond_the_room_is_refused():
    """If a caller exceeds the window, `chunk` raises an error."""
    half = outbound()
    send(half)
    send(half)

    with pytest.raises(ValueError, match=r"^4 bytes in phase Phase.OPEN, room is -16$"):
        send(half, 1)


@pytest.mark.parametrize("phase", ["lost", "greeting", "ending", "done"])
def test_chunk_outside_of_an_open_stream_is_refused(phase):
    """If no stream is open, `chunk` raises an error."""
    half = outbound(phase)

    with pytest.raises(ValueError, match=f"^0 bytes in phase Phase.{phase.upper()}, room is"):
        half.chunk(0, b"")


def test_chunk_of_units_behind_a_gap_is_refused():
    """Units that the receiver has must go to `skip` first, because the digest needs them."""
    half = outbound(opened=replace(OPENED, offset=2))

    with pytest.raises(ValueError, match=r"^offset 2, expected at most 0$"):
        send(half)

    assert (2, 0, 0) == (half.position, half.unacknowledged, half.chunks)


def test_durable_frees_the_window():
    """With level durable, only durable units free the window."""
    half = outbound()
    send(half)
    send(half)
    half.feed(ack(2, 4))

    assert (2, 4, 2) == (half.durable, half.received, half.acknowledged)
    assert (40, 16) == (half.unacknowledged, half.room)


def test_received_frees_the_window():
    """
    With level received, all received units are acknowledged.

    The ack's window is the free bytes.
    """
    half = outbound(opened=RECEIVED)
    send(half)
    send(half)
    half.feed(ack(0, 4, window=50))

    assert (0, 4, 4) == (half.durable, half.received, half.acknowledged)
    assert (0, 16) == (half.unacknowledged, half.room)


def test_ack_after_eos_is_taken():
    """Units may become durable between eos and the receipt."""
    half = outbound("ending")
    half.feed(ack(4, 4))

    assert (4, 4, 0) == (half.durable, half.received, half.unacknowledged)


def test_window_may_shrink():
    """If a receiver is short of memory, it may take back credit that is not used yet."""
    half = outbound()
    send(half)
    half.feed(ack(2, 2, window=0))

    assert -32 == half.room


@pytest.mark.parametrize("epoch", [6, 8])
def test_ack_of_another_epoch_is_ignored(epoch):
    """Such an acknowledgement is late, and does not concern this connection."""
    half = outbound()
    send(half)
    half.feed(ack(2, 2, epoch=epoch))

    assert (0, 0, 40) == (half.durable, half.received, half.unacknowledged)


@pytest.mark.parametrize("phase", ["lost", "greeting", "done"])
def test_ack_without_an_open_stream_is_ignored(phase):
    """Such an acknowledgement belongs to an earlier stream of the connection."""
    half = outbound(phase)
    half.feed(ack(0, 9, epoch=0))

    assert phase == half.phase.name.lower()


IMPOSSIBLE = {
    "durable goes back": (1, 4, "durable 1, received 4, expected 2 to 4"),
    "more durable than received": (4, 3, "durable 4, received 3, expected 2 to 4"),
    "more than was sent": (2, 5, "durable 2, received 5, expected 2 to 4"),
}


@pytest.mark.parametrize(("durable", "received", "text"), IMPOSSIBLE.values(), ids=IMPOSSIBLE)
def test_impossible_ack_is_refused(durable, received, text):
    """An acknowledgement lies between the last one and the end of the sent units."""
    half = outbound()
    send(half)
    send(half)
    half.feed(ack(2, 2))

    with pytest.raises(wire.Malformed) as raised:
        half.feed(ack(durable, received))

    assert f"ack {text}" == str(raised.value)
    assert 4400 == raised.value.close_code
    assert (2, 2) == (half.durable, half.received)


@pytest.mark.parametrize("phase", ["lost", "greeting", "open", "ending", "done"])
def test_event_changes_nothing(phase):
    """Events of processors concern the caller only."""
    half = outbound(phase)
    half.feed(wire.Event(processor="vad", offset=0, values={}))

    assert phase == half.phase.name.lower()


def test_lost_connection_forgets_its_credit():
    """If the connection is lost, no bytes are unacknowledged, and there is no room."""
    half = outbound()
    send(half)
    half.lose()

    assert ("LOST", 0) == (half.phase.name, half.unacknowledged)
    assert half.room < 0


def test_resume_continues_at_the_offset_of_the_receiver():
    """Units that the receiver has are not sent again; units that it lost are."""
    half = outbound()
    send(half)
    send(half)
    reopen(half, offset=2)

    assert (2, 2, 0) == (half.read_from, half.position, half.unacknowledged)
    assert wire.encode_chunk(8, 2, 2, frames(2, 2)) == send(half)
    assert RECEIPT.digest == half.eos().digest


def test_resume_of_another_process_reads_the_skipped_units():
    """The digest covers all units, so the sender reads also the ones that the receiver has."""
    half = outbound(opened=replace(OPENED, offset=3))
    half.skip(2, frames(0, 2))

    assert 2 == half.read_from

    half.skip(1, frames(2, 1))
    send(half, 1)

    assert wire.Eos(units=4, digest=RECEIPT.digest) == half.eos()


def test_receiver_without_memory_starts_again():
    """With level received a receiver may lose everything; the digest is right all the same."""
    half = outbound(opened=RECEIVED)
    send(half)
    half.feed(ack(0, 2))
    half.lose()
    half.greet()
    half.feed(replace(RECEIVED, epoch=1))
    send(half)
    send(half)

    assert wire.Eos(units=4, digest=RECEIPT.digest) == half.eos()


def test_receiver_that_lost_durable_units_is_refused():
    """If units were durable, sending them again would hide that they were lost."""
    half = outbound()
    send(half)
    half.feed(ack(2, 2))

    with pytest.raises(wire.Malformed) as raised:
        reopen(half, offset=1)

    assert "offset 1, expected at least 2" == str(raised.value)
    assert 4400 == raised.value.close_code


def test_receiver_that_kept_only_durable_units_is_accepted():
    """The offset may be exactly the end of the durable units."""
    half = outbound()
    send(half)
    half.feed(ack(2, 2))
    reopen(half, offset=2)

    assert 2 == half.position


def test_traffic_is_counted():
    """A chunk that is sent again counts as sent and as resent."""
    half = outbound()
    send(half)
    send(half)
    reopen(half, offset=1, window=200)
    send(half, 1)
    send(half, 2)
    send(half, 1)

    assert 5 == half.chunks
    assert 40 + 40 + 36 + 40 + 36 == half.sent_bytes
    assert 36 + 40 == half.resent_bytes


def test_eos_tells_units_and_digest():
    """The eos has both, and the sender then waits for the receipt."""
    half = outbound()
    send(half)
    send(half)

    assert wire.Eos(units=4, digest=RECEIPT.digest) == half.eos()
    assert "ENDING" == half.phase.name


def test_eos_of_a_stream_whose_beginning_is_lost_has_no_digest():
    """If the first units are gone, the digest cannot be computed; the others are sent."""
    half = wire.Outbound(HELLO, first=2)
    half.greet()
    half.feed(replace(OPENED, offset=2))
    send(half)

    assert wire.Eos(units=4) == half.eos()


def test_eos_of_an_empty_stream():
    """A source without frames ends with 0 units and the digest of no bytes."""
    assert wire.Eos(units=0, digest=xxhash.xxh3_128().hexdigest()) == outbound().eos()


@pytest.mark.parametrize("phase", ["lost", "greeting", "ending", "done"])
def test_eos_outside_of_an_open_stream_is_refused(phase):
    """If no stream is open, `eos` raises an error."""
    half = outbound(phase)

    with pytest.raises(ValueError, match=rf"^eos at \d in phase Phase.{phase.upper()}$"):
        half.eos()


@pytest.mark.parametrize("skipped", [0, 1, 2])
def test_eos_before_everything_is_read_is_refused(skipped):
    """If skipped units were not summed, the digest would not cover the stream."""
    half = outbound(opened=replace(OPENED, offset=3))
    half.skip(skipped, frames(0, skipped))

    with pytest.raises(ValueError, match=r"^eos at 3 in phase Phase.OPEN$"):
        half.eos()


def test_eos_after_a_rewind_needs_the_rest_again():
    """Units that were summed but must be sent again count as missing."""
    half = outbound()
    send(half)
    reopen(half, offset=0)

    with pytest.raises(ValueError, match=r"^eos at 0 in phase Phase.OPEN$"):
        half.eos()


def test_receipt_ends_the_stream():
    """With the receipt every unit counts as received and durable."""
    half = outbound("done")

    assert RECEIPT == half.receipt
    assert ("DONE", 4, 4, 4) == (half.phase.name, half.position, half.received, half.durable)


def test_receipt_of_a_receiver_without_store_is_not_durable():
    """All units were received, and no unit is durable."""
    half = outbound("ending")
    half.feed(wire.Committed(epoch=7, receipt=replace(RECEIPT, durable=False)))

    assert (4, 0) == (half.received, half.durable)


def test_finished_stream_stays_finished():
    """If the connection is lost or another one greets, the stream stays done."""
    half = outbound("done")
    half.lose()
    half.greet()

    assert "DONE" == half.phase.name


WRONG_RECEIPTS = {"digest": {"digest": "0" * 32}, "units": {"units": 3}}


@pytest.mark.parametrize("changed", WRONG_RECEIPTS.values(), ids=WRONG_RECEIPTS)
def test_wrong_receipt_is_refused(changed):
    """If units or digest differ from the sender's, the stream does not end."""
    half = outbound("ending")
    receipt = replace(RECEIPT, **changed)

    with pytest.raises(wire.BadChecksum) as raised:
        half.feed(wire.Committed(epoch=7, receipt=receipt))

    seen = f"{receipt.units} units, digest {receipt.digest}"
    assert f"receipt {seen}, expected 4 units, {RECEIPT.digest}" == str(raised.value)
    assert 4460 == raised.value.close_code
    assert ("ENDING", None) == (half.phase.name, half.receipt)


def complete(**changed):
    """Return the answer to a hello for a complete stream."""
    receipt = replace(RECEIPT, **changed)
    state = wire.State.COMMITTED
    return replace(OPENED, epoch=8, window=0, max_chunk=0, state=state, receipt=receipt)


def test_complete_stream_needs_no_sending():
    """If another process sent the stream before, the sender only compares the digests."""
    half = outbound("greeting")
    half.feed(complete())

    assert ("PROVING", None, 0) == (half.phase.name, half.receipt, half.acknowledged)
    assert half.adopted

    half.sum(0, 4, frames(0, 4))
    half.prove(half.content)

    assert ("DONE", RECEIPT, 4) == (half.phase.name, half.receipt, half.acknowledged)


def test_receipt_may_come_on_the_next_connection():
    """If the connection with eos was lost, the next `opened` may bring the receipt."""
    half = outbound("ending")
    half.lose()
    half.greet()
    half.feed(complete())
    half.prove(half.content)

    assert ("DONE", RECEIPT) == (half.phase.name, half.receipt)


def test_without_its_beginning_a_source_has_no_digest():
    """If a source has dropped its first units, a receipt cannot be compared with it."""
    assert wire.Outbound(HELLO).summed
    assert not wire.Outbound(HELLO, first=1).summed


def test_receipt_may_be_trusted():
    """If a sender is told to trust, it accepts the receipt without reading the source."""
    half = outbound("greeting")
    half.feed(complete())
    half.trust()

    assert ("DONE", RECEIPT) == (half.phase.name, half.receipt)


@pytest.mark.parametrize("changed", WRONG_RECEIPTS.values(), ids=WRONG_RECEIPTS)
def test_wrong_receipt_is_refused_on_the_next_connection(changed):
    """If the sender has read all of its source, it checks a late receipt as well."""
    half = outbound("ending")
    half.lose()
    half.greet()

    with pytest.raises(wire.BadChecksum, match=f"expected 4 units, {RECEIPT.digest}"):
        half.feed(complete(**changed))
        half.prove(half.content)

    assert ("PROVING", None) == (half.phase.name, half.receipt)


def test_receipt_for_more_than_was_read_is_proved():
    """If another process got further, the sender reads the rest of the source for the digest."""
    half = outbound()
    send(half)
    half.lose()
    half.greet()
    half.feed(complete())
    half.sum(2, 2, frames(2, 2))
    half.prove(half.content)

    assert "DONE" == half.phase.name


def test_receipt_for_less_than_was_read_is_refused():
    """If another sender committed one frame under this id, it does not stand for four."""
    half = outbound("ending")
    half.lose()
    half.greet()
    half.feed(complete(units=1))

    with pytest.raises(wire.BadChecksum, match="receipt 1 units"):
        half.prove(half.content)


@pytest.mark.parametrize(("offset", "adopted"), [(0, False), (2, False), (3, True)])
def test_units_of_others_are_noticed(offset, adopted):
    """If the receiver has more units than this sender has sent, another one sent them."""
    half = outbound()
    send(half)
    reopen(half, offset=offset)

    assert adopted is half.adopted


def test_a_claim_of_another_sender_in_between_is_noticed():
    """If an epoch is missing, units may be another sender's, even if this one sent as many."""
    half = outbound()
    send(half)
    half.lose()
    half.greet()
    half.feed(replace(OPENED, epoch=9))

    assert half.adopted


def test_counters_outlive_an_id():
    """If a source is sent again under another id, its counters include the first attempt."""
    first, second = outbound("done"), outbound("lost")
    second.count(first)

    assert (2, 2 * 40, 0) == (second.chunks, second.sent_bytes, second.resent_bytes)


def test_committed_without_receipt_is_refused():
    """If the state is committed, there must be a receipt."""
    half = outbound("greeting")

    with pytest.raises(
        wire.Malformed, match="max_chunk 0, expected 4, one unit, to below the window"
    ):
        half.feed(replace(complete(), receipt=None))


@pytest.mark.parametrize("phase", ["open", "ending"])
def test_cancel_is_answered(phase):
    """After the answer the stream is done, without a receipt."""
    half = outbound(phase)

    assert wire.Cancel(epoch=7) == half.cancel()

    half.feed(CANCELLED)

    assert ("DONE", None) == (half.phase.name, half.receipt)


@pytest.mark.parametrize("phase", EXPECTED)
def test_drain_is_raised(phase):
    """If the receiver stops, the error says in how many ms to try again."""
    with pytest.raises(wire.Draining) as raised:
        outbound(phase).feed(wire.Drain(retry_ms=500))

    assert "receiver stops, expected another one in 500 ms" == str(raised.value)
    assert 1012 == raised.value.close_code


@pytest.mark.parametrize("phase", EXPECTED)
def test_error_is_raised(phase):
    """An error of the receiver is raised with its class and its words."""
    with pytest.raises(wire.Held, match=r"^stream is held$"):
        outbound(phase).feed(wire.Error(code=4423, message="stream is held"))


def test_a_debugger_shows_the_position():
    """One line has the stream, the phase, the next unit, and the unacknowledged bytes."""
    half = outbound()
    send(half)

    assert "<Outbound 0123… OPEN at 2, 40 bytes unacknowledged>" == repr(half)


def test_messages_in_flight_are_bounded(monkeypatch):
    """Each costs the sender memory, however small it is and however much credit there is."""
    monkeypatch.setattr("sonoduct.wire.outbound.MOST_MESSAGES", 2)
    half = outbound(opened=replace(RECEIVED, window=2**62))
    send(half, 1)
    assert half.room > 0
    send(half, 1)
    assert 0 == half.room

    half.feed(wire.Ack(epoch=7, durable=0, received=1, window=2**62))

    assert half.room > 0


def test_a_claim_has_a_number():
    """Epochs begin with 1: 0 stands for no claim."""
    half = outbound("greeting")
    half.greet()
    with pytest.raises(wire.Malformed, match="epoch 0, expected at least 1"):
        half.feed(replace(OPENED, epoch=0))


@pytest.mark.parametrize(
    "message",
    [wire.Committed(epoch=6, receipt=RECEIPT), wire.Cancelled(epoch=8)],
    ids=["committed", "cancelled"],
)
def test_the_end_of_another_claim(message):
    """It ends nothing here."""
    half = outbound("ending")
    with pytest.raises(wire.Malformed, match="epoch [68], expected 7"):
        half.feed(message)

    assert wire.Phase.ENDING is half.phase


@pytest.mark.parametrize(
    "changed",
    [
        {"stream": STREAM[:-1]},
        {"samplerate": 44_100},
        {"samplerate": 0},
        {"channels": 1},
        {"frames": 5},
        {"seconds": float("nan")},
        {"seconds": 4 / 44_100},
    ],
)
def test_a_receipt_says_the_same_as_the_stream(changed):
    """If it does not, the stream has failed, also where the sender trusts the receiver."""
    half, known = outbound("ending"), outbound("lost")
    receipt = replace(RECEIPT, **changed)
    with pytest.raises(wire.BadChecksum, match="receipt with .*, expected the stream's own"):
        half.feed(wire.Committed(epoch=7, receipt=receipt))
    known.greet()
    known.feed(replace(OPENED, state=wire.State.COMMITTED, receipt=receipt))
    with pytest.raises(wire.BadChecksum, match="receipt with .*, expected the stream's own"):
        known.trust()
    assert half.receipt is None is known.receipt


@pytest.mark.parametrize(("samplerate", "good"), [(1, True), (768_000, True), (768_001, False)])
def test_the_receipt_of_a_file(samplerate, good):
    """The sender does not know what is in the file, but what can be."""
    half = wire.Outbound(wire.Hello(stream=STREAM, instance="a", kind=wire.Kind.FILE))
    half.greet()
    facts = {"samplerate": samplerate, "frames": 2, "seconds": 2 / samplerate}
    receipt = replace(RECEIPT, **facts)
    half.feed(replace(OPENED, state=wire.State.COMMITTED, receipt=receipt))
    if good:
        half.trust()
    else:
        with pytest.raises(wire.BadChecksum):
            half.trust()
    assert good == (half.receipt is not None)
