"""Claims: which connection gets a stream, from which unit, and how earlier holders are fenced."""

import errno
import itertools
import os
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress

import pytest

import receiver.stores.journal.fence
from receiver.stores.journal import PosixDisk
from receiver.stores.journal.disk import DiskFull
from receiver.stores.journal.fence import MOST_EPOCHS
from receiver.stores.journal.journal import Done, Journal, State
from receiver.stores.journal.reader import Part
from receiver.stores.journal.writer import ending
from sonoduct.wire import (
    Encoding,
    Fenced,
    Format,
    Gone,
    Held,
    Kind,
    Malformed,
    StorageFailed,
    TooLarge,
)
from tests.support.faultydisk import FaultyDisk, HastyDisk
from tests.support.journal import (
    FRAMES,
    SOUND,
    STREAM,
    WIDTH,
    chunk,
    chunks,
    claimed,
    contents,
    end_stream,
    hello,
    names,
    receipt,
    writer,
)

DISK = PosixDisk()
HASTY = HastyDisk()
ANOTHER = hello("another")
COMPLETE = receipt(SOUND[: 100 * WIDTH])


@pytest.fixture
def folder(tmp_path):
    return tmp_path / STREAM


def begun(folder, how="close"):
    """Write 100 frames under epoch 1, and end the claim."""
    made = writer(HastyDisk(), folder)
    made.commit(chunks(1, 0, 100))
    if how == "end":
        made.commit([ending(made.epoch, COMPLETE)])
        made.close()
    else:
        getattr(made, how)()
    return folder


def idle(folder, seconds):
    """Set the time of the last write *seconds* back."""
    for path in folder.iterdir():
        os.utime(path, (time.time() - seconds,) * 2)


def test_a_new_stream(folder):
    """A new stream starts at 0, in a folder of its own."""
    granted = claimed(DISK, folder, hello())

    assert (1, 0, None) == (granted.epoch, granted.offset, granted.receipt)
    assert [(1, 0)] == names(DISK, folder)


@pytest.mark.parametrize("how", ["close", "seal"])
def test_a_stream_continues_where_it_stands(folder, how):
    """The next claim has the next epoch, whether or not the last one ended well."""
    granted = claimed(DISK, begun(folder, how), hello())
    granted.writer.commit(chunks(2, 100, 200))

    assert (2, 100) == (granted.epoch, granted.offset)
    assert SOUND[: 200 * WIDTH] == contents(DISK, folder)


def test_a_torn_record_does_not_count(folder):
    """A crash leaves half a chunk; the claim starts before it."""
    path = begun(folder) / Part(1, 0).name
    path.write_bytes(path.read_bytes()[:-1])
    granted = claimed(DISK, folder, hello())
    granted.writer.commit(chunks(2, 50, 200))

    assert 50 == granted.offset
    assert SOUND[: 200 * WIDTH] == contents(DISK, folder)


def test_claims_that_died_are_skipped(folder):
    """An empty segment, or half an opening, is not a claim, but its epoch is used up."""
    begun(folder)
    (folder / Part(2, 0).name).touch()
    (folder / Part(3, 0).name).write_bytes(b"\x01\x10")
    granted = claimed(DISK, folder, hello())

    assert (4, 100) == (granted.epoch, granted.offset)


def test_a_damaged_opening_is_no_claim_that_died(folder):
    """Acknowledged audio lies behind it: no file is emptied, and the claim is refused."""
    path = begun(folder) / Part(1, 0).name
    data = bytearray(path.read_bytes())
    data[40] ^= 1
    path.write_bytes(data)
    with pytest.raises(StorageFailed, match="damaged from byte 0 to .*, expected no record after"):
        claimed(DISK, folder, hello())

    assert bytes(data) == path.read_bytes()


def test_a_claim_that_died_is_buried_once(folder):
    """The cost of a later claim does not grow with the number of dead ones."""
    begun(folder)
    for epoch in range(2, 5):
        (folder / Part(epoch, 0).name).touch()
    disk = FaultyDisk()
    costs = []
    for _ in range(2):
        claimed(disk, folder, hello()).writer.close()
        costs.append(disk.calls.count("replace"))

    assert [3, 3] == costs


