"""Journals without a connection: the janitor finishes them, expires them, and forgets them."""

import errno
import itertools
import os
import time

import msgspec
import pytest
from structlog.testing import capture_logs

from receiver.stores.journal import Layout, PosixDisk, RecordingOptions, Retention
from receiver.stores.journal.disk import Room
from receiver.stores.journal.janitor import RECEIPT_BYTES, Janitor
from receiver.stores.journal.journal import Done, Journal, State
from receiver.stores.journal.reader import Part
from receiver.stores.journal.writer import ending
from sonoduct.wire import Fenced, Gone, StorageFailed
from tests.support.faultydisk import FaultyDisk, HastyDisk
from tests.support.journal import (
    FRAMES,
    SOUND,
    STREAM,
    WIDTH,
    chunks,
    claimed,
    contents,
    end_stream,
    hello,
    names,
    receipt,
)

DISK = PosixDisk()
EXPIRY_S = 3600
MEMORY_S = 7200
RECORDINGS = RecordingOptions("wav")
RETENTION = Retention(EXPIRY_S, MEMORY_S)


@pytest.fixture
def layout(tmp_path):
    made = Layout(PosixDisk(), tmp_path)
    DISK.make_folder(made.audio)
    return made


@pytest.fixture
def folder(layout):
    return layout.journal(STREAM).folder


def events(logs):
    """Return the events that are logged by default."""
    return [each["event"] for each in logs if each["log_level"] != "debug"]


@pytest.fixture
def janitor(layout):
    return Janitor(layout, RECORDINGS, RETENTION)


def begun(folder, stop=FRAMES):
    """Write *stop* frames of the stream; return the claim, which is still open."""
    granted = claimed(HastyDisk(), folder, hello())
    granted.writer.commit(chunks(1, 0, stop))
    return granted


def ended(folder, **changed):
    """Write all of the stream, and its END."""
    made = begun(folder).writer
    made.commit([ending(made.epoch, msgspec.structs.replace(receipt(), **changed))])
    made.close()


def age(path, seconds):
    """Set the times of *path* and its content back by the given seconds."""
    for each in path.iterdir() if path.is_dir() else [path]:
        os.utime(each, (time.time() - seconds,) * 2)


def audio(layout):
    """Return the suffixes of the files in audio."""
    return sorted(path.suffix for path in layout.audio.iterdir())


def test_a_complete_journal_is_finished_after_a_crash(layout, folder, janitor):
    """The janitor makes the recording when no other receiver can be making it."""
    ended(folder)
    janitor.sweep()
    before = audio(layout)
    age(folder, 11)
    janitor.sweep()

    assert ([], [".json", ".wav"]) == (before, audio(layout))
    assert State.COMMITTED is Journal(DISK, folder).done().state


def test_finishing_is_logged(folder, janitor):
    """A finished stream has one line in the log, an open one has none."""
    made = begun(folder).writer
    with capture_logs() as logs:
        janitor.finish(Journal(DISK, folder))
        made.commit([ending(made.epoch, receipt())])
        janitor.finish(Journal(DISK, folder))
        janitor.finish(Journal(DISK, folder))

    assert ["recording_written"] == events(logs)
    assert str(logs[-1]["path"]).endswith(f"stream-{STREAM[:8]}.wav")


def test_a_recording_that_fails_is_tried_again(layout, folder):
    """The janitor tries again until the disk works."""
    ended(folder)
    disk = FaultyDisk()
    janitor = Janitor(Layout(disk, layout.root), RECORDINGS, RETENTION)
    disk.fail("sync_file", errno.ENOSPC)
    with capture_logs() as logs:
        janitor.finish(Journal(disk, folder))
        janitor.finish(Journal(disk, folder))

    assert ["recording_failed", "recording_written"] == events(logs)
    assert f"{STREAM}: No space left on device" in [each.get("reason") for each in logs]
    assert [".json", ".wav"] == audio(layout)


