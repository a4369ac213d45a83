"""The age of files, even if the machine's clock is set."""

import time

import pytest

from receiver.stores.journal import Layout, PosixDisk, RecordingOptions, Retention
from receiver.stores.journal.janitor import Ages, Janitor
from receiver.stores.journal.journal import Done, Journal, State
from receiver.stores.journal.reader import Part
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
