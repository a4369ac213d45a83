"""The age of files, even if the machine's clock is set."""

import time

import pytest

from receiver.stores.journal import Layout, PosixDisk, RecordingOptions, Retention
from receiver.stores.journal.ages import Ages, Clock
from receiver.stores.journal.fence import claim
from receiver.stores.journal.janitor import Janitor
from receiver.stores.journal.journal import Done, Journal, State
from receiver.stores.journal.reader import Part
from sonoduct.wire import Held
from tests.support.faultydisk import HastyDisk
from tests.support.journal import STREAM, chunks, claimed, end_stream, hello

HOUR = 3600.0


class Clocks:
    """A wall clock that can be set, and a steady one that cannot."""

    def __init__(self):
        self.wall = 1_000_000.0
        self.steady = 50.0
        self.ages = Ages(lambda: self.wall, lambda: self.steady)

    def passes(self, seconds):
        self.wall += seconds
        self.steady += seconds

    def age(self, written):
        """Return the age of a file that was written at *written* by the wall clock."""
        return self.ages.steady(self.wall - written)


def test_time_passes():
    """Without jumps a file is as old as its date says."""
    clocks = Clocks()
    written = clocks.wall
    clocks.passes(5000)

    assert 5000 == clocks.age(written)
    assert 5000 + HOUR == clocks.age(written - HOUR)


def test_a_jump_ahead_makes_no_file_older():
    """Files from before the jump keep their age; later files are not affected."""
    clocks = Clocks()
    before = clocks.wall
    clocks.passes(3)
    clocks.wall += 25 * HOUR

    assert 3 == clocks.age(before)

    after = clocks.wall
    clocks.passes(10)

    assert (13, 10) == (clocks.age(before), clocks.age(after))


def test_several_jumps_add_up():
    """The jumps of a machine that sleeps repeatedly add up."""
    clocks = Clocks()
    before = clocks.wall
    for _ in range(3):
        clocks.passes(10)
        clocks.wall += HOUR
        clocks.age(before)

    assert 30 == clocks.age(before)


def test_a_jump_back_makes_files_younger():
    """Files are kept longer, by the length of the jump; no file looks older than it is."""
    clocks = Clocks()
    before = clocks.wall
    clocks.passes(10)
    clocks.wall -= HOUR

    assert 10 - HOUR == clocks.age(before)

    after = clocks.wall
    clocks.passes(5)

    assert 5 == clocks.age(after)


@pytest.mark.parametrize("jump", [0.0, 25 * HOUR])
def test_a_sender_that_was_away_for_a_moment(tmp_path, jump):
    """A stream does not expire because the clock was set."""
    layout = Layout(PosixDisk(), tmp_path)
    folder = layout.journal(STREAM).folder
    granted = claimed(HastyDisk(), folder, hello())
    granted.writer.commit(chunks(1, 0, 100))
    granted.writer.close()
    (segment,) = folder.iterdir()
    clocks = Clocks()
    clocks.wall = segment.stat().st_mtime
    clocks.ages = Ages(lambda: clocks.wall, lambda: clocks.steady)
    clocks.passes(11)
    clocks.wall += jump

    class Disk(PosixDisk):
        def idle(self, path):
            return clocks.wall - path.stat().st_mtime

    Janitor(
        Layout(Disk(), layout.root),
        RecordingOptions("wav"),
        Retention(HOUR, HOUR),
        ages=clocks.ages,
    ).sweep()

    assert Journal(PosixDisk(), folder).done() is None

    clocks.passes(2 * HOUR)
    Janitor(
        Layout(Disk(), layout.root),
        RecordingOptions("wav"),
        Retention(HOUR, HOUR),
        ages=clocks.ages,
    ).sweep()

    assert State.EXPIRED is Journal(PosixDisk(), folder).done().state


