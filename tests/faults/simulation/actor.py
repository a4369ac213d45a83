"""The users of the simulated disk: a thread each, which the scheduler resumes from call to call."""

from __future__ import annotations

import errno
from contextlib import suppress

from receiver.stores.journal import Layout, RecordingOptions, Retention, janitor
from receiver.stores.journal.journal import Done, Journal, State
from receiver.stores.journal.original import digest_of
from sonoduct import wire
from tests.support.journal import end_stream

from .baton import Task
from .disk import ModelDisk
from .plan import FOLDER

RECORDINGS = RecordingOptions("wav")
RETENTION = Retention(3600, 3600)


class Calls(ModelDisk):
    """The disk of one actor: a call may be late, be the last one, or fail."""

    def __init__(self, world, task, label):
        super().__init__(world.storage, label)
        self._world = world
        self._task = task

    def step(self, name, what):
        self._task.pause()
        self._world.note(self.label, name, getattr(what, "name", what))

    def glance(self):
        if self._world.rng.random() < self._world.plan.glances:
            self._task.pause()

    def fails(self, *codes):
        rng, plan = self._world.rng, self._world.plan
        if self._world.calm or rng.random() >= plan.refusals:
            return None
        code = rng.choice(codes)
        self._world.note(self.label, "fails", errno.errorcode[code])
        return code

    def torn(self, size):
        return self._world.rng.randrange(size)

    def spoil(self, file):
        file.spoil(self._world.rng)


class Actor:
    """A task of a receiver, in a thread of its own."""

    def __init__(self, world, label):
        self.world = world
        self.label = label
        self.task = Task(self.work)
        self.disk = Calls(world, self.task, label)
        self.speed = world.rng.choice(world.plan.speeds)
        self.stopped = False
        self.left = False
        """Whether its sender is gone, and it can know that."""

    @property
    def ready(self):
        """Return whether the task has work."""
        return not self.stopped and not self.task.over

    def work(self):
        """Do the work, from the first call to the last."""
        raise NotImplementedError


class Janitor(Actor):
    """Cleans the journal as janitor.Janitor does, but makes no recording."""

    def work(self):
        """If there is an END, write done.json; remove files that are no longer needed."""
        journal = Journal(self.disk, FOLDER)
        layout = Layout(self.disk, FOLDER.parents[2])
        with suppress(OSError, wire.StorageFailed):  # another one may be removing it
            janitor.Janitor(layout, RECORDINGS, RETENTION)._sweep_one(journal)
        try:
            found = journal.complete()
            if found is None or journal.done() is not None:
                return
            _, epoch, receipt = found
            if digest_of(journal).hexdigest() == receipt.digest:
                done = Done(state=State.COMMITTED, epoch=epoch, receipt=receipt)
                end_stream(journal, done)
        except (OSError, wire.StorageFailed) as exc:  # another one may be removing it
            self.world.note(self.label, "unfinished", str(exc))
