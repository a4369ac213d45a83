"""A real receiver in the test's own loop, and a processor that keeps what it sees."""

import asyncio
import threading
from contextlib import asynccontextmanager

import numpy as np

import receiver

PATIENCE_S = 20
"""How long a test waits for something that is bound to happen."""


class Take:
    """One stream as its processor saw it."""

    def __init__(self, recorder):
        self.stream = None
        self.blocks = []
        self.offsets = []
        self.closed = False
        self._recorder = recorder

    @property
    def samples(self):
        """All blocks as one array."""
        return np.concatenate(self.blocks)

    @property
    def frames(self):
        """How many came."""
        return sum(len(block) for block in self.blocks)

    @property
    def gapless(self):
        """Whether every block started where the one before it ended, from 0 on."""
        ends = np.cumsum([0, *(len(block) for block in self.blocks)])
        return list(ends[:-1]) == self.offsets

    def open(self, stream):
        self.stream = stream
        self._recorder.add(self)

    def process(self, samples, offset):
        self._recorder.gate.wait()
        self.blocks.append(samples)
        self.offsets.append(offset)
        self._recorder.notify()

    def close(self):
        self.closed = True
        self._recorder.notify()
        return {"seen": self.frames}


class Recorder:
    """Makes a Take for each stream; `gate` makes all of them wait while it is clear."""

    def __init__(self):
        self.takes = []
        self.gate = threading.Event()
        self.gate.set()
        self._loop = asyncio.get_running_loop()
        self._news = asyncio.Event()

    def __call__(self):
        return Take(self)

    @property
    def finished(self):
        """The streams that were seen to their end, in the order of their beginning."""
        return [take for take in self.takes if take.closed]

    def add(self, take):
        """A stream begins (called from a worker thread)."""
        self.takes.append(take)
        self.notify()

    def notify(self):
        """Something happened (called from a worker thread)."""
        self._loop.call_soon_threadsafe(self._news.set)

    async def until(self, reached):
        """Wait until *reached* returns something true."""
        async with asyncio.timeout(PATIENCE_S):
            while not reached():
                self._news.clear()
                await self._news.wait()


@asynccontextmanager
async def listening(recorder, port=0, registry=None, **limits):
    """Run a receiver whose only processor is *recorder*."""
    settings = receiver.Settings(
        host="127.0.0.1",
        port=port,
        drain_lead=0,
        store="none",
        limits=receiver.Limits(**limits),
    )
    async with receiver.serve(settings, processors=[recorder], registry=registry) as running:
        try:
            yield running
        finally:
            recorder.gate.set()  # a worker that waits would outlive the test


SMALL = {"max_connections": 64, "memory_bytes": 64 * 65536, "window_bytes": 65536}
"""Limits of a receiver that grants each stream the smallest window."""