def test_a_promise_is_synced_first(folder):
    """The fence comes before the scan, and the scanned file is made durable before it is read."""
    begun(folder)
    disk = FaultyDisk()
    claimed(disk, folder, hello())
    create, sync = disk.calls.index("create"), disk.calls.index("sync_file")

    assert create < sync < disk.calls.index("write")
    assert "read" in disk.calls[sync:]


def test_many_claims_at_once(folder):
    """Each claim gets its own epoch and the right offset, or is refused as too early."""
    begun(folder)
    start = threading.Barrier(16)

    def contend(_):
        start.wait()
        try:
            return claimed(DISK, folder, hello())
        except Fenced:
            return None

    with ThreadPoolExecutor(16) as threads:
        results = [each for each in threads.map(contend, range(16)) if each is not None]
    epochs = sorted(each.epoch for each in results)

    assert sorted(set(epochs)) == epochs
    assert {100} == {each.offset for each in results}
    assert epochs[-1] == 17 == names(DISK, folder)[-1][0]
    for each in results:
        if each.epoch < 17:
            with pytest.raises(Fenced):
                each.writer.commit(chunks(each.epoch, 100, 200))
    results.sort(key=lambda each: each.epoch)
    results[-1].writer.commit(chunks(17, 100, 200))
    assert SOUND[: 200 * WIDTH] == contents(DISK, folder)


def test_many_claims_that_all_write(folder):
    """All acknowledged audio is there, once, and at its place."""
    promised = []
    start = threading.Barrier(6)

    def contend(_):
        start.wait()
        for _ in range(5):
            with suppress(Fenced):
                granted = claimed(DISK, folder, hello())
                promised.append(granted.offset)
                granted.writer._roll_bytes = 400
                for at in range(granted.offset, FRAMES, 10):
                    granted.writer.commit([chunk(granted.epoch, at, at + 10)])
                    promised.append(granted.writer.durable)

    with ThreadPoolExecutor(6) as threads:
        list(threads.map(contend, range(6)))
    offset = claimed(DISK, folder, hello()).offset

    assert offset >= max(promised)
    assert SOUND[: offset * WIDTH] == contents(DISK, folder)


def test_a_claim_that_is_late_to_begin(folder):
    """A late claim does not cut off what a newer one has found: its segment is replaced."""
    old = writer(DISK, folder)
    old.commit(chunks(1, 0, 100))
    disk, newer = FaultyDisk(), []

    def write_more(_):
        with pytest.raises(Fenced):
            old.commit(chunks(1, 100, 200))

    disk.before("exists", write_more)  # epoch 2 has scanned
    disk.before("write", lambda *_: newer.append(claimed(DISK, folder, hello())))
    with pytest.raises(Fenced):
        claimed(disk, folder, hello())
    newer[0].writer.commit(chunks(3, 200, 300))

    assert (3, 200) == (newer[0].epoch, newer[0].offset)
    assert SOUND[: 300 * WIDTH] == contents(DISK, folder)
    assert [(1, 0), (2, 0), (3, 0)] == names(DISK, folder)


def test_a_claim_that_is_late_to_look(folder):
    """A late claim removes no part that a newer one has counted since."""
    old_disk, disk, newer = FaultyDisk(), FaultyDisk(), []
    old = writer(old_disk, folder, roll_bytes=1)
    old.commit(chunks(1, 0, 100, step=100))
    old_disk.fail("write", errno.ENOSPC)  # the opening of the next part
    with pytest.raises(DiskFull):
        old.commit(chunks(1, 100, 200, step=100))

    def go_on(_):
        with pytest.raises(Fenced):
            old.commit(chunks(1, 100, 200, step=100))
        newer.append(claimed(DISK, folder, hello()))

    disk.before("read", go_on, nth=7)  # epoch 2 has found that part 1 is not open
    with pytest.raises(Fenced):
        claimed(disk, folder, hello())
    newer[0].writer.commit(chunks(3, 200, 300))

    assert (3, 200) == (newer[0].epoch, newer[0].offset)
    assert SOUND[: 300 * WIDTH] == contents(DISK, folder)


