"""Writing a journal: a commit is durable when it returns, and a failing disk is handled."""

import errno
import itertools
import os

import pytest

from receiver.stores.journal import PosixDisk
from receiver.stores.journal.disk import DiskFull
from receiver.stores.journal.journal import Journal
from receiver.stores.journal.reader import Part, Segment
from receiver.stores.journal.writer import BULK_BYTES, ending
from sonoduct.wire import Fenced, StorageFailed, decode_chunk, encode_chunk
from tests.support.faultydisk import FaultyDisk
from tests.support.journal import (
    SOUND,
    WIDTH,
    chunk,
    chunks,
    claimed,
    contents,
    hello,
    names,
    receipt,
    writer,
)

DISK = PosixDisk()
SMALL = 400
"""Bytes from which a segment is followed by another: two chunks, and some commits have three."""


@pytest.fixture
def disk():
    return FaultyDisk()


def played(frames):
    """Return the first *frames* frames of the sound."""
    return SOUND[: frames * WIDTH]


def persist(made, groups):
    """Commit *groups*, and repeat a commit on a full disk; return the number of repeats."""
    refused = 0
    for group in groups:
        while True:
            try:
                made.commit(group)
                break
            except DiskFull:
                refused += 1
    return refused


def groups(epoch=1, start=0, stop=300):
    """Return chunks of 25 frames, three to a commit."""
    made = chunks(epoch, start, stop, step=25)
    return [made[at : at + 3] for at in range(0, len(made), 3)]


def tail(folder):
    """Return the end of the last segment of *folder*."""
    return Journal(DISK, folder).last_segment(below=99).tail()


def test_a_commit_is_durable_when_it_returns(tmp_path, disk):
    """The sync comes after the write, and the look for a newer claim after the sync."""
    made = writer(disk, tmp_path)
    disk.calls.clear()
    made.commit(chunks(1, 0, 100))

    assert ["write", "sync", "exists", "linked"] == disk.calls
    assert 100 == made.durable
    assert played(100) == contents(DISK, tmp_path)


def test_opening_makes_the_segment_durable(tmp_path, disk):
    """The record, the segment's name and the folder's name are on disk before the answer."""
    synced = []
    for nth in (1, 2):
        disk.before("sync_folder", synced.append, nth)
    writer(disk, tmp_path)

    first = ["create", "write", "sync", "sync_folder", "sync_folder", "exists", "linked"]
    assert first == disk.calls[-7:]
    assert [tmp_path, tmp_path.parent] == synced


def test_segments_roll(tmp_path):
    """A long stream is in several parts, whatever the commits; the last one says where it ends."""
    made = writer(DISK, tmp_path, roll_bytes=SMALL)
    persist(made, groups())
    made.seal()
    chain = Journal(DISK, tmp_path).segments()

    assert played(300) == contents(DISK, tmp_path)
    assert [(1, number) for number in range(6)] == names(DISK, tmp_path)
    assert [50, 100, 150, 200, 250, 300] == [each.tail().offset for each in chain]
    assert [False] * 5 + [True] == [each.tail().closed for each in chain]


def test_a_segment_has_so_many_records(tmp_path):
    """Small chunks take longer to read than their bytes do, so their number counts as well."""
    made = writer(DISK, tmp_path, roll_records=4)
    made.commit(chunks(1, 0, 200, step=25))
    made.commit(chunks(1, 200, 300, step=25))
    chain = Journal(DISK, tmp_path).segments()

    assert [4, 4, 4, 4] == [len(list(each.records())) for each in chain]
    assert played(300) == contents(DISK, tmp_path)