def test_an_open_stream_expires(folder, janitor):
    """It expires after the configured time, and not before; a later claim is told so."""
    begun(folder).writer.close()
    age(folder, EXPIRY_S - 5)
    janitor.sweep()
    before = contents(DISK, folder)
    age(folder, EXPIRY_S + 5)
    janitor.sweep()

    assert SOUND == before
    assert (State.EXPIRED, []) == (Journal(DISK, folder).done().state, names(DISK, folder))
    with pytest.raises(Gone, match="stream was expired"):
        claimed(DISK, folder, hello())


def test_nothing_expires_before_its_sender_could_come_back(layout, folder):
    """After a weekend without a receiver, the time starts again."""
    begun(folder).writer.close()
    age(folder, EXPIRY_S + 60)
    Janitor(layout, RECORDINGS, RETENTION, lambda: EXPIRY_S - 5).sweep()
    before = contents(DISK, folder)
    Janitor(layout, RECORDINGS, RETENTION, lambda: EXPIRY_S + 5).sweep()

    assert SOUND == before
    assert State.EXPIRED == Journal(DISK, folder).done().state


def test_foreign_things_in_a_store_are_left_alone(layout, folder, janitor):
    """The janitor still takes care of the journals."""
    stranger = layout.root / "streams" / ".DS_Store"
    begun(folder).writer.close()
    stranger.write_bytes(b"?")
    age(folder, EXPIRY_S + 5)
    janitor.sweep()

    assert b"?" == stranger.read_bytes()
    assert State.EXPIRED == Journal(DISK, folder).done().state


def test_expiry_fences_a_receiver_that_is_paused(folder, janitor):
    """When that receiver resumes, it acknowledges nothing."""
    made = begun(folder, 100).writer
    age(folder, EXPIRY_S + 5)
    janitor.sweep()

    with pytest.raises(Fenced):
        made.commit(chunks(1, 100, 200))


def test_a_complete_stream_never_expires(layout, folder, janitor):
    """It has a receipt; the operator must mend the fault that prevents its recording."""
    ended(folder, digest="0" * 32)
    age(folder, EXPIRY_S + 5)
    with capture_logs() as logs:
        janitor.sweep()

    assert ["recording_failed"] == events(logs)
    assert [(1, 0)] == names(DISK, folder)
    assert (SOUND, []) == (contents(DISK, folder), audio(layout))
    assert claimed(DISK, folder, hello()).receipt is not None


def test_a_complete_stream_that_is_old_is_recorded(layout, folder, janitor):
    """A complete stream is recorded, however long no receiver ran."""
    ended(folder)
    age(folder, EXPIRY_S + 5)
    janitor.sweep()

    assert State.COMMITTED is Journal(DISK, folder).done().state
    assert [".json", ".wav"] == audio(layout)


@pytest.mark.parametrize("nth", range(1, 25))
def test_a_sender_that_comes_back_while_its_stream_expires(layout, folder, nth):
    """The sender gets the whole stream, or learns at once that it is gone."""
    begun(folder, 100).writer.close()
    age(folder, EXPIRY_S + 5)
    disk, back = FaultyDisk(), []

    def resume(*_):
        try:
            back.append(claimed(DISK, folder, hello()))
        except Gone:
            back.append(None)

    disk.before("any", resume, nth)
    Janitor(Layout(disk, layout.root), RECORDINGS, RETENTION).sweep()
    if not back:
        return
    (granted,) = back
    if granted is None:
        assert State.EXPIRED is Journal(DISK, folder).done().state
        return
    try:
        granted.writer.commit(chunks(granted.epoch, 100, 200))
    except Fenced:
        assert State.EXPIRED is Journal(DISK, folder).done().state
    else:
        assert 100 == granted.offset
        assert SOUND[: 200 * WIDTH] == contents(DISK, folder)


def test_a_receipt_is_forgotten(folder, janitor):
    """The janitor forgets a receipt after the configured time; the recording stays."""
    ended(folder)
    janitor.finish(Journal(DISK, folder))
    age(folder, MEMORY_S - 5)
    janitor.sweep()
    before = Journal(DISK, folder).done()
    age(folder, MEMORY_S + 5)
    janitor.sweep()

    assert receipt() == before.receipt
    assert not folder.exists()