def test_another_claim_has_just_taken_the_epoch(folder):
    """The loser of a race takes the next one."""
    begun(folder)
    disk = FaultyDisk()
    disk.before("create", lambda path: path.touch())
    granted = claimed(disk, folder, hello())

    assert (3, 100) == (granted.epoch, granted.offset)


def test_a_new_folder_is_not_looked_into(folder):
    """One attempt at epoch 1 is enough; the only look is the one behind the fence."""
    disk = FaultyDisk()
    granted = claimed(disk, folder, hello())

    assert (1, 0) == (granted.epoch, granted.offset)
    assert 1 == disk.calls.count("names")
    assert disk.calls.index("create") < disk.calls.index("names")


@pytest.mark.parametrize("epochs", [0, 1])
def test_a_claim_whose_fence_comes_late(folder, monkeypatch, epochs):
    """Newer claims have removed its name and the next one: it acknowledges nothing."""
    monkeypatch.setattr(receiver.stores.journal.fence, "THIN_EVERY", 1)
    disk, newer = FaultyDisk(), []
    for _ in range(epochs):
        claimed(DISK, folder, hello()).writer.close()
    disk.before("create", lambda _: newer.extend(claimed(DISK, folder, hello()) for _ in range(3)))
    with pytest.raises(Fenced, match="a newer connection has claimed the stream"):
        claimed(disk, folder, hello())
    newer[-1].writer.commit(chunks(newer[-1].epoch, 0, 100))

    assert epochs + 3 == newer[-1].epoch
    assert SOUND[: 100 * WIDTH] == contents(DISK, folder)


def test_another_claim_is_faster_in_a_new_folder(folder):
    """The audio that the other claim has kept by then counts."""
    disk = FaultyDisk()
    disk.before("create", lambda _: begun(folder))
    granted = claimed(disk, folder, hello())

    assert (2, 100) == (granted.epoch, granted.offset)


def test_another_claim_ends_a_stream_whose_folder_was_new(folder):
    """Epoch 1 is free again, and done.json has the reason."""
    disk = FaultyDisk()

    def end(_):
        begun(folder, "end")
        end_stream(Journal(DISK, folder), Done(state=State.COMMITTED, epoch=1, receipt=COMPLETE))

    disk.before("create", end)
    granted = claimed(disk, folder, hello())

    assert (COMPLETE, None) == (granted.receipt, granted.writer)
    assert ["done.json"] == [path.name for path in folder.iterdir()]


def test_a_shelf_that_is_missing_is_made(tmp_path):
    """A user may remove empty folders by hand."""
    granted = claimed(DISK, tmp_path / "shelf" / STREAM, hello())

    assert (1, 0) == (granted.epoch, granted.offset)


@pytest.mark.parametrize(("method", "nth"), [("sync_file", 1), ("write", 1), ("sync_folder", 2)])
def test_a_newer_claim_in_the_middle_of_one(folder, method, nth):
    """At whichever step a newer claim comes, the older one is not granted."""
    begun(folder)
    disk = FaultyDisk()
    newer = []
    disk.before(method, lambda *_: newer.append(claimed(DISK, folder, hello())), nth)
    with pytest.raises(Fenced):
        claimed(disk, folder, hello())

    assert (3, 100) == (newer[0].epoch, newer[0].offset)
    assert set() == disk.open


def test_a_stream_that_is_claimed_all_the_time(folder, monkeypatch):
    """A claim gives up after a number of attempts."""
    monkeypatch.setattr(receiver.stores.journal.fence, "ATTEMPTS", 3)
    disk = FaultyDisk()
    for nth in (1, 2, 3):
        disk.before("create", lambda path: path.touch(), nth)

    with pytest.raises(Fenced, match="all the time"):
        claimed(disk, folder, hello())


def test_the_number_of_claims_is_limited(folder):
    """An epoch has 32 bits on the wire."""
    begun(folder)
    (folder / Part(MOST_EPOCHS, 0).name).touch()

    with pytest.raises(TooLarge, match="claims on the stream 4294967296, expected <= 4294967295"):
        claimed(DISK, folder, hello())