@pytest.mark.parametrize("jump", [HOUR, -HOUR])
def test_a_stream_that_ended_since_the_last_sweep_is_seen(tmp_path, jump):
    """However the clock was set meanwhile, what a crash has left behind its end is removed."""
    jumped = 0.0

    class Disk(HastyDisk):
        def facts(self, folder, name):
            for each, facts in super().facts(folder, name):
                yield each, facts and facts._replace(idle=facts.idle + jumped)

    layout, ages = Layout(Disk(), tmp_path), Ages(lambda: time.time() + jumped)
    folder = layout.journal(STREAM).folder
    layout.disk.make_folder(folder.parent)
    sweep = Janitor(
        layout, RecordingOptions("wav"), Retention(10 * HOUR, 10 * HOUR), ages=ages
    ).sweep
    sweep()
    layout.disk.make_folder(folder)
    end_stream(Journal(layout.disk, folder), Done(state=State.EXPIRED, epoch=1))
    (folder / Part(1, 0).name).touch()
    jumped = jump
    sweep()

    assert ["done.json"] == [path.name for path in folder.iterdir()]


def restarted(clocks, note):
    """Return clocks like *clocks* of a process that starts now, with the *note* of one before."""
    new = Clocks()
    new.wall = clocks.wall
    new.ages = Ages(lambda: new.wall, lambda: new.steady)
    new.ages.resume(note)
    return new


@pytest.mark.parametrize("away", [0.0, 48 * HOUR, 20 * 365 * 24 * HOUR])
def test_the_time_without_a_receiver_does_not_count(away):
    """Whether the clock was set or the machine was off: a file is as old as its receivers' time."""
    clocks = Clocks()
    written = clocks.wall
    clocks.passes(HOUR)
    note = clocks.ages.note(Clock(wall=0.0))
    clocks.wall += away
    new = restarted(clocks, note)
    new.passes(10)

    assert HOUR + 10 == new.age(written)
    assert 5 == new.age(new.wall - 5)


def test_notes_of_several_receivers_and_starts_add_up():
    """A later start knows the jumps of all earlier ones, and of receivers beside it."""
    clocks, note = Clocks(), Clock(wall=0.0)
    written = clocks.wall
    for _ in range(3):
        clocks.passes(HOUR)
        note = clocks.ages.note(note)
        clocks.wall += 10 * HOUR
        clocks = restarted(clocks, note)
    other = restarted(clocks, note)
    clocks.wall += 25 * HOUR
    clocks.age(written)
    note = other.ages.note(clocks.ages.note(note))

    assert 4 == len(note.jumps)
    assert 3 * HOUR == clocks.age(written)


def test_a_clock_that_was_set_while_nothing_ran_forgets_no_receipt(tmp_path):
    """The store notes the clock, and the next start takes the jump out."""
    layout, disk = Layout(PosixDisk(), tmp_path), PosixDisk()
    layout.prepare(0)
    at = time.time()
    layout.note_clock(Ages(lambda: at, lambda: 0.0))
    later = at + 40 * 24 * HOUR
    ages = Ages(lambda: later, lambda: 0.0)
    noted = layout.clock()
    assert noted is not None
    ages.resume(noted)
    (tmp_path / "file").touch()

    assert 1 > ages.steady(disk.idle(tmp_path / "file") + 40 * 24 * HOUR)
    (tmp_path / "clock.json").write_text("{")
    assert layout.clock() is None


def test_a_clock_that_is_set_takes_no_stream_from_its_holder(tmp_path):
    """Another sender has to wait, although the file looks an hour old."""
    layout = Layout(PosixDisk(), tmp_path)
    layout.prepare(0)
    journal = layout.journal(STREAM)
    made = claim(journal, hello(), 10)
    made.writer.commit(chunks(1, 0, 100))
    jumped = [0.0]
    ages = Ages(lambda: time.time() + jumped[0], time.monotonic)
    jumped[0] = HOUR
    other = hello(instance="another")

    class Ahead(PosixDisk):
        def idle(self, path):
            return super().idle(path) + HOUR

    ahead = Layout(Ahead(), tmp_path).journal(STREAM)
    with pytest.raises(Held):
        claim(ahead, other, 10, None, ages.steady)
    made.writer.close()
    assert claim(ahead, other, 10).offset == 100  # without the correction
