"""One processor on one stream: what waits for it, what it has taken, how it ended."""

from __future__ import annotations

import time
from collections import deque
from functools import partial
from typing import Final, Protocol

from receiver.metrics import Durations
from sonoduct.wire import Value

from .batch import Batch, Block, Instance, sentence
from .processor import Factory, Finding, StreamInfo, is_prompt
from .workers import Job, Workers

BATCH: Final = 16
"""Blocks handed to a thread at once: enough to make the hand-over cheap, few enough to be fair."""

PROMPT_BYTES: Final = 256 * 1024
"""Larger blocks go to a thread even if their processor is prompt: this much is a chunk."""

REASON_CHARACTERS: Final = 200


class Owner(Protocol):
    """The stream that a stage belongs to; called on the event loop."""

    def progressed(self) -> None:
        """The stage has taken more, or is closed."""

    def found(self, processor: str, finding: Finding) -> None:
        """The processor reported something."""

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
        durations: Durations,
    ) -> None:
        self.name = name
        self.taken = 0
        """The unit before which the processor has seen everything."""
        self.failure: str | None = None
        self.report: dict[str, Value] = {}
        self.closed = False
        """Whether the processor has reported, or has failed."""
        self._instance = Instance(factory)
        self._owner = owner
        self._workers = workers
        self._durations = durations
        self._prompt = is_prompt(factory)
        self._waiting: deque[Block] | tuple[()] = ()  # 600 bytes once something has to wait
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
        if self.failure is not None:
            return
        if self._prompt and not self._busy and block.size <= PROMPT_BYTES:
            self._process(block)
        else:
            self._waiting = self._waiting or deque()
            self._waiting.append(block)
            self._continue()

    def close(self) -> None:
        """Have the processor close after everything that was offered; `closed` tells when."""
        self._closing = True
        self._continue()

    def cut_off(self, reason: str, *, hung: bool) -> None:
        """Let the stream go on without the processor."""
        if self.failure is not None or self.closed:
            return
        self.failure = reason[:REASON_CHARACTERS]
        self._waiting = ()
        self.closed = True
        self._owner.failed(self.name, self.failure, hung=hung)
        self._owner.progressed()

    def _process(self, block: Block) -> None:
        """Make the call here; `taken` tells the owner, who asks after an offer."""
        started = time.monotonic()
        try:
            findings = self._instance.process(block)
        except BaseException as exc:  # noqa: BLE001  # as in a thread
            self.cut_off(sentence(exc), hung=False)
            return
        self._durations.observe(time.monotonic() - started)
        self.taken = block.end
        for finding in findings:
            self._owner.found(self.name, finding)

    def _continue(self) -> None:
        if self._busy or self.closed or not (self._waiting or self._closing):
            return
        waiting = self._waiting
        blocks = [waiting.popleft() for _ in range(min(BATCH, len(waiting)))] if waiting else []
        closing = None
        if self._closing and not waiting:
            closing = blocks[-1].end if blocks else self.taken
        self._submit(Batch(self._instance, blocks, closing=closing))

    def _submit(self, batch: Batch) -> None:
        self._busy = True
        job = Job(
            run=batch.run,
            done=partial(self._finish, batch),
            cut_off=partial(self.cut_off, "a call took too long", hung=True),
        )
        if self._prompt and not batch.blocks:
            self._workers.run_here(job)
        else:
            self._workers.submit(job, small=batch.small and len(batch.blocks) < BATCH)

    def _finish(self, batch: Batch) -> None:
        self._busy = False
        for seconds in batch.seconds:
            self._durations.observe(seconds)
        if self.failure is not None:
            return
        for finding in batch.findings:
            self._owner.found(self.name, finding)
        if batch.failure is not None:
            self.cut_off(batch.failure, hung=False)
            return
        if batch.done < len(batch.blocks):
            self._waiting = deque((*batch.blocks[batch.done :], *self._waiting))
        if batch.done:
            self.taken = batch.blocks[batch.done - 1].end
            self._owner.progressed()
        if batch.closing is not None and batch.done == len(batch.blocks):
            self.report = batch.report
            self.closed = True
            self._owner.progressed()
        self._continue()