def test_forgetting_leaves_recordings(layout, folder, janitor):
    """Recordings belong to the operator."""
    ended(folder)
    janitor.finish(Journal(DISK, folder))
    for path in (folder, layout.audio):
        age(path, 10 * MEMORY_S)
    janitor.sweep()

    assert [".json", ".wav"] == audio(layout)


def test_segments_that_a_crash_left_behind_a_receipt(folder, janitor):
    """The janitor removes them long before it forgets the receipt."""
    ended(folder)
    left = (folder / Part(1, 0).name).read_bytes()
    janitor.finish(Journal(DISK, folder))
    (folder / Part(1, 0).name).write_bytes(left)
    janitor.sweep()

    assert [] == names(DISK, folder)
    assert receipt() == Journal(DISK, folder).done().receipt


def test_drafts_that_a_crash_left(layout, folder, janitor):
    """The janitor removes drafts after hours without a write, and not before."""
    ended(folder)
    janitor.finish(Journal(DISK, folder))
    drafts = [layout.audio / ".a.wav.0123", folder / ".done.json.0123"]
    for each in drafts:
        each.touch()
    janitor.sweep()
    before = [each.exists() for each in drafts]
    for each in drafts:
        age(each, 7 * 3600)
    janitor.sweep()

    assert ([True] * 2, [False] * 2) == (before, [each.exists() for each in drafts])
    assert [".json", ".wav"] == audio(layout)


def test_a_folder_without_anything_is_removed(folder, janitor):
    """A claim that dies at once leaves an empty folder."""
    DISK.make_folder(folder)
    janitor.sweep()

    assert not folder.exists()


def test_a_cancelled_stream_is_gone(folder, janitor):
    """Its audio is removed, and a mark of the cancel stays."""
    made = begun(folder)
    janitor.cancel(Journal(DISK, folder), made.epoch)

    assert (State.CANCELLED, []) == (Journal(DISK, folder).done().state, names(DISK, folder))
    with pytest.raises(Fenced):
        made.writer.commit(chunks(1, 0, 100))
    with pytest.raises(Gone, match="stream was cancelled"):
        claimed(DISK, folder, hello())


def test_a_fenced_connection_cancels_nothing(folder, janitor):
    """The stream belongs to the newer connection."""
    old = begun(folder, 100)
    new = claimed(DISK, folder, hello("another", ack="durable"), takeover_s=0)
    with pytest.raises(Fenced):
        janitor.cancel(Journal(DISK, folder), old.epoch)
    new.writer.commit(chunks(2, 100, 200))

    assert SOUND[: 200 * WIDTH] == contents(DISK, folder)


@pytest.mark.parametrize("call", ["names", "remove"])
def test_giving_a_stream_up_may_end_in_the_middle(layout, folder, call):
    """If a newer claim comes before done.json, that claim and all of its audio count."""
    old = begun(folder, 100)
    disk, made = FaultyDisk(), []

    def go_on(*_):
        new = claimed(DISK, folder, hello()).writer
        new.commit(chunks(3, 100, 200))
        made.append(new)
        disk.fail(call)

    disk.before("replace", go_on)
    with pytest.raises(StorageFailed):
        Janitor(Layout(disk, layout.root), RECORDINGS, RETENTION).cancel(
            Journal(disk, folder), old.epoch
        )
    Janitor(layout, RECORDINGS, RETENTION).sweep()
    made[0].commit(chunks(3, 200, 300))
    again = claimed(DISK, folder, hello())

    assert (layout.journal(STREAM).folder / "done.json").exists()
    assert 300 == again.offset
    assert SOUND[: 300 * WIDTH] == contents(DISK, folder)


def test_a_late_janitor_removes_no_later_stream(layout, folder):
    """Meanwhile another janitor has forgotten the stream, and its sender has sent it again."""
    ended(folder)
    Janitor(layout, RECORDINGS, RETENTION).finish(Journal(DISK, folder))
    age(folder, 2 * MEMORY_S)
    disk = FaultyDisk()

    def go_on(*_):
        Janitor(layout, RECORDINGS, RETENTION).sweep()
        claimed(DISK, folder, hello()).writer.commit(chunks(1, 0, 100))

    disk.before("lock", go_on)
    Janitor(Layout(disk, layout.root), RECORDINGS, RETENTION).sweep()

    assert SOUND[: 100 * WIDTH] == contents(DISK, folder)