def claim_and_leave(folder, *, closed):
    """Claim the stream, and bring nothing."""
    granted = claimed(HASTY, folder, hello())
    if closed:
        granted.writer.seal()
    else:
        granted.writer.close()
    return granted


def test_claims_that_bring_nothing_leave_nothing(folder):
    """Claims without audio neither end a stream nor fill its folder."""
    begun(folder)
    for number in range(250):
        claim_and_leave(folder, closed=bool(number % 2))
    files = len(list(folder.iterdir()))
    granted = claimed(DISK, folder, hello())

    assert files < 120
    assert (252, 100) == (granted.epoch, granted.offset)
    assert SOUND[: 100 * WIDTH] == contents(DISK, folder)


def test_audio_between_empty_claims_stays(folder):
    """Each claim with audio keeps its segment, and the name after it."""
    granted = claimed(HASTY, folder, hello())
    for start in range(0, 150, 50):
        granted.writer.commit([chunk(granted.epoch, start, start + 50)])
        granted.writer.seal()
        for _ in range(60):
            granted = claim_and_leave(folder, closed=True)
        granted = claimed(HASTY, folder, hello())
    granted.writer.close()

    assert 150 == granted.offset
    assert SOUND[: 150 * WIDTH] == contents(DISK, folder)
    assert len(list(folder.iterdir())) < 120


def test_a_writer_that_slept_while_its_followers_were_removed(folder, monkeypatch):
    """The writer finds a newer name, or its file removed, and acknowledges nothing."""
    monkeypatch.setattr(receiver.stores.journal.fence, "THIN_EVERY", 8)
    first = claimed(DISK, folder, hello()).writer
    first.commit([chunk(1, 0, 50)])
    second = claimed(DISK, folder, hello()).writer
    third = claimed(DISK, folder, hello()).writer
    for _ in range(5):
        claim_and_leave(folder, closed=False)
    for sleeper in (first, second, third):
        with pytest.raises(Fenced):
            sleeper.commit([chunk(sleeper.epoch, 50, 100)])
    last = claimed(DISK, folder, hello())

    assert 50 == last.offset
    assert [1, 2, 8, 9] == sorted({epoch for epoch, _ in names(DISK, folder)})


def test_another_sender_waits(folder):
    """While the last write is recent, another sender is refused, with the age of that write."""
    begun(folder)
    idle(folder, 4)
    with pytest.raises(Held) as raised:
        claimed(DISK, folder, ANOTHER)

    text = (
        "stream is held; seconds without progress 4.0, "
        "expected 10 before another sender may take it over"
    )
    assert text == str(raised.value)
    assert [(1, 0)] == names(DISK, folder)


def test_another_sender_gets_a_stream_that_idles(folder):
    """Another sender gets the stream after the configured time."""
    begun(folder)
    idle(folder, 10.1)

    assert (2, 100) == (claimed(DISK, folder, ANOTHER).epoch, claimed(DISK, folder, ANOTHER).offset)


@pytest.mark.parametrize("how", ["seal", "end"])
def test_another_sender_gets_a_stream_that_was_given_back(folder, how):
    """A claim that ended in order holds nothing, and neither does a complete stream."""
    granted = claimed(DISK, begun(folder, how), ANOTHER)

    assert 100 == granted.offset


def test_the_same_sender_does_not_wait(folder):
    """A sender connects again only if its old connection is dead."""
    begun(folder)

    assert 100 == claimed(DISK, folder, hello()).offset


@pytest.mark.parametrize(
    "changed",
    [
        {"format_": Format(samplerate=8000, channels=1, encoding=Encoding.S16LE)},
        {"format_": Format(samplerate=8001, channels=2, encoding=Encoding.S16LE)},
        {"format_": Format(samplerate=8000, channels=2, encoding=Encoding.F32LE)},
        {"kind": Kind.FILE, "format_": None},
    ],
    ids=["channels", "samplerate", "encoding", "kind"],
)
def test_a_stream_has_one_format(folder, changed):
    """A claim in another format is refused, and a claim in the right one continues."""
    begun(folder)
    disk = FaultyDisk()
    with pytest.raises(Malformed, match="format"):
        claimed(disk, folder, hello(**changed))

    assert set() == disk.open
    assert 100 == claimed(DISK, folder, hello()).offset


