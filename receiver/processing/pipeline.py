"""All processors of one stream, fed chunk by chunk."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Callable, Mapping
from typing import Final, Protocol
from weakref import WeakSet

import msgspec
import structlog

from receiver.metrics import Metrics
from sonoduct.wire import CONTROL_BYTES, Buffer, Chunk, Format, Value

from .processor import Factory, Finding, StreamInfo
from .stage import Block, Owner, Stage
from .workers import Workers


class Listener(Protocol):
    """The stream that a pipeline belongs to; called on the event loop."""

    def advanced(self) -> None:
        """`taken` may have grown."""

    def found(self, processor: str, finding: Finding) -> None:
        """A processor reported something."""


class Pipeline:
    """
    One stream's processors, from its first unit to their reports.

    Nothing here waits for a processor: `offer` returns at once, and `taken` moves later. What waits
    is bounded by the credit that the stream's sender gets.
    """

    def __init__(
        self,
        processing: Processing,
        stream: StreamInfo,
        format_: Format,
        offset: int,
        listener: Listener,
    ) -> None:
        self.offered = offset
        """The unit after the last one offered."""
        self.failures = dict(processing.switched_off)
        """The processors that did not see everything, and why."""
        self._first = offset
        self._abandoned = False
        self._processing = processing
        self._stream = stream
        self._format = format_
        self._listener = listener
        self._progress: asyncio.Event | None = None  # once somebody waits
        self._stages = processing.stages(self)
        for stage in self._stages:
            stage.open(stream, offset)

    @property
    def taken(self) -> int:
        """The unit before which every processor that is left has seen everything."""
        taken = self.offered
        for stage in self._stages:
            if stage.taken < taken and stage.failure is None:
                taken = stage.taken
        return taken

    def offer(self, chunk: Chunk) -> None:
        """Have every processor see *chunk*."""
        self.feed(chunk.offset, chunk.end, chunk.canonical)

    def feed(self, offset: int, end: int, payload: Buffer) -> None:
        """Have every processor see the frames from *offset* to *end*, in canonical bytes."""
        self.offered = end
        block = Block(offset, end, payload, self._format)
        for stage in self._stages:
            stage.offer(block)
        if self.taken == self.offered:
            self.progressed()

    async def settled(self, behind: int = 0) -> None:
        """
        Wait until every processor has seen, or been cut off from, what was offered before.

        But for the last *behind* frames of it.
        """
        offset = self.offered - behind
        while self.taken < offset:
            await self._moved()

    async def close(self) -> dict[str, dict[str, Value]]:
        """Have every processor close after what was offered; return their reports."""
        for stage in self._stages:
            stage.close()
        while not all(stage.closed for stage in self._stages):
            await self._moved()
        if self._first:
            for stage in self._stages:
                self.failures.setdefault(
                    stage.name, f"saw frames {self._first} to {self.offered} of {self.offered}"
                )
        reports = {stage.name: stage.report for stage in self._stages if stage.failure is None}
        fit(reports, self.failures)
        return reports

    def abandon(self) -> None:
        """Have every processor close; nothing that it still reports counts."""
        self._abandoned = True
        for stage in self._stages:
            stage.close()

    def switch_off(self, processor: str, reason: str) -> None:
        """Go on without *processor*."""
        for stage in self._stages:
            if stage.name == processor:
                stage.cut_off(reason, hung=False)

    def give_up(self, reason: str) -> None:
        """Go on without those processors that have something to do."""
        for stage in self._stages:
            if stage.busy:
                stage.cut_off(reason, hung=False)

    def progressed(self) -> None:
        """Take note that a stage has taken more (called by stages)."""
        if self._progress is not None:
            self._progress.set()
        self._listener.advanced()

    def found(self, processor: str, finding: Finding) -> None:
        """Pass on what a processor reported (called by stages)."""
        if not self._abandoned:
            self._listener.found(processor, finding)

    def failed(self, processor: str, reason: str, *, hung: bool) -> None:
        """Note that a processor is cut off (called by stages)."""
        self.failures[processor] = reason
        taken = self.taken
        self.found(processor, Finding(taken, taken, {"error": reason}))
        self._processing.failed(processor, self._stream.id, reason, hung=hung)

    async def _moved(self) -> None:
        """Wait until a stage has taken more, or is closed."""
        self._progress = self._progress or asyncio.Event()
        self._progress.clear()
        await self._progress.wait()


log = structlog.get_logger()


class Switchable(Owner, Protocol):
    """A stream's pipeline, as seen from here."""

    def switch_off(self, processor: str, reason: str) -> None:
        """Go on without *processor*."""

    def give_up(self, reason: str) -> None:
        """Go on without those processors that have something to do."""


class Processing:
    """Makes the stages of every stream, and switches a processor off that hangs again and again."""

    def __init__(
        self,
        factories: Mapping[str, Factory],
        workers: Mapping[str, Workers],
        metrics: Metrics,
        max_stuck: int,
    ) -> None:
        """Each of *factories* has its *workers*, so that no processor waits for another one."""
        self.switched_off: dict[str, str] = {}
        """The processors that no stream gets any more, and why."""
        self.dropped: Callable[[float], None] = metrics.events_dropped.inc
        """Count events that no connection is there for."""
        self._factories = dict(factories)
        self._workers = dict(workers)
        self._metrics = metrics
        self._max_stuck = max_stuck
        self._hung: Counter[str] = Counter()
        self._pipelines: WeakSet[Switchable] = WeakSet()

    def stages(self, pipeline: Switchable) -> list[Stage]:
        """Return a stage for each processor that is on."""
        self._pipelines.add(pipeline)
        return [
            Stage(
                name,
                factory,
                pipeline,
                self._workers[name],
                self._metrics.processing[name],
            )
            for name, factory in self._factories.items()
        ]

    def failed(self, processor: str, stream: str, reason: str, *, hung: bool) -> None:
        """Count a failure; the processor's `max_stuck_calls`-th hanging call is its last."""
        cause = "hung" if hung else "raised"
        self._metrics.processor_failures.labels(processor, cause).inc()
        log.error("processor_failed", processor=processor, stream=stream, reason=reason)
        self._hung[processor] += hung
        if self._hung[processor] >= self._max_stuck and processor in self._factories:
            del self._factories[processor]
            why = f"switched off after {self._max_stuck} hanging calls"
            self.switched_off[processor] = why
            log.error("processor_switched_off", processor=processor, hung=self._hung[processor])
            for pipeline in list(self._pipelines):
                pipeline.switch_off(processor, why)

    def give_up(self) -> None:
        """Let nobody wait for a processor any more."""
        for pipeline in list(self._pipelines):
            pipeline.give_up("the receiver stopped")


ROOM: Final = CONTROL_BYTES - 512
"""JSON bytes for reports and failures; the rest of a receipt and what wraps it take below 512."""


def fit(reports: dict[str, dict[str, Value]], failures: dict[str, str]) -> None:
    """Turn the largest reports into failures, and then leave failures out, until all fits."""
    while reports and _size(reports) + _size(failures) > ROOM:
        name = max(reports, key=lambda each: _size(reports[each]))
        failures[name] = f"no room for its report of {_size(reports.pop(name))} bytes"
    while failures and _size(reports) + _size(failures) > ROOM:
        failures.popitem()


def _size(part: object) -> int:
    return len(msgspec.json.encode(part))
