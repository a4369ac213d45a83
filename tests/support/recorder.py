"""A real receiver in the test's own event loop, and a processor that keeps its blocks."""

import asyncio
import threading
from contextlib import asynccontextmanager

import numpy as np

import receiver

PATIENCE_S = 20
"""The seconds that a test waits for an event that must come."""


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
        """Return all blocks as one array."""
        return np.concatenate(self.blocks)

    @property
    def frames(self):
        """Return the number of frames that came."""
        return sum(len(block) for block in self.blocks)

    @property
    def gapless(self):
        """Return whether every block starts where the previous one ended, the first at 0."""
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
    """Makes a Take for each stream; while `gate` is clear, all of them wait."""

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
        """Return the streams that were closed, in the order of their beginning."""
        return [take for take in self.takes if take.closed]

    def add(self, take):
        """Add a stream that begins; call this from a worker thread."""
        self.takes.append(take)
        self.notify()

    def notify(self):
        """Wake the test up; call this from a worker thread."""
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
        hosts=("twice.test", "many.test"),
        limits=receiver.Limits(**limits),
    )
    async with receiver.serve(settings, processors=[recorder], registry=registry) as running:
        try:
            yield running
        finally:
            recorder.gate.set()  # a worker that waits would outlive the test


SMALL = {"max_connections": 64, "memory_bytes": 64 * 65536, "window_bytes": 65536}
"""Limits of a receiver that grants each stream the smallest window."""