def test_a_segment_is_short_enough_to_scan(tmp_path):
    """Whatever the chunks are, and however many a commit has, a claim reads 4 MiB at most."""
    made = writer(DISK, tmp_path)
    most, frame = 512 * 1024 // WIDTH, bytes(WIDTH)
    sizes = [1] * 5000 + [most] * 20 + [1] * 10 + [most // 5] * 40
    ends = list(itertools.accumulate(sizes))
    made.commit(
        [
            decode_chunk(encode_chunk(1, end - size, size, frame * size))
            for size, end in zip(sizes, ends, strict=True)
        ]
    )
    chain = Journal(DISK, tmp_path).segments()

    assert 5 < len(chain)
    assert 4 * 1024 * 1024 >= max(each.path.stat().st_size for each in chain)
    assert 4096 >= max(len(list(each.records())) for each in chain)
    assert ends[-1] * WIDTH == len(contents(DISK, tmp_path))


def test_a_commit_in_two_segments(tmp_path, disk):
    """Before the next segment says that it follows the first, the first is safe."""
    made = writer(disk, tmp_path, roll_bytes=SMALL)
    disk.calls.clear()
    made.commit(groups()[0])

    first = ["write", "create", "sync", "exists", "linked", "close"]
    second = ["write", "sync", "sync_folder", "write", "sync", "exists", "linked"]
    assert first + second == disk.calls


@pytest.mark.parametrize("stop", [100, 125], ids=["full", "within a commit"])
def test_a_stream_that_ended_before_the_next_segment(tmp_path, stop):
    """
    A writer that sleeps before its next segment may wake when the stream is over.

    Then no newer claim has a name any more. The loss of the writer's own segment fences it.
    """
    made = writer(DISK, tmp_path, roll_bytes=SMALL)
    for group in (chunks(1, 0, 75, step=25), chunks(1, 75, stop, step=25)):
        made.commit(group)
    newer = writer(DISK, tmp_path, epoch=2, base=stop)
    newer.close()
    Journal(DISK, tmp_path).remove_segments()

    with pytest.raises(Fenced):
        made.commit(chunks(1, stop, 300, step=25))


def test_room_for_a_later_segment(tmp_path, disk):
    """In bulk it is reserved at once, as far as a segment is used; a live stream needs it later."""
    made, asked = writer(disk, tmp_path, roll_bytes=BULK_BYTES), []
    bulk = bytes(BULK_BYTES)
    made.commit([chunk(1, 0, BULK_BYTES // WIDTH, bulk)])
    start = BULK_BYTES // WIDTH
    made.commit([chunk(1, start, start + 100, bulk * 2)])

    assert "reserve" not in disk.calls
    disk.before("reserve", lambda _, size: asked.append(size))
    made.commit(
        [chunk(1, start + 100, 3 * start, bulk * 3), chunk(1, 3 * start, 4 * start, bulk * 4)]
    )
    made.commit([chunk(1, 4 * start, 5 * start, bulk * 5)])

    assert [BULK_BYTES] == asked
    assert 5 * BULK_BYTES == len(contents(DISK, tmp_path))


def test_a_claim_within_a_commit(tmp_path, disk):
    """It has not counted the first half, so no segment follows that half and leaves a hole."""
    made, newer = writer(disk, tmp_path, roll_bytes=SMALL), []
    disk.before("write", lambda *_: newer.append(claimed(DISK, tmp_path, hello())))
    with pytest.raises(Fenced):
        made.commit(groups()[0])
    newer[0].writer.commit(chunks(2, 0, 100))

    assert 0 == newer[0].offset
    assert played(100) == contents(DISK, tmp_path)


def test_a_closed_segment_is_not_read(tmp_path, monkeypatch):
    """A claim finds the end of a closed segment in its last record."""
    made = writer(DISK, tmp_path)
    made.commit(chunks(1, 0, 100))
    made.seal()
    monkeypatch.delattr(Segment, "records")

    assert (100, True) == (tail(tmp_path).offset, tail(tmp_path).closed)
    assert 100 == claimed(DISK, tmp_path, hello()).offset


def test_a_segment_that_was_dropped_is_read(tmp_path):
    """It has no CLOSING, so its records are counted."""
    made = writer(DISK, tmp_path)
    made.commit(chunks(1, 0, 100))
    made.close()
    made.close()

    assert (100, False) == (tail(tmp_path).offset, tail(tmp_path).closed)


def test_nothing_follows_an_end(tmp_path):
    """Not even a CLOSING follows: readers look for the END at the end of the file."""
    made = writer(DISK, tmp_path)
    made.commit([*chunks(1, 0, 100), ending(1, receipt(played(100)))])
    made.seal()

    assert (100, True) == (tail(tmp_path).offset, tail(tmp_path).closed)
    assert receipt(played(100)) == tail(tmp_path).receipt


def test_closing_twice_does_nothing(tmp_path, disk):
    """The file is closed once, and no byte is written after that."""
    made = writer(disk, tmp_path)
    made.seal()
    made.seal()

    assert 1 == disk.calls.count("close")
    with pytest.raises(Fenced, match="the claim has ended"):
        made.commit(chunks(1, 0, 100))


def test_short_writes_are_completed(tmp_path, monkeypatch):
    """The kernel may take fewer bytes than offered, even one."""
    real, sizes = os.writev, [1, 31, 32, 33, 7, 1000]

    def reluctant(handle, buffers):
        size = sizes.pop() if sizes else 999
        return real(handle, [b"".join(buffers)[:size]])

    monkeypatch.setattr(os, "writev", reluctant)
    made = writer(DISK, tmp_path)
    persist(made, groups())

    assert played(300) == contents(DISK, tmp_path)
    assert [] == sizes


def test_more_buffers_than_the_kernel_takes_at_once(tmp_path):
    """A commit may have any number of chunks."""
    made = writer(DISK, tmp_path)
    made.commit(chunks(1, 0, 600, step=1) + chunks(1, 600, 600))
    more = [chunk(1, 600 + at, 601 + at, played(1) * 2000) for at in range(1000)]
    made.commit(more)

    assert played(600) + played(1) * 1000 == contents(DISK, tmp_path)


@pytest.mark.parametrize("size", [0, 1, 40, 132, 133, 300])
@pytest.mark.parametrize("nth", range(1, 14))
def test_a_full_disk_loses_and_doubles_nothing(tmp_path, disk, nth, size):
    """After a full disk at any write, and a part of it written, the same call works later."""
    made = writer(disk, tmp_path, roll_bytes=SMALL)
    disk.tear(size, errno.EDQUOT if nth % 2 else errno.ENOSPC, nth)
    refused = persist(made, groups())
    made.seal()

    assert 1 == refused
    assert 300 == made.durable
    assert played(300) == contents(DISK, tmp_path)
    assert (300, True) == (tail(tmp_path).offset, tail(tmp_path).closed)


def test_a_disk_that_is_full_again_and_again(tmp_path, disk):
    """Each attempt makes some progress."""
    made = writer(disk, tmp_path, roll_bytes=SMALL)
    for nth in range(1, 40):
        disk.tear(nth % 60, nth=nth)
    refused = persist(made, groups())

    assert 39 == refused
    assert played(300) == contents(DISK, tmp_path)


def test_a_full_disk_that_has_no_file_for_the_next_part(tmp_path, disk):
    """The next part cannot be created; the same commit works later."""
    made = writer(disk, tmp_path, roll_bytes=SMALL)
    disk.fail("create", errno.ENOSPC)
    refused = persist(made, groups())

    assert 1 == refused
    assert played(300) == contents(DISK, tmp_path)
    assert [(1, number) for number in range(6)] == names(DISK, tmp_path)


def test_closing_on_a_full_disk(tmp_path, disk):
    """The segment stays unchanged, and the next claim reads it."""
    made = writer(disk, tmp_path)
    made.commit(chunks(1, 0, 100))
    disk.tear(20)
    with pytest.raises(DiskFull):
        made.seal()

    assert 1 == disk.calls.count("close")
    assert (100, False) == (tail(tmp_path).offset, tail(tmp_path).closed)


def test_closing_behind_half_a_commit(tmp_path, disk):
    """The disk is full in the second segment: no CLOSING denies the half that counts."""
    made = writer(disk, tmp_path, roll_bytes=SMALL)
    disk.tear(0, nth=3)
    with pytest.raises(DiskFull):
        made.commit(groups()[0])
    made.seal()

    assert 0 == made.durable
    assert (50, False) == (tail(tmp_path).offset, tail(tmp_path).closed)
    assert 50 == claimed(DISK, tmp_path, hello()).offset


@pytest.mark.parametrize("size", [0, 20, 132, 150])
def test_giving_up_after_a_full_disk(tmp_path, disk, size):
    """Whole uncommitted chunks may be there; nothing follows them."""
    made = writer(disk, tmp_path)
    made.commit(chunks(1, 0, 100))
    disk.tear(size)
    with pytest.raises(DiskFull, match=f"{tmp_path.name}: No space left on device"):
        made.commit(chunks(1, 100, 200, step=25))
    before = (tmp_path / Part(1, 0).name).read_bytes()
    made.seal()
    after = (tmp_path / Part(1, 0).name).read_bytes()
    granted = claimed(DISK, tmp_path, hello())
    granted.writer.commit([chunk(2, granted.offset, 200)])

    assert after == before if size else after.startswith(before)
    assert granted.offset in (100, 125)
    assert 100 == made.durable
    assert played(200) == contents(DISK, tmp_path)


@pytest.mark.parametrize("again", [False, True])
@pytest.mark.parametrize("size", [132, 150])
def test_a_claim_while_a_disk_is_full(tmp_path, disk, size, again):
    """A claim counts all written bytes, so none of them may be removed."""
    made = writer(disk, tmp_path)
    made.commit(chunks(1, 0, 100))
    disk.tear(size)
    with pytest.raises(DiskFull):
        made.commit(chunks(1, 100, 200, step=25))
    granted = claimed(DISK, tmp_path, hello())
    if again:
        with pytest.raises(Fenced):
            made.commit(chunks(1, 100, 200, step=25))
    else:
        made.seal()
    granted.writer.commit([chunk(2, granted.offset, 200)])

    assert 125 == granted.offset
    assert played(200) == contents(DISK, tmp_path)


@pytest.mark.parametrize("code", [errno.EIO, errno.ENOSPC, errno.EDQUOT])
@pytest.mark.parametrize("nth", range(1, 14))
def test_a_sync_that_fails_is_final(tmp_path, disk, nth, code):
    """Nothing more is acknowledged or synced; a claim counts the audio on the disk."""
    made = writer(disk, tmp_path, roll_bytes=SMALL)
    disk.fail("sync", code, nth)
    with pytest.raises(StorageFailed, match=os.strerror(code)) as raised:
        persist(made, groups())
    before, durable = len(disk.calls), made.durable

    assert StorageFailed is type(raised.value)
    for call in (
        lambda: made.commit(groups()[0]),
        lambda: made.commit([ending(made.epoch, receipt())]),
    ):
        with pytest.raises(StorageFailed, match=os.strerror(code)):
            call()
    made.seal()

    assert before == len(disk.calls)
    assert (durable, set()) == (made.durable, disk.open)
    granted = claimed(DISK, tmp_path, hello())
    persist(granted.writer, groups(2, granted.offset))
    assert granted.offset in range(durable, durable + 76, 25)
    assert played(300) == contents(DISK, tmp_path)


@pytest.mark.parametrize("method", ["write", "sync_folder", "exists", "linked", "create"])
def test_any_other_error_is_final(tmp_path, disk, method):
    """Acknowledged audio stays, and the stream continues with another claim."""
    made = writer(disk, tmp_path, roll_bytes=SMALL)
    made.commit(groups()[0])
    disk.fail(method)
    with pytest.raises(StorageFailed, match="Input/output error") as raised:
        persist(made, groups()[1:])
    with pytest.raises(StorageFailed, match="Input/output error"):
        made.commit(groups()[1])

    assert StorageFailed is type(raised.value)
    assert set() == disk.open
    granted = claimed(DISK, tmp_path, hello())
    persist(granted.writer, groups(2, granted.offset))
    assert made.durable <= granted.offset
    assert played(300) == contents(DISK, tmp_path)


def test_a_torn_write_with_an_error_is_not_synced(tmp_path, disk):
    """The torn write is not removed either: a newer claim may have read it."""
    made = writer(disk, tmp_path)
    made.commit(chunks(1, 0, 100))
    size = (tmp_path / Part(1, 0).name).stat().st_size
    disk.calls.clear()
    disk.tear(180, errno.EIO)
    with pytest.raises(StorageFailed):
        made.commit(chunks(1, 100, 200))

    assert size + 180 == (tmp_path / Part(1, 0).name).stat().st_size
    assert "sync" not in disk.calls


def test_a_claim_while_a_sync_fails(tmp_path, disk):
    """A newer claim has synced and counted the audio, so it is not removed."""
    made = writer(disk, tmp_path)
    granted = []

    def fail(handle):
        granted.append(claimed(DISK, tmp_path, hello()))
        raise OSError(errno.EIO, "failed")

    disk.before("sync", fail)
    with pytest.raises(StorageFailed):
        made.commit(chunks(1, 0, 100))
    granted[0].writer.commit(chunks(2, 100, 200))

    assert 100 == granted[0].offset
    assert played(200) == contents(DISK, tmp_path)


@pytest.mark.parametrize("nth", [1, 2])
def test_an_error_of_close_does_no_harm(tmp_path, disk, nth):
    """The file is closed, and its data was synced before."""
    made = writer(disk, tmp_path, roll_bytes=SMALL)
    closed = []

    def close(handle):
        closed.append(handle)
        os.close(handle)
        raise OSError(errno.EIO, "failed")

    disk.before("close", close, nth)
    persist(made, groups())
    made.seal()

    assert 1 == len(closed)
    assert played(300) == contents(DISK, tmp_path)


def test_a_newer_claim_fences(tmp_path):
    """Nothing more is acknowledged, although the disk works."""
    made = writer(DISK, tmp_path)
    made.commit(chunks(1, 0, 100))
    granted = claimed(DISK, tmp_path, hello())
    for call in (
        lambda: made.commit(chunks(1, 100, 200)),
        lambda: made.commit([ending(made.epoch, receipt(played(100)))]),
    ):
        with pytest.raises(Fenced, match="a newer connection has claimed the stream"):
            call()

    assert (2, 100, 100) == (granted.epoch, granted.offset, made.durable)
    assert played(100) == contents(DISK, tmp_path)


def test_the_fence_alone_is_enough(tmp_path):
    """A claim with nothing but its empty file ends the older one."""
    made = writer(DISK, tmp_path)
    (tmp_path / Part(2, 0).name).touch()

    with pytest.raises(Fenced):
        made.commit(chunks(1, 0, 100))


def test_a_newer_part_is_no_newer_claim(tmp_path):
    """Only part 0 of an epoch is a fence."""
    made = writer(DISK, tmp_path)
    (tmp_path / Part(2, 1).name).touch()
    made.commit(chunks(1, 0, 100))

    assert 100 == made.durable


def test_a_removed_segment_fences(tmp_path):
    """If another receiver removed the segment, the stream is complete or given up."""
    made = writer(DISK, tmp_path)
    (tmp_path / Part(1, 0).name).unlink()

    with pytest.raises(Fenced):
        made.commit(chunks(1, 0, 100))


def test_a_segment_that_exists_is_not_written_to(tmp_path):
    """If two writers create a segment, one gets it."""
    writer(DISK, tmp_path)

    with pytest.raises(FileExistsError):
        writer(DISK, tmp_path)
