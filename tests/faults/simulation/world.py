"""Two receivers with a shared disk, a sender, and the scheduler that decides the next step."""

from __future__ import annotations

import random
from itertools import chain

from receiver.stores.journal import fence
from sonoduct import wire

from .actor import Janitor
from .client import Client
from .connection import Connection
from .plan import FOLDER, Plan
from .promises import Promises
from .storage import Folder, Storage

MOST_STEPS = 4000
ENCORE = 80
"""Steps after the stream is complete."""
ZOMBIES = 6
"""Most connections that do not know of their end."""


class World:
    """One run; its seed decides everything."""

    def __init__(self, seed):
        self.plan = Plan(seed)
        self.rng = random.Random(seed + 1)
        self.calm = False
        self.storage = Storage()
        streams = self.storage.root.entries["streams"] = Folder()
        streams.entries[FOLDER.parent.name] = Folder()  # receivers make all shelves when they start
        streams.sync()
        self.storage.root.sync()
        self.trace = []
        """Who did what, and to what."""
        self._receivers = [[], []]
        self._promises = Promises(self.plan)
        self._client = Client(self)
        self._made = 0

    def run(self):
        """
        Run with trouble, then without, and with trouble again once the stream is complete.

        Returns whether the stream was ever complete.
        """
        encore = ENCORE
        try:
            fence.THIN_EVERY = self.plan.thin_every
            for step in range(MOST_STEPS):
                committed = self._promises.committed
                self.calm = step >= self.plan.troubled and not committed
                self._step()
                encore -= committed
                if not encore:
                    break
            self._check(self.storage)
        finally:
            self._kill(*self._receivers)
        return self._promises.committed

    def note(self, who, what, detail=None):
        """Add a line to the trace."""
        self.trace.append((who, what, detail))

    def connect(self):
        """Take a connection, at one of the receivers."""
        return self._add(Connection)

    def promise(self, who, message):
        """Note that *who* sends *message*; a promise in it must be true from now on."""
        self.note(who, type(message).__name__, message)
        newest = 0
        if isinstance(message, wire.Opened):
            names = self.storage.require(FOLDER).entries
            newest = max((int(name[:20]) for name in names if name.endswith(".seg")), default=0)
        self._promises.add(message, newest)
        if newest:
            self._check_power()

    def _add(self, actor):
        self._made += 1
        made = actor(self, f"{actor.__name__.lower()} {self._made}")
        self.rng.choice(self._receivers).append(made)
        return made

    def _step(self):
        rng = self.rng
        if not self.calm and rng.random() < self.plan.trouble:
            self._trouble()
        elif self._promises.committed and rng.random() < 0.1:
            rng.choice([self._forget, self._tend, self._rush])()
        elif rng.random() < 0.4:
            self._client.act()
        else:
            self._resume()
        if rng.random() < 0.03:
            self._check(self.storage)
            self._check_power()

    def _resume(self):
        if self.calm:
            self._continue()
        ready = [each for each in chain(*self._receivers) if each.ready]
        if not ready:
            return
        actor = self.rng.choices(ready, [each.speed for each in ready])[0]
        actor.task.resume(int(self.rng.expovariate(1 / self.plan.burst)) + 1)
        if actor.task.over:
            for actors in self._receivers:
                if actor in actors:
                    actors.remove(actor)
        if actor.task.fault is not None:
            raise actor.task.fault

    def _trouble(self):
        if self.rng.random() < self.plan.cuts:
            trouble = self._cut_power
        else:
            troubles = [self._disconnect, self._notice, self._crash, self._stop, self._continue]
            troubles += [self._forget, self._tend, self._rush, self._abandon]
            trouble = self.rng.choices(troubles, self.plan.weights)[0]
        self.note("world", trouble.__name__.strip("_"))
        trouble()

    def _disconnect(self):
        """Cut the connection at both ends."""
        self._client.lose(noticed=True)

    def _abandon(self):
        """Leave a connection behind whose receiver does not know that it is over."""
        self._client.lose(noticed=len([*chain(*self._receivers)]) >= ZOMBIES)

    def _rush(self):
        """Connect several times in a row, so that claims meet."""
        for _ in range(self.rng.randint(2, 3)):
            self._abandon()
            self._client.act()

    def _notice(self):
        """Tell the receivers which connections are over."""
        for each in chain(*self._receivers):
            each.left |= each is not self._client.connection

    def _crash(self):
        """Kill a receiver."""
        self._kill(self.rng.choice(self._receivers))

    def _stop(self):
        """Pause an actor at its present call."""
        actors = [*chain(*self._receivers)]
        if actors:
            self.rng.choice(actors).stopped = True

    def _continue(self):
        for each in chain(*self._receivers):
            each.stopped = False

    def _forget(self):
        """Start the sender again; it knows only its source."""
        self._client.lose(noticed=True)
        self._client = Client(self)

    def _tend(self):
        """Let a receiver look for complete journals."""
        self._add(Janitor)

    def _cut_power(self):
        self._kill(*self._receivers)
        self._client.lose(noticed=True)
        self.storage.cut(self.rng)
        self._check(self.storage)

    def _kill(self, *receivers):
        for actors in receivers:
            for each in actors:
                each.task.kill()
            actors.clear()

    def _check(self, storage):
        self._promises.check(storage)

    def _check_power(self):
        """Check what a power cut at this moment would leave."""
        storage = self.storage.copy()
        storage.cut(self.rng)
        self._check(storage)
