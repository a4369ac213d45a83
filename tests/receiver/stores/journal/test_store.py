"""The store on an event loop: groups, acknowledgements, full disks, and late connections."""

import asyncio
import errno
import os
import tempfile
import threading
from contextlib import asynccontextmanager
from pathlib import Path

import pytest
from structlog.testing import capture_logs

import receiver.stores.journal.committer
import receiver.stores.journal.janitor
import receiver.stores.journal.store
from receiver.stores.journal import (
    JournalStore,
    Layout,
    PosixDisk,
    RecordingOptions,
    Retention,
    StoreLimits,
    committer,
)
from receiver.stores.journal.journal import Journal, State
from receiver.stores.journal.reader import Part
from receiver.stores.journal.writer import ending
from sonoduct.audio.recording import read_recording
from sonoduct.wire import BadChecksum, Eos, Fenced, Gone, Level, StorageFailed, TooLarge
from tests.support.faultydisk import FaultyDisk, refuse
from tests.support.journal import (
    FRAMES,
    SOUND,
    STREAM,
    WIDTH,
    chunks,
    claimed,
    contents,
    hello,
    names,
    receipt,
)
from tests.support.rawclient import FORMAT, PATIENCE_S, digest
from tests.support.waits import until

DISK = PosixDisk()
RESERVE = 1000
OTHER = hello(stream="0" * 32)


class Roomy(FaultyDisk):
    """A disk whose free space the test sets."""

    space = 10**9

    def free(self, folder):
        return self.space


class Listening:
    """The holder of a claim: it notes every call."""

    def __init__(self):
        self.claim = None
        self.kept = []
        self.failures = []
        self._moved = asyncio.Event()

    def advanced(self):
        self.kept.append(self.claim.kept)
        self._moved.set()

    def failed(self, error):
        self.failures.append(error)
        self._moved.set()

    async def until(self, reached):
        """Wait until *reached* returns True."""
        async with asyncio.timeout(PATIENCE_S):
            while not reached():
                self._moved.clear()
                await self._moved.wait()

    async def keeps(self, units):
        """Wait until every frame before *units* is durable."""
        await self.until(lambda: self.kept and self.kept[-1] >= units)


class Gate:
    """Stops a thread until the test opens the gate."""

    def __init__(self):
        self._loop = asyncio.get_running_loop()
        self._reached = asyncio.Event()
        self._opened = threading.Event()

    def __call__(self, *_):
        self._loop.call_soon_threadsafe(self._reached.set)
        assert self._opened.wait(PATIENCE_S)

    async def reached(self):
        """Wait until a thread has come."""
        async with asyncio.timeout(PATIENCE_S):
            await self._reached.wait()

    def open(self):
        """Let it continue."""
        self._opened.set()


@pytest.fixture
def disk():
    return Roomy()


@pytest.fixture(autouse=True)
def soon(monkeypatch):
    """Retry soon after a full disk."""
    monkeypatch.setattr(receiver.stores.journal.committer, "RETRY_S", 0.005)


@asynccontextmanager
async def opened(root, disk, **bounds):
    """Open a store."""
    chosen = {"reserve_bytes": RESERVE, "stream_bytes": 10**6, "takeover_s": 10} | bounds
    observed = []
    made = JournalStore(
        Layout(disk, root),
        RecordingOptions("wav"),
        Retention(3600, 3600),
        StoreLimits(**chosen),
        observed.append,
    )
    made.observed = observed
    try:
        yield made
    finally:
        made.close()


async def begun(store, said=None):
    """Claim the stream; return the claim and its listener."""
    listener = Listening()
    listener.claim = await store.claim(
        said or hello(), on_kept=listener.advanced, on_failed=listener.failed
    )
    if listener.claim.receipt is None and listener.claim._writer is None:
        listener.claim._start()  # otherwise its first chunk does
        await listener.claim._begun()
    return listener.claim, listener


def append(claim, start, stop, step=50):
    """Give the claim the frames from *start* to *stop*."""
    for each in chunks(claim.epoch, start, stop, step):
        claim.append(each)