def test_other_receivers_wait_for_a_janitor_that_gives_up(layout, folder):
    """No other one ends the stream meanwhile, so a new one cannot start below that epoch."""
    old = begun(folder, 100)
    disk, seen = FaultyDisk(), []

    def look(*_):
        age(folder, 2 * MEMORY_S)
        other = Janitor(layout, RECORDINGS, RETENTION)
        other.sweep()
        with pytest.raises(Fenced):
            other.cancel(Journal(DISK, folder), old.epoch + 1)
        seen.extend(path.name for path in folder.iterdir())

    disk.before("replace", look)
    Janitor(Layout(disk, layout.root), RECORDINGS, RETENTION).cancel(
        Journal(disk, folder), old.epoch
    )

    assert [Part(1, 0).name, Part(2, 0).name] == sorted(seen)
    assert State.CANCELLED is Journal(DISK, folder).done().state


def test_a_stream_is_over_before_its_segments_go(layout, folder):
    """The folder is synced first: after a crash, the end might not be on the disk."""
    ended(folder)
    Janitor(layout, RECORDINGS, RETENTION).finish(Journal(DISK, folder))
    (folder / Part(9, 0).name).touch()
    disk = FaultyDisk()
    Janitor(Layout(disk, layout.root), RECORDINGS, RETENTION).sweep()
    calls = [each for each in disk.calls if each in ("sync_folder", "remove")]

    assert ["sync_folder", "remove"] == calls


@pytest.mark.parametrize("finished", [False, True])
def test_a_fenced_connection_cancels_no_complete_stream(layout, folder, janitor, finished):
    """Its receipt is given again, and its recording is made."""
    old = begun(folder, 100)
    new = claimed(DISK, folder, hello()).writer
    new.commit(chunks(2, 100, FRAMES))
    new.commit([ending(new.epoch, receipt())])
    if finished:
        janitor.finish(Journal(DISK, folder))
    with pytest.raises(Fenced):
        janitor.cancel(Journal(DISK, folder), old.epoch)
    janitor.finish(Journal(DISK, folder))

    assert receipt() == claimed(DISK, folder, hello()).receipt
    assert [".json", ".wav"] == audio(layout)


def test_cancelling_on_a_disk_that_fails(layout, folder):
    """At any step, the error is the storage's, and a new claim can cancel again."""
    for nth in itertools.count(1):
        granted = claimed(DISK, folder, hello())
        disk = FaultyDisk()
        disk.fail("any", nth=nth)
        janitor = Janitor(Layout(disk, layout.root), RECORDINGS, RETENTION)
        try:
            janitor.cancel(Journal(disk, folder), granted.epoch)
        except StorageFailed as exc:
            assert "Input/output error" in str(exc)
        if Journal(DISK, folder).done() is not None:
            break
        granted.writer.close()

    assert nth > 5
    assert State.CANCELLED is Journal(DISK, folder).done().state


@pytest.mark.parametrize("looks", [1, 3])
def test_a_folder_that_was_just_made_may_be_looked_at(layout, folder, janitor, looks):
    """The janitor removes the empty folder, and the claim makes it again."""

    class Watched(PosixDisk):
        """A disk on which a janitor runs between the folder and the first segment."""

        def make_folder(self, path):
            super().make_folder(path)
            nonlocal looks
            if looks and path == folder:
                looks -= 1
                janitor.sweep()

    granted = claimed(Watched(), folder, hello())
    granted.writer.commit(chunks(1, 0, FRAMES))

    assert (1, 0) == (granted.epoch, granted.offset)
    assert SOUND == contents(DISK, folder)


def test_one_damaged_journal_does_not_keep_others_waiting(layout, janitor):
    """The log names it, and the janitor continues with the others."""
    bad, good = "0" * 32, "f" * 32
    DISK.make_folder(layout.journal(bad).folder)
    (layout.journal(bad).folder / "done.json").write_text("{")
    end_stream(
        Journal(DISK, _made(layout.journal(good).folder)), Done(state=State.EXPIRED, epoch=1)
    )
    age(layout.journal(good).folder, MEMORY_S + 5)
    with capture_logs() as logs:
        janitor.sweep()

    assert [("journal_failed", bad)] == [(each["event"], each["stream"]) for each in logs]
    assert not layout.journal(good).folder.exists()


