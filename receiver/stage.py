"""One processor on one stream: what waits for it, what it has taken, how it ended."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Callable
from functools import partial
from typing import Final, Protocol

from wire import Value

from .batch import Batch, Block, Instance
from .processors import Factory, StreamInfo
from .workers import Job, Workers

BATCH: Final = 16
"""Blocks handed to a thread at once: enough to make the hand-over cheap, few enough to be fair."""

REASON_CHARACTERS: Final = 200


class Owner(Protocol):
    """The stream that a stage belongs to; called on the event loop."""

    def progressed(self) -> None:
        """The stage has taken more, or has failed."""

    def found(self, processor: str, offset: int, values: dict[str, Value]) -> None:
        """The processor reported something at *offset*."""

    def failed(self, processor: str, reason: str, *, hung: bool) -> None:
        """The processor is cut off."""


class Stage:
    """
    A processor's mailbox. Lives on the event loop; the processor itself runs in a worker thread.

    At most one job of a stage is under way, so calls of one processor never overlap.
    """

    def __init__(
        self,
        name: str,
        factory: Factory,
        owner: Owner,
        workers: Workers,
        observe: Callable[[float], None],
    ) -> None:
        self.name = name
        self.taken = 0
        """The unit before which the processor has seen everything."""
        self.failure: str | None = None
        self.report: dict[str, Value] = {}
        self.closed = asyncio.Event()
        """The processor has reported, or has failed."""
        self._instance = Instance(factory)
        self._owner = owner
        self._workers = workers
        self._observe = observe
        self._waiting: deque[Block] = deque()
        self._busy = False
        self._closing = False

    @property
    def busy(self) -> bool:
        """Whether the processor has something to do."""
        return self._busy

    def open(self, stream: StreamInfo, offset: int) -> None:
        """Have the processor open; the first block will start at *offset*."""
        self.taken = offset
        self._submit(Batch(self._instance, opening=stream))

    def offer(self, block: Block) -> None:
        """Have the processor see *block* after those before it."""
        if self.failure is None:
            self._waiting.append(block)
            self._continue()

    def close(self) -> None:
        """Have the processor close after everything that was offered; `closed` tells when."""
        self._closing = True
        self._continue()

    def cut_off(self, reason: str, *, hung: bool) -> None:
        """Let the stream go on without the processor."""
        if self.failure is not None or self.closed.is_set():
            return
        self.failure = reason[:REASON_CHARACTERS]
        self._waiting.clear()
        self.closed.set()
        self._owner.failed(self.name, self.failure, hung=hung)
        self._owner.progressed()

    def _continue(self) -> None:
        if self._busy or self.closed.is_set() or not (self._waiting or self._closing):
            return
        blocks = [self._waiting.popleft() for _ in range(min(BATCH, len(self._waiting)))]
        closing = self._closing and not self._waiting
        self._submit(Batch(self._instance, blocks, closing=closing))

    def _submit(self, batch: Batch) -> None:
        self._busy = True
        job = Job(
            run=partial(batch.run, observe=self._observe),
            done=partial(self._finish, batch),
            cut_off=partial(self.cut_off, "a call took too long", hung=True),
        )
        self._workers.submit(job, small=batch.small and len(batch.blocks) < BATCH)

    def _finish(self, batch: Batch) -> None:
        self._busy = False
        if self.failure is not None:
            return
        for offset, values in batch.events:
            self._owner.found(self.name, offset, values)
        if batch.failure is not None:
            self.cut_off(batch.failure, hung=False)
            return
        self._waiting.extendleft(reversed(batch.blocks[batch.done :]))
        if batch.done:
            self.taken = batch.blocks[batch.done - 1].end
            self._owner.progressed()
        if batch.closing and batch.done == len(batch.blocks):
            self.report = batch.report
            self.closed.set()
        self._continue()