def eos(source=SOUND, **changed):
    """Return the end of a stream that consists of *source*."""
    return Eos(**({"units": len(source) // WIDTH, "digest": digest(source)} | changed))


async def committed(claim, source=SOUND):
    """End the stream as its sender does; return the receipt."""

    async def made(_found):
        return receipt(source, stream=claim._hello.stream)

    return await claim.commit(eos(source), made)


@pytest.fixture
def folder(tmp_path):
    """Return the folder of the stream's journal in a store."""
    Layout(DISK, tmp_path).prepare(0)
    return Layout(PosixDisk(), tmp_path).journal(STREAM).folder


async def test_a_stream_from_claim_to_recording(tmp_path, disk, folder):
    """Acknowledged audio is in the journal, and closing waits for the recording."""
    async with opened(tmp_path, disk) as store:
        claim, listener = await begun(store)
        before = (store.level, claim.epoch, claim.offset, claim.kept, claim.receipt)
        append(claim, 0, 300)
        await listener.keeps(300)
        durable = contents(DISK, folder)
        append(claim, 300, FRAMES)
        made = await committed(claim)
        await claim.seal()
    (path,) = (tmp_path / "audio").glob("*.wav")

    assert (Level.DURABLE, 1, 0, 0, None) == before
    assert SOUND[: 300 * WIDTH] == durable
    assert receipt() == made
    assert SOUND == b"".join(read_recording(path, FORMAT))
    assert (State.COMMITTED, []) == (Journal(DISK, folder).done().state, names(DISK, folder))
    assert set() == disk.open


async def test_nothing_is_acknowledged_before_it_is_durable(tmp_path, disk):
    """During a slow sync `kept` does not move, and a commit waits."""
    async with opened(tmp_path, disk) as store:
        claim, listener = await begun(store)
        gate = Gate()
        disk.before("sync", gate)
        append(claim, 0, FRAMES)
        committing = asyncio.create_task(committed(claim))
        await gate.reached()
        before = (claim.kept, list(listener.kept), committing.done())
        gate.open()
        await committing

    assert (0, [], False) == before
    assert [FRAMES] == listener.kept


async def test_streams_are_committed_in_groups(tmp_path, disk):
    """Chunks of all streams that come while one group is under way make the next one."""
    async with opened(tmp_path, disk) as store:
        claim, listener = await begun(store)
        other, another = await begun(store, OTHER)
        gate = Gate()
        disk.before("sync", gate)
        append(claim, 0, 50)
        store.committer.flush_soon()
        await gate.reached()
        append(claim, 50, 200)
        append(other, 0, 100)
        gate.open()
        await listener.keeps(200)
        await another.keeps(100)

    assert ([50, 200], [100]) == (listener.kept, another.kept)
    assert 2 == len(store.observed)


async def test_a_large_group_does_not_wait(tmp_path, disk, monkeypatch):
    """A group of GROUP_BYTES is committed at once, a smaller one after a while."""
    monkeypatch.setattr(receiver.stores.journal.committer, "GROUP_S", 3600)
    monkeypatch.setattr(receiver.stores.journal.committer, "GROUP_BYTES", 1000)
    async with opened(tmp_path, disk) as store:
        claim, listener = await begun(store)
        append(claim, 0, 50)
        await asyncio.sleep(0)
        before = disk.calls.count("write")
        append(claim, 50, 300)
        await listener.keeps(200)

    assert 1 == before  # the opening
    assert listener.kept[-1] >= 200


class Whole(Roomy):
    """A disk that claims to have a syncfs that reports faults, on any file system."""

    def syncs_all(self, handle):
        return True

    def sync_all(self, handle):
        os.sync()


async def group(store, count, first=0):
    """Commit chunks of *count* streams together; return their listeners and the syncs."""
    numbers = range(first, first + count)
    begun_ones = [await begun(store, hello(stream=f"{number:032x}")) for number in numbers]
    before = store.layout.disk.calls.count("sync"), store.layout.disk.calls.count("sync_all")
    for claim, _ in begun_ones:
        append(claim, 0, 100)
    store.committer.flush_soon()
    listeners = [listener for _, listener in begun_ones]
    for listener in listeners:
        await listener.until(lambda each=listener: each.kept or each.failures)
    syncs = store.layout.disk.calls.count("sync"), store.layout.disk.calls.count("sync_all")
    return listeners, (syncs[0] - before[0], syncs[1] - before[1])


@pytest.mark.parametrize(
    ("count", "expected"),
    [(committer.MANY - 1, (committer.MANY - 1, 0)), (committer.MANY, (0, 1))],
    ids=["few", "many"],
)
async def test_many_streams_are_made_durable_at_once(tmp_path, count, expected):
    """Many streams take one call; a few streams take a sync each."""
    async with opened(tmp_path, Whole()) as store:
        listeners, syncs = await group(store, count)

    assert expected == syncs
    assert [[100]] * count == [each.kept for each in listeners]


async def test_a_disk_that_cannot_be_synced_at_once(tmp_path, disk):
    """If the file system does not report faults, each file is synced."""
    disk.syncs_all = lambda _handle: False
    async with opened(tmp_path, disk) as store:
        _, syncs = await group(store, committer.MANY)

    assert (committer.MANY, 0) == syncs


async def test_a_store_on_two_file_systems(tmp_path):
    """If the recordings are on another disk than the journals, each file is synced."""
    elsewhere = Path("/dev/shm")  # noqa: S108  # on Linux it is a file system of its own
    if not elsewhere.is_dir() or elsewhere.stat().st_dev == tmp_path.stat().st_dev:
        pytest.skip("there is no second file system")
    with tempfile.TemporaryDirectory(dir=elsewhere) as audio:
        (tmp_path / "store").mkdir()
        async with opened(tmp_path / "store", Whole()):
            pass  # it makes the folders
        (tmp_path / "store" / "audio").rmdir()
        (tmp_path / "store" / "audio").symlink_to(audio)
        async with opened(tmp_path / "store", Whole()) as store:
            _, syncs = await group(store, committer.MANY)

    assert (committer.MANY, 0) == syncs


async def test_a_fault_of_all_is_looked_for_in_each(tmp_path):
    """If syncfs fails, the stream whose file lost data is refused, and no other."""
    disk = Whole()
    disk.before("sync_all", lambda *_: (disk.fail("sync", nth=3), refuse(errno.EIO)), nth=1)
    async with opened(tmp_path, disk) as store:
        listeners, syncs = await group(store, committer.MANY)

    assert (committer.MANY, 1) == syncs
    assert [3] == [at for at, each in enumerate(listeners, 1) if each.failures]
    assert committer.MANY - 1 == sum(each.kept == [100] for each in listeners)


async def test_recordings_take_no_faults_from_commits(tmp_path):
    """A handle reports a fault once, so recordings sync the disk through another one."""
    disk = Whole()
    seen = []
    disk.before("sync_all", seen.append, 1)
    async with opened(tmp_path, disk) as store:
        claims = [
            (await begun(store, hello(stream=f"{number:032x}")))[0]
            for number in range(committer.MANY)
        ]
        for claim in claims:
            append(claim, 0, FRAMES)
        store.committer.flush_soon()
        await until(lambda: all(claim.kept == FRAMES for claim in claims))
        for claim in claims:
            await committed(claim)
        for nth in range(1, 9):
            disk.before("sync_all", seen.append, nth)
        await until(lambda: len(list((tmp_path / "audio").glob("*.json"))) == committer.MANY)

    assert seen[0] not in seen[-4:]


async def test_a_disk_that_others_fill(tmp_path, monkeypatch):
    """If the call waits long for others' data, it is not used for a while."""
    monkeypatch.setattr(committer, "SLOW_S", -1)
    async with opened(tmp_path, Whole()) as store:
        _, first = await group(store, committer.MANY)
        _, second = await group(store, committer.MANY, first=100)

    assert ((0, 1), (committer.MANY, 0)) == (first, second)


async def test_another_claim_continues(tmp_path, disk, folder):
    """When a connection is lost, its chunks are made safe; the next claim starts behind them."""
    async with opened(tmp_path, disk) as store:
        claim, _ = await begun(store)
        append(claim, 0, 300)
        await claim.seal()
        again, _ = await begun(store)
        append(again, 300, FRAMES)
        made = await committed(again)

    assert (300, 2, 300) == (claim.kept, again.epoch, again.offset)
    assert receipt() == made


async def test_a_digest_is_computed_again_when_a_stream_changed_hands(tmp_path, disk, folder):
    """It covers the audio of all claims; a wrong one is refused, and nothing is lost."""
    async with opened(tmp_path, disk) as store:
        for start in (0, 200, 400):
            claim, _ = await begun(store)
            append(claim, start, start + 200)
            await claim.seal()
        claim, _ = await begun(store)
        with pytest.raises(BadChecksum) as raised:
            await claim.commit(eos(digest="0" * 32), None)
        again, _ = await begun(store)
        made = await committed(again)

    text = f"digest of the stream {'0' * 32}, expected {digest(SOUND)}"
    assert text == str(raised.value)
    assert receipt() == made


async def test_a_sender_without_a_digest(tmp_path, disk):
    """The sender accepts the receiver's digest."""
    async with opened(tmp_path, disk) as store:
        claim, _ = await begun(store)
        append(claim, 0, FRAMES)
        found = []

        async def made(each):
            found.append(each)
            return receipt()

        await claim.commit(eos(digest=""), made)

    assert [digest(SOUND)] == found


async def test_a_second_claim_in_this_process_seals_the_first(tmp_path, disk, folder):
    """It waits for the first one's chunks, and the first segment is closed in order."""
    async with opened(tmp_path, disk) as store:
        first, listener = await begun(store)
        gate = Gate()
        disk.before("sync", gate)
        append(first, 0, 200)
        store.committer.flush_soon()
        await gate.reached()
        append(first, 200, 300)
        claiming = asyncio.create_task(begun(store, hello("another")))
        await asyncio.sleep(0)
        gate.open()
        second, _ = await claiming
        tail = Journal(DISK, folder).last_segment(below=2).tail()

    assert ([200, 300], []) == (listener.kept, listener.failures)
    assert (2, 300) == (second.epoch, second.offset)
    assert (300, True) == (tail.offset, tail.closed)
    assert {second._writer._file._handle} == disk.open


async def test_a_claim_elsewhere_ends_this_one(tmp_path, disk, folder):
    """The listener is told, once, and nothing more is acknowledged."""
    async with opened(tmp_path, disk) as store:
        claim, listener = await begun(store)
        append(claim, 0, 100)
        await listener.keeps(100)
        granted = claimed(DISK, folder, hello())
        append(claim, 100, 200)
        await listener.until(lambda: listener.failures)
        append(claim, 200, 300)
        with pytest.raises(Fenced):
            await committed(claim, SOUND[: 300 * WIDTH])
        await claim.seal()
        granted.writer.commit(chunks(2, granted.offset, 300))

    assert [Fenced] == [type(each) for each in listener.failures]
    assert ([100], 100) == (listener.kept, granted.offset)
    assert SOUND[: 300 * WIDTH] == contents(DISK, folder)


async def test_a_failure_concerns_one_stream(tmp_path, disk):
    """The others of its group are acknowledged; its next claim finds all audio that is there."""
    async with opened(tmp_path, disk) as store:
        claim, listener = await begun(store)
        other, another = await begun(store, OTHER)
        disk.fail("sync")
        append(claim, 0, 100)
        append(other, 0, 100)
        store.committer.flush_soon()
        await another.keeps(100)
        append(claim, 100, 200)
        append(other, 100, 200)
        store.committer.flush_soon()
        await another.keeps(200)
        await claim.seal()
        again, _ = await begun(store)

    assert ["Input/output error"] == [str(each)[-18:] for each in listener.failures]
    assert ([], 0, 100) == (listener.kept, claim.kept, again.offset)


async def test_a_defect_is_told_to_every_stream(tmp_path, disk):
    """Any exception reaches every stream of the group, so no stream waits for ever."""
    async with opened(tmp_path, disk) as store:
        claim, listener = await begun(store)
        disk.before("sync", lambda *_: 1 / 0)
        append(claim, 0, 100)
        with pytest.raises(StorageFailed, match="ZeroDivisionError"):
            await committed(claim, SOUND[: 100 * WIDTH])

    assert 1 == len(listener.failures)


@pytest.mark.parametrize("size", [0, 232, 300])
async def test_a_full_disk_is_waited_for(tmp_path, disk, folder, size):
    """The store reports that it is full; with room again, every stream continues."""
    async with opened(tmp_path, disk) as store:
        claim, listener = await begun(store)
        append(claim, 0, 100)
        await listener.keeps(100)
        gate = Gate()

        def fail(*_):
            gate()
            refuse(errno.ENOSPC)

        disk.tear(size)
        disk.fail("write", errno.ENOSPC, 2)
        disk.before("write", fail, 3)
        disk.fail("write", errno.ENOSPC, 4)
        append(claim, 100, 300)
        store.committer.flush_soon()
        await gate.reached()
        append(claim, 300, FRAMES)
        before = (store.full, list(listener.kept), listener.failures)
        with pytest.raises(StorageFailed, match="free bytes of the store 0, expected some"):
            await begun(store, OTHER)
        gate.open()
        made = await committed(claim)
        after = store.full

    assert (True, [100], []) == before
    assert not after
    assert sorted(listener.kept) == listener.kept
    assert receipt() == made


async def test_the_reserve_is_left_free(tmp_path, disk):
    """With less room, nothing is written, and no stream is taken; with more, streams continue."""
    async with opened(tmp_path, disk) as store:
        claim, listener = await begun(store)
        before = (store.full, store.free_bytes)
        disk.space = RESERVE
        writes = disk.calls.count("write")
        append(claim, 0, 100)
        store.committer.flush_soon()
        await until(lambda: store.committer.full)
        reserved = (store.full, store.free_bytes, disk.calls.count("write") - writes)
        disk.space = RESERVE + 1
        await listener.keeps(100)
        after = store.full

    assert (False, 10**9 - RESERVE) == before
    assert (True, 0, 0) == reserved
    assert (False, [100]) == (after, listener.kept)


async def test_a_store_that_cannot_be_asked_is_full(tmp_path, disk):
    """A disk that has gone is a fault of the storage; streams go elsewhere."""
    disk.free = lambda _: refuse(errno.EIO)
    async with opened(tmp_path, disk) as store:
        assert (True, 0) == (store.full, store.free_bytes)
        with pytest.raises(StorageFailed):
            await begun(store)


async def test_a_connection_that_is_lost_while_the_disk_is_full(tmp_path, disk, folder):
    """Unacknowledged audio is dropped: its sender has it. Sealing does not wait for room."""
    async with opened(tmp_path, disk) as store:
        claim, listener = await begun(store)
        append(claim, 0, 100)
        await listener.keeps(100)
        disk.space = 0
        append(claim, 100, 300)
        store.committer.flush_soon()
        async with asyncio.timeout(PATIENCE_S):
            await until(lambda: store.committer.full)
            await claim.seal()
            await until(lambda: not store.committer.full)  # it finds no claim that tries again
        full = store.full
        disk.space = 10**9
        again, _ = await begun(store)
        append(again, 100, FRAMES)
        made = await committed(again)

    assert (True, 100, 100) == (full, claim.kept, again.offset)
    assert receipt() == made


async def test_audio_acked_as_received_waits_for_room(tmp_path, disk):
    """Its sender does not have it any more: it is kept, though the connection is lost."""
    async with opened(tmp_path, disk) as store:
        claim, listener = await begun(store, hello(ack=Level.RECEIVED))
        append(claim, 0, 100)
        await listener.keeps(100)
        disk.space = 0
        append(claim, 100, 300)
        store.committer.flush_soon()
        async with asyncio.timeout(PATIENCE_S):
            await until(lambda: store.committer.full)
            sealing = asyncio.create_task(claim.seal())
            await asyncio.sleep(0)
            disk.space = 10**9
            await sealing
        again, _ = await begun(store)

    assert (300, 300) == (claim.kept, again.offset)


@pytest.mark.parametrize("size", [0, 232])
async def test_a_disk_that_gets_full_while_a_claim_is_sealed(tmp_path, disk, folder, size):
    """All later chunks are kept, or no chunk is: audio behind a gap is never acknowledged."""
    async with opened(tmp_path, disk) as store:
        claim, _ = await begun(store)
        append(claim, 0, 100)
        await claim.seal()
        claim, listener = await begun(store)
        gate = Gate()

        def stop(handle, buffers):
            gate()
            DISK.write(handle, [b"".join(buffers)[:size]])
            refuse(errno.ENOSPC)

        disk.before("write", stop)
        append(claim, 100, 200)
        store.committer.flush_soon()
        await gate.reached()
        append(claim, 200, 300)
        sealing = asyncio.create_task(claim.seal())
        await asyncio.sleep(0)
        gate.open()
        async with asyncio.timeout(PATIENCE_S):
            await sealing
            await until(lambda: not store.full)
        again, _ = await begun(store)
        append(again, again.offset, FRAMES)
        made = await committed(again)

    assert {100} >= {claim.kept, *listener.kept}
    assert 100 + 50 * (size // 232) == again.offset
    assert receipt() == made


async def test_a_failure_after_the_end_of_a_claim_is_not_passed_on(tmp_path, disk):
    """The holder may already have its next connection, so it is not told."""
    async with opened(tmp_path, disk) as store:
        claim, listener = await begun(store)
        gate = Gate()

        def fail(_):
            gate()
            refuse(errno.EIO)

        disk.before("sync", fail)
        append(claim, 0, 100)
        store.committer.flush_soon()
        await gate.reached()
        claiming = asyncio.create_task(store.claim(hello(), listener.advanced, listener.failed))
        await asyncio.sleep(0)
        gate.open()
        again = await claiming

    assert [] == listener.failures
    assert (2, 100) == (again.epoch, again.offset)


async def test_a_stream_that_grows_too_long(tmp_path, disk, folder):
    """The chunk that would be beyond the limit is refused; earlier chunks stay."""
    async with opened(tmp_path, disk, stream_bytes=100 * WIDTH) as store:
        claim, _ = await begun(store)
        append(claim, 0, 100)
        with pytest.raises(TooLarge, match="stream bytes 600, expected <= 400"):
            append(claim, 100, 150)
        await claim.seal()

    assert SOUND[: 100 * WIDTH] == contents(DISK, folder)


async def test_a_stream_that_is_given_up(tmp_path, disk, folder):
    """Its audio is removed, and so are chunks under way."""
    async with opened(tmp_path, disk) as store:
        claim, _ = await begun(store)
        append(claim, 0, 300)
        await claim.discard()
        with pytest.raises(Gone):
            await begun(store)

    assert [] == names(DISK, folder)


async def test_a_stream_that_was_taken_over_is_not_given_up(tmp_path, disk, folder):
    """A connection that was fenced elsewhere is told so, and the stream stays."""
    async with opened(tmp_path, disk) as store:
        claim, listener = await begun(store)
        append(claim, 0, 100)
        await listener.keeps(100)
        claimed(DISK, folder, hello())
        with pytest.raises(Fenced):
            await claim.discard()

    assert SOUND[: 100 * WIDTH] == contents(DISK, folder)


async def test_a_stream_whose_sender_is_away_stays(tmp_path, disk, folder):
    """It stays until it expires, even if this process has forgotten it."""
    async with opened(tmp_path, disk) as store:
        claim, _ = await begun(store)
        append(claim, 0, 100)
        await claim.seal()
        await claim.forget()

    assert SOUND[: 100 * WIDTH] == contents(DISK, folder)


async def test_a_complete_stream_is_answered_and_finished(tmp_path, disk, folder):
    """Each claim gets the receipt, and a missing recording is made."""
    made = claimed(DISK, folder, hello()).writer
    made.commit(chunks(1, 0, FRAMES))
    made.commit([ending(made.epoch, receipt())])
    made.close()
    async with opened(tmp_path, disk) as store:
        disk.before("remove", gate := Gate())  # of the draft: the recording takes its time
        answers = [(await begun(store))[0] for _ in range(3)]
        gate.open()

    assert [receipt()] * 3 == [each.receipt for each in answers]
    assert State.COMMITTED is Journal(DISK, folder).done().state
    assert set() == disk.open


@pytest.mark.parametrize("left", [0, 20])
async def test_the_end_waits_for_room(tmp_path, disk, left):
    """A commit waits for room as chunks do, and then gets the receipt."""
    async with opened(tmp_path, disk) as store:
        claim, listener = await begun(store)
        append(claim, 0, FRAMES)
        await listener.keeps(FRAMES)
        gate = Gate()
        disk.tear(left)
        disk.before("free", gate, 2)  # before it is tried again
        committing = asyncio.create_task(committed(claim))
        await gate.reached()
        before = (store.committer.full, committing.done())
        gate.open()
        made = await committing

    assert (True, False) == before
    assert receipt() == made


async def test_an_end_that_never_came_to_the_disk_has_no_receipt(tmp_path, disk, monkeypatch):
    """If the claim is sealed while the disk is full, the commit fails."""
    monkeypatch.setattr(receiver.stores.journal.committer, "RETRY_S", 0.2)
    async with opened(tmp_path, disk) as store:
        claim, listener = await begun(store)
        append(claim, 0, FRAMES)
        await listener.keeps(FRAMES)
        disk.space = 0
        committing = asyncio.create_task(committed(claim))
        async with asyncio.timeout(PATIENCE_S):
            await until(lambda: store.committer.full)
            await claim.seal()
        disk.space = 10**9
        with pytest.raises(Fenced, match="the claim has ended"):
            await committing
        await until(lambda: not store.full)  # until the committer has tried again
        again, _ = await begun(store)
        made = await committed(again)

    assert (FRAMES, receipt()) == (again.offset, made)


async def test_the_end_becomes_durable_with_what_waits_before_it(tmp_path, disk):
    """One write and one sync for a short stream."""
    async with opened(tmp_path, disk) as store:
        claim, _ = await begun(store)
        disk.calls.clear()
        append(claim, 0, FRAMES)
        await committed(claim)
        calls = [each for each in disk.calls if each in ("write", "sync")]

    assert ["write", "sync"] == calls[:2]
    assert 1 == calls.count("sync")


async def test_a_claim_whose_connection_is_lost(tmp_path, disk, folder):
    """A connection that is lost meanwhile leaves no file open."""
    claimed(DISK, folder, hello()).writer.close()
    async with opened(tmp_path, disk) as store:
        gate = Gate()
        disk.before("create", gate)
        claiming = asyncio.create_task(begun(store))
        await gate.reached()
        claiming.cancel()
        with pytest.raises(asyncio.CancelledError):
            await claiming
        gate.open()
        await until(lambda: "close" in disk.calls)

    assert set() == disk.open
    assert [(1, 0), (2, 0)] == names(DISK, folder)


async def new(store):
    """Claim a new stream, of which nothing has come; return the claim and its listener."""
    listener = Listening()
    listener.claim = await store.claim(hello(), listener.advanced, listener.failed)
    return listener.claim, listener


async def test_a_stream_without_audio_leaves_nothing(tmp_path, disk, folder):
    """Its claim makes no folder and no file, whether its sender goes, cancels or comes again."""
    async with opened(tmp_path, disk) as store:
        shelf = set(folder.parent.parent.rglob("*"))
        for end in ("seal", "discard", "touch", "seal"):
            claim, _ = await new(store)
            assert (1, 0) == (claim.epoch, claim.offset)
            await getattr(claim, end)()
        assert shelf == set(folder.parent.parent.rglob("*"))


async def test_a_new_stream_begins_with_its_first_chunk(tmp_path, disk, folder):
    """The chunks that come meanwhile wait, and become durable with it."""
    async with opened(tmp_path, disk) as store:
        gate = Gate()
        disk.before("create", gate)
        claim, listener = await new(store)
        append(claim, 0, 100)
        await gate.reached()
        append(claim, 100, 300)
        gate.open()
        await listener.keeps(300)
        await claim.seal()

    assert SOUND[: 300 * WIDTH] == contents(DISK, folder)
    assert set() == disk.open


async def test_an_empty_stream_has_an_end(tmp_path, disk, folder):
    """Its receipt is on the disk, like any other."""
    async with opened(tmp_path, disk) as store:
        claim, _ = await new(store)

        async def made(_digest):
            return receipt()

        await claim.commit(Eos(units=0), made)

    assert folder.exists()


@pytest.mark.parametrize("theirs", [0, 100], ids=["no audio", "audio"])
async def test_a_stream_that_another_claim_has_begun(tmp_path, disk, folder, theirs):
    """The later one of two claims on a new stream is told so, and what is durable stays."""
    async with opened(tmp_path, disk) as store:
        claim, listener = await new(store)
        other = claimed(DISK, folder, hello()).writer
        if theirs:
            other.commit(chunks(1, 0, theirs))
        append(claim, 0, 300)
        await listener.until(lambda: listener.failures)
        await claim.seal()
        with pytest.raises(Fenced):
            await claim.discard()
        other.close()

    assert isinstance(listener.failures[0], Fenced)
    assert SOUND[: theirs * WIDTH] == contents(DISK, folder)


async def test_a_stream_that_cannot_begin(tmp_path, disk):
    """The connection ends with StorageFailed, and nothing was acknowledged."""
    async with opened(tmp_path, disk) as store:
        claim, listener = await new(store)
        disk.fail("write")
        append(claim, 0, 300)
        await listener.until(lambda: listener.failures)
        await claim.seal()

    assert [StorageFailed] == [type(each) for each in listener.failures]
    assert [] == listener.kept
    assert set() == disk.open


@pytest.mark.parametrize("call", ["write", "create"])
async def test_a_stream_begins_when_a_full_disk_has_room(tmp_path, disk, folder, monkeypatch, call):
    """Its chunks wait: the sender may have dropped them, if it has an ack that they came."""
    monkeypatch.setattr("receiver.stores.journal.claim.RETRY_S", 0.01)
    async with opened(tmp_path, disk) as store:
        claim, listener = await new(store)
        disk.fail(call, errno.ENOSPC)
        disk.fail(call, errno.ENOSPC, nth=2)
        append(claim, 0, 300)
        await listener.keeps(300)
        await claim.seal()

    assert [] == listener.failures
    assert SOUND[: 300 * WIDTH] == contents(DISK, folder)
    assert [(1, 0)] == names(DISK, folder)
    assert set() == disk.open


async def test_a_connection_that_is_lost_while_its_stream_begins(tmp_path, disk, folder):
    """What came becomes durable, and no file stays open."""
    async with opened(tmp_path, disk) as store:
        gate = Gate()
        disk.before("create", gate)
        claim, _ = await new(store)
        append(claim, 0, 100)
        sealing = asyncio.create_task(claim.seal())
        await gate.reached()
        gate.open()
        await sealing

    assert SOUND[: 100 * WIDTH] == contents(DISK, folder)
    assert set() == disk.open


async def test_running_finishes_journals_after_a_crash(tmp_path, disk, folder, monkeypatch):
    """The store finishes them at its start and periodically, even if a journal is damaged."""
    made = claimed(DISK, folder, hello()).writer
    made.commit(chunks(1, 0, FRAMES))
    made.commit([ending(made.epoch, receipt())])
    made.close()
    monkeypatch.setattr(receiver.stores.journal.janitor, "QUIET_S", -1)
    monkeypatch.setattr(receiver.stores.journal.store, "SWEEP_S", 0.005)
    (damaged := Layout(PosixDisk(), tmp_path).journal("0" * 32).folder).mkdir(parents=True)
    (damaged / "done.json").touch()
    with capture_logs() as logs:
        async with opened(tmp_path, disk) as store:
            running = asyncio.create_task(store.run())
            await until(lambda: sum(each["event"] == "journal_failed" for each in logs) >= 2)
            running.cancel()

    assert "recording_written" in [each["event"] for each in logs]
    assert State.COMMITTED is Journal(DISK, folder).done().state


async def test_a_young_complete_journal_is_looked_at_again(tmp_path, disk, folder, monkeypatch):
    """A receiver may have just died: the recording does not wait for the next sweep."""
    made = claimed(DISK, folder, hello()).writer
    made.commit(chunks(1, 0, FRAMES))
    made.commit([ending(made.epoch, receipt())])
    made.close()
    monkeypatch.setattr(receiver.stores.journal.janitor, "QUIET_S", 0.3)
    monkeypatch.setattr(receiver.stores.journal.store, "AGAIN_S", 0.4)
    async with opened(tmp_path, disk) as store:
        running = asyncio.create_task(store.run())
        await until(lambda: Journal(DISK, folder).done())
        running.cancel()

    assert State.COMMITTED is Journal(DISK, folder).done().state


async def test_closing_waits_for_work_under_way(tmp_path, disk):
    """A recording that was begun is finished; claims are refused."""
    async with opened(tmp_path, disk) as store:
        claim, _ = await begun(store)
        append(claim, 0, FRAMES)
        await committed(claim)
        store.close()
        with pytest.raises(RuntimeError, match="shutdown"):
            await begun(store, OTHER)


async def test_closing_with_audio_under_way(tmp_path, disk, folder, caplog):
    """Unacknowledged audio is not kept; no commit starts after the close."""
    async with opened(tmp_path, disk) as store:
        claim, _ = await begun(store)
        append(claim, 0, 100)
        store.close()
        append(claim, 100, 200)
        store.committer.flush_soon()
        await asyncio.sleep(receiver.stores.journal.committer.GROUP_S * 2)

    assert [] == caplog.records
    assert 0 == claim.kept


async def test_two_stores_share_a_folder(tmp_path, folder):
    """Each fences the other's claims, and neither removes the other's files."""
    async with opened(tmp_path, one := Roomy()) as here, opened(tmp_path, two := Roomy()) as there:
        at = 0
        for turn in range(4):
            claim, listener = await begun((here, there)[turn % 2])
            assert at == claim.offset
            append(claim, at, at + 100)
            at += 100
            await listener.keeps(at)
        append(claim, at, FRAMES)
        made = await committed(claim)

    assert receipt() == made
    assert [".json", ".wav"] == sorted(path.suffix for path in (tmp_path / "audio").iterdir())
    assert Part(1, 0).name not in [path.name for path in folder.iterdir()]
    assert one.calls.count("create") == two.calls.count("create") == 2


async def test_a_debugger_shows_how_far_things_are(tmp_path, disk):
    """A claim, its writer, its journal and the committer tell stream, epoch and position."""
    async with opened(tmp_path, disk) as store:
        claim, listener = await begun(store)
        append(claim, 0, 100)
        store.committer.flush_soon()
        await listener.keeps(100)
        shown = [repr(each) for each in (claim, claim._writer, claim._journal, store.committer)]
        await claim.seal()

    assert [
        f"<JournalClaim {STREAM} epoch 1, 100 kept, 0 entries wait>",
        f"<Writer {STREAM} epoch 1, 100 durable, open>",
        f"<Journal {STREAM}>",
        "<Committer idle, 0 streams with 0 bytes wait>",
    ] == shown
    assert repr(claim).endswith("0 entries wait, sealed>")
    assert repr(claim._writer).endswith("100 durable, closed>")


async def test_debug_events(tmp_path, disk):
    """Each claim, group, seal and recording is one event; chunks are not logged."""
    with capture_logs() as logs:
        async with opened(tmp_path, disk) as store:
            claim, listener = await begun(store)
            append(claim, 0, 100)
            store.committer.flush_soon()
            await listener.keeps(100)
            await claim.seal()
            claim, _ = await begun(store)
            append(claim, 100, FRAMES)
            await committed(claim)

    told = [
        {key: value for key, value in each.items() if key not in ("elapsed", "log_level")}
        for each in logs
        if each["log_level"] == "debug"
    ]
    first, rest = 2 * (32 + 50 * WIDTH), 10 * (32 + 50 * WIDTH)
    claimed_ = {"event": "stream_claimed", "stream": STREAM, "complete": False}

    assert claimed_ | {"epoch": 1, "offset": 0} == told[0]
    assert {"event": "group_committed", "streams": 1, "bytes": first, "failed": 0} == told[1]
    assert {"event": "claim_sealed", "stream": STREAM, "epoch": 1, "kept": 100} == told[2]
    assert claimed_ | {"epoch": 2, "offset": 100} == told[3]
    assert ["group_committed"] * (len(told) - 5) == [each["event"] for each in told[4:-1]]
    assert rest < sum(each.get("bytes", 0) for each in told[4:])
    assert "recording_started" == told[-1]["event"]
    assert (FRAMES, "wav") == (told[-1]["frames"], told[-1]["container"])