@pytest.mark.parametrize("state", ["open", "complete", "finished", "empty"])
def test_any_call_may_fail(tmp_path, state):
    """The janitor logs it and continues; the next sweep finishes the work."""
    for nth in itertools.count(1):
        layout = Layout(PosixDisk(), tmp_path / str(nth))
        folder = layout.journal(STREAM).folder
        DISK.make_folder(layout.audio)
        if state == "open":
            begun(folder).writer.close()
        elif state == "empty":
            DISK.make_folder(folder)
        else:
            ended(folder)
        if state == "finished":
            Janitor(layout, RECORDINGS, RETENTION).finish(Journal(DISK, folder))
        if state != "empty":
            age(folder, 2 * MEMORY_S)
        disk = FaultyDisk()
        disk.fail("any", nth=nth)
        with capture_logs() as logs:
            Janitor(Layout(disk, layout.root), RECORDINGS, RETENTION).sweep()
        count = len(disk.calls)
        quiet = ("remove", "close", "sizes")  # the last one only measures
        assert nth > count or events(logs) or disk.calls[nth - 1] in quiet, disk.calls
        for _ in range(3):
            age(folder, 2 * MEMORY_S) if folder.exists() else None
            Janitor(layout, RECORDINGS, RETENTION).sweep()

        assert not folder.exists()
        kept = [".json", ".wav"] if state in ("complete", "finished") else []
        assert kept == [suffix for suffix in audio(layout) if suffix in (".json", ".wav")]
        if nth > count:
            break


def test_a_store_that_cannot_be_read_is_logged(tmp_path):
    """The janitor survives any error of the disk."""
    layout, disk = Layout(PosixDisk(), tmp_path), FaultyDisk()
    disk.fail("names")
    with capture_logs() as logs:
        Janitor(Layout(disk, layout.root), RECORDINGS, RETENTION).sweep()

    assert ["store_failed"] == events(logs)


def _made(folder):
    DISK.make_folder(folder)
    return folder


def test_a_complete_journal_whose_opening_is_damaged_stays(layout, folder, janitor):
    """The janitor neither removes it as abandoned nor finishes it without its end."""
    ended(folder)
    path = folder / Journal(DISK, folder).parts()[-1].name
    data = bytearray(path.read_bytes())
    data[40] ^= 1
    path.write_bytes(data)
    age(path, 10**6)
    with capture_logs() as logs:
        janitor.sweep()

    assert bytes(data) == path.read_bytes()
    assert any("no record after a bad one" in each.get("reason", "") for each in logs)


def sweeping(layout):
    """Return a janitor, and the disk that counts its calls."""
    disk = FaultyDisk()
    return Janitor(Layout(disk, layout.root), RECORDINGS, RETENTION), disk


def opened(disk):
    """Return the calls with which *disk* looked into journals since the last time."""
    seen = [each for each in disk.calls if each in ("read", "lock", "idle")]
    disk.calls.clear()
    return seen


def test_a_stream_that_is_over_is_opened_once(layout, folder, janitor):
    """Later sweeps look at the date of its end from outside, until it is due."""
    ended(folder)
    janitor.finish(Journal(DISK, folder))
    age(folder, 60)
    janitor, disk = sweeping(layout)
    janitor.sweep()
    first = opened(disk)
    for _ in range(3):
        janitor.sweep()
    later = opened(disk)
    age(folder, MEMORY_S + 5)
    janitor.sweep()

    assert ("read", []) == (first[0], later)
    assert not folder.exists()


def test_a_stream_that_ends_between_sweeps_is_opened(layout, folder):
    """Its receiver may have died before it removed the segments."""
    janitor, _ = sweeping(layout)
    janitor.sweep()
    ended(folder)
    left = (folder / Part(1, 0).name).read_bytes()
    janitor.finish(Journal(DISK, folder))
    (folder / Part(1, 0).name).write_bytes(left)
    janitor.sweep()

    assert [] == names(DISK, folder)