@pytest.mark.parametrize("state", [State.CANCELLED, State.EXPIRED])
def test_a_stream_that_was_given_up(folder, state):
    """Every sender learns that the stream is gone."""
    end_stream(Journal(DISK, begun(folder)), Done(state=state, epoch=1))
    for each in (hello(), ANOTHER):
        with pytest.raises(Gone, match=f"stream was {state}"):
            claimed(DISK, folder, each)

    assert [] == names(DISK, folder)


def test_a_complete_stream_is_answered_with_its_receipt(folder):
    """The receipt comes without a new claim."""
    begun(folder, "end")
    end_stream(Journal(DISK, folder), Done(state=State.COMMITTED, epoch=1, receipt=COMPLETE))
    granted = claimed(DISK, folder, hello())

    assert (1, 100, COMPLETE, None) == (
        granted.epoch,
        granted.offset,
        granted.receipt,
        granted.writer,
    )
    assert [] == names(DISK, folder)


def test_a_complete_stream_without_a_recording(folder):
    """The END of a journal is enough for the receipt, for any number of claims."""
    begun(folder, "end")
    disk = FaultyDisk()
    for epoch in (2, 3):
        granted = claimed(disk, folder, hello())

        assert (epoch, 100, COMPLETE) == (granted.epoch, granted.offset, granted.receipt)
    assert set() == disk.open
    assert Journal(DISK, folder).done() is None


def test_a_stream_that_is_completed_just_before_the_fence(folder):
    """The claim finds done.json after its fence, and leaves no file."""
    begun(folder, "end")
    done = Done(state=State.COMMITTED, epoch=1, receipt=COMPLETE)
    disk = FaultyDisk()
    disk.before("create", lambda _: end_stream(Journal(DISK, folder), done))
    granted = claimed(disk, folder, hello())

    assert COMPLETE == granted.receipt
    assert ["done.json"] == [each.name for each in folder.iterdir()]
    assert set() == disk.open


@pytest.mark.parametrize("said", [hello(), ANOTHER], ids=["same", "another"])
@pytest.mark.parametrize("nth", range(1, 24))
def test_a_stream_that_is_completed_meanwhile(folder, nth, said):
    """At any step of a claim, the receipt is the answer, or the claim's writes are refused."""
    begun(folder, "end")
    done = Done(state=State.COMMITTED, epoch=1, receipt=COMPLETE)
    disk = FaultyDisk()
    disk.before("any", lambda *_: end_stream(Journal(DISK, folder), done), nth)
    with suppress(Fenced):
        assert COMPLETE == claimed(disk, folder, said).receipt

    assert set() == disk.open
    assert COMPLETE == claimed(DISK, folder, said).receipt


def test_a_damaged_done_is_an_error(folder):
    """The end of the stream is unknown, so no connection gets it."""
    begun(folder)
    (folder / "done.json").write_text('{"state": "lost"}')

    with pytest.raises(StorageFailed, match="done.json: Invalid enum value 'lost'"):
        claimed(DISK, folder, hello())


@pytest.mark.parametrize("how", ["close", "seal", "end"])
@pytest.mark.parametrize("code", [errno.EIO, errno.ENOSPC])
def test_any_call_may_fail(tmp_path, how, code):
    """If a call fails, the claim is refused with 4507, no file is open, and a later claim works."""
    for nth in itertools.count(1):
        folder = begun(tmp_path / str(nth), how)
        disk = FaultyDisk()
        disk.fail("any", code, nth)
        said = ANOTHER if how == "seal" else hello()
        try:
            granted = claimed(disk, folder, said)
        except StorageFailed as exc:
            assert os.strerror(code) in str(exc), disk.calls
            assert set() == disk.open, disk.calls
            assert 100 == claimed(DISK, folder, said).offset
            continue
        assert disk.calls[-1] == "close" or len(disk.calls) < nth, disk.calls
        if granted.writer is not None:
            granted.writer.close()
        if len(disk.calls) < nth:
            break

    assert nth > 10