def test_an_open_stream_that_has_outlived_its_end(layout, folder, janitor):
    """Every look visits it: its receiver may complete it, and die before the recording."""
    made = begun(folder, 200).writer
    Journal(DISK, folder).write_done(Done(state=State.EXPIRED, epoch=0))
    age(folder, 60)
    janitor.sweep()
    made.commit(chunks(1, 200, FRAMES))
    made.commit([ending(made.epoch, receipt())])
    made.close()
    age(folder, 60)
    janitor.sweep()

    assert [".json", ".wav"] == audio(layout)


def test_an_end_as_old_as_the_last_look_is_opened(layout, folder):
    """It may have come after the look: the clocks of files are coarse."""
    janitor, disk = sweeping(layout)
    ended(folder)
    janitor.finish(Journal(DISK, folder))
    age(folder, 60)
    janitor.sweep()
    opened(disk)
    age(folder, 1)
    janitor.sweep()

    assert "read" in opened(disk)


@pytest.mark.parametrize("trouble", ["lock", "remove", "names"])
def test_a_stream_that_could_not_be_tidied_is_opened_again(layout, folder, trouble):
    """Another receiver holds its lock, or the disk refuses: the next sweep tries again."""
    ended(folder)
    janitor, disk = sweeping(layout)
    janitor.finish(Journal(DISK, folder))
    (folder / Part(9, 0).name).touch()
    age(folder, 60)
    if trouble == "lock":
        with DISK.lock(folder):
            janitor.sweep()
    else:
        disk.fail(trouble, nth=4 if trouble == "names" else 1)
        with capture_logs() as logs:
            janitor.sweep()
        assert ["journal_failed"] == events(logs)
    before = names(DISK, folder)
    janitor.sweep()

    assert ([(9, 0)], []) == (before, names(DISK, folder))


def test_a_damaged_end_is_logged_by_every_sweep(layout, folder):
    """A person has to mend it, however long ago it was damaged."""
    DISK.make_folder(folder)
    (folder / "done.json").write_text("{" * 300)
    age(folder, 60)
    janitor, _ = sweeping(layout)
    with capture_logs() as logs:
        for _ in range(3):
            janitor.sweep()

    assert ["journal_failed"] * 3 == events(logs)


def test_a_cancel_is_forgotten_as_soon_as_an_expiry(layout, folder):
    """Only receipts are remembered longer, also if an earlier sweep has seen the stream."""
    made = begun(folder)
    janitor, _ = sweeping(layout)
    janitor.cancel(Journal(DISK, folder), made.epoch)
    made.writer.close()
    for seconds in (60, EXPIRY_S - 5, EXPIRY_S + 5):
        before = folder.exists()
        age(folder, seconds)
        janitor.sweep()

    assert (True, False) == (before, folder.exists())


def test_a_long_receipt_and_a_long_cancel_differ_in_size(folder):
    """The size of done.json says whether it holds a receipt."""
    most = msgspec.json.encode(Done(state=State.CANCELLED, epoch=2**64 - 1))
    least = msgspec.json.encode(
        Done(state=State.COMMITTED, epoch=1, receipt=receipt(b""), recording="audio/s-5eed5eed.wav")
    )

    assert len(most) < RECEIPT_BYTES < len(least)


def test_a_sweep_in_parts(layout):
    """Each part continues where the last one ended, and the round comes to every journal."""
    streams = [f"{number:02x}" * 16 for number in range(0, 250, 50)]
    for each in streams:
        DISK.make_folder(layout.journal(each).folder)
    janitor, left, over = Janitor(layout, RECORDINGS, RETENTION), [], []
    for _ in streams:
        over.append(janitor.sweep(0).over)
        left.append(len(list(layout.journals())))

    assert [4, 3, 2, 1, 0] == left
    assert [False] * 4 + [True] == over


def complete(layout, stream):
    """Write a whole stream with an id of its own; return its journal."""
    journal = layout.journal(stream)
    made = claimed(HastyDisk(), journal.folder, hello(stream=stream)).writer
    made.commit([*chunks(1, 0, FRAMES), ending(made.epoch, receipt(stream=stream))])
    made.close()
    return journal


def test_one_journal_that_cannot_be_measured(layout):
    """A folder whose files cannot be listed keeps no other journal on its shelf waiting."""

    class Unreadable(PosixDisk):
        """Cannot list the files of one folder."""

        def sizes(self, folder):
            if folder.name == bad:
                raise OSError(errno.EIO, "Input/output error")
            return super().sizes(folder)

    bad, good = "00" * 16, "00" + "ff" * 15
    for stream in (bad, good):
        age(complete(layout, stream).folder, 60)
    janitor = Janitor(Layout(Unreadable(), layout.root), RECORDINGS, RETENTION)
    with capture_logs() as logs:
        janitor.sweep()

    assert "store_failed" not in events(logs)
    assert 2 == events(logs).count("recording_written")
    assert (2, 0) == (janitor.written, len(janitor.waiting))


def test_recordings_that_wait_are_counted(layout, monkeypatch):
    """One that failed here waits until it is made, by this receiver or by another one."""
    first, second = "00" * 16, "01" * 16
    here, there = (Janitor(layout, RECORDINGS, RETENTION) for _ in range(2))
    journals = [complete(layout, stream) for stream in (first, second)]
    here.waiting.update(dict.fromkeys(journals, time.monotonic()))
    with monkeypatch.context() as broken:
        broken.setattr(PosixDisk, "free", lambda *_: 0)
        here.finish(*journals)
    failed = (here.failed, len(here.waiting))
    there.finish(journals[0])
    here.sweep()
    after_one = set(here.waiting)
    here.finish(journals[1])

    assert (2, 2) == failed
    assert {journals[1]} == after_one
    assert (1, {}) == (here.written, here.waiting)


class Small(PosixDisk):
    """A disk of a size that the test chooses."""

    def __init__(self, total_bytes, total_inodes):
        self._room = Room(total_bytes, total_inodes, total_inodes)

    def room(self, folder):
        return self._room


def left(tmp_path, count, idle):
    """Make *count* streams whose senders have left, *idle* seconds ago and more."""
    layout = Layout(PosixDisk(), tmp_path)
    layout.prepare(0)
    streams = [f"{number:032x}" for number in range(count)]
    for number, stream in enumerate(streams):
        journal = layout.journal(stream)
        granted = claimed(HastyDisk(), journal.folder, hello(stream=stream))
        granted.writer.commit(chunks(1, 0, 50))
        granted.writer.seal()
        at = time.time() - idle - number
        os.utime(journal.folder / journal.names()[-1], (at, at))
    return streams[::-1]  # the last one is the oldest


@pytest.mark.parametrize(
    ("total_bytes", "total_inodes", "stay"),
    [(10**9, 10**6, 10), (10**9, 64, 8), (10 * 4096 * 2, 10**6, 5)],
    ids=["room", "few inodes", "few bytes"],
)
def test_streams_that_wait_have_a_share_of_the_disk(tmp_path, total_bytes, total_inodes, stay):
    """Beyond it the oldest are given up, and their senders are told so."""
    streams = left(tmp_path, 10, 4000)
    layout = Layout(Small(total_bytes, total_inodes), tmp_path)
    janitor = Janitor(layout, RECORDINGS, Retention(10**6, 10**6, 0.25))
    with capture_logs() as logs:
        janitor.sweep()

    open_now = {each for each in streams if layout.journal(each).done() is None}
    assert set(streams[len(streams) - len(open_now) :]) == open_now
    assert stay >= len(open_now)
    assert 10 - len(open_now) == events(logs).count("stream_expired")
    if stay < 10:
        with pytest.raises(Gone):
            claimed(HastyDisk(), layout.journal(streams[0]).folder, hello(stream=streams[0]))


def test_streams_whose_senders_may_be_there_are_spared(tmp_path):
    """A stream that was written to some minutes ago may have a connection."""
    streams = left(tmp_path, 10, 200)
    layout = Layout(Small(10, 10), tmp_path)
    Janitor(layout, RECORDINGS, Retention(10**6, 10**6, 0.25)).sweep()

    assert all(layout.journal(each).done() is None for each in streams)
