"""
All processors of one stream, fed chunk by chunk; and what all streams know about the processors.

The reports of a pipeline are part of the receipt, which has to fit into one control message.
"""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Callable, Mapping
from typing import Final
from weakref import WeakSet

import msgspec
import structlog

from receiver.metrics import Metrics
from sonoduct.wire import CONTROL_BYTES, Buffer, Format, Value

from .processor import Factory, Finding, StreamInfo
from .stage import Block, Stage
from .workers import Workers

log = structlog.get_logger()

REPORT_BYTES: Final = CONTROL_BYTES - 512
"""JSON bytes for reports and failures; the rest of a receipt and its envelope take below 512."""


class Pipeline:
    """
    One stream's processors, from its first frame to their reports.

    `feed` never waits for a processor: it returns at once, and `taken` moves later. The credit of
    the stream's sender bounds how much waits.
    """

    def __init__(
        self,
        processing: Processing,
        stream: StreamInfo,
        audio_format: Format,
        offset: int,
        on_taken: Callable[[], None],
        on_found: Callable[[str, Finding], None],
    ) -> None:
        """
        Open every processor for *stream*, whose first frame is *offset*.

        On the event loop, *on_taken* is called when `taken` may have moved, and *on_found* with
        each finding and the name of its processor.
        """
        self.offered = offset
        """The frame after the last one that was fed."""
        self.failures = dict(processing.switched_off)
        """The processors that did not see everything, and why."""
        self._first = offset
        self._abandoned = False
        self._processing = processing
        self._stream = stream
        self._format = audio_format
        self._on_taken = on_taken
        self._on_found = on_found
        self._progress: asyncio.Event | None = None  # made by the first call that waits
        self._stages = processing.stages(self)
        for stage in self._stages:
            stage.open(stream, offset)

    @property
    def taken(self) -> int:
        """The frame before which every processor that has not failed has seen everything."""
        taken = self.offered
        for stage in self._stages:
            if stage.taken < taken and stage.failure is None:
                taken = stage.taken
        return taken

    @property
    def waiting(self) -> dict[str, int]:
        """Frames that each processor has not seen yet; 0 for one that has failed."""
        offered = self.offered
        return {
            stage.name: 0 if stage.failure else max(0, offered - stage.taken)
            for stage in self._stages
        }

    def feed(self, offset: int, end: int, payload: Buffer) -> None:
        """
        Have every processor see the frames from *offset* to *end*.

        *payload* holds their canonical bytes. Processors may keep arrays that are views of it, so
        it must not change.
        """
        self.offered = end
        block = Block(offset, end, payload, self._format)
        for stage in self._stages:
            stage.offer(block)
        if self.taken == end:
            self.progressed()

    async def settled(self, behind: int = 0) -> None:
        """
        Wait until every processor has seen every frame that was fed, or has failed.

        Processors may be up to *behind* frames late.
        """
        offset = self.offered - behind
        while self.taken < offset:
            await self._moved()

    async def close(self) -> dict[str, dict[str, Value]]:
        """Have every processor close after the last frame that was fed; return their reports."""
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
        """Have every processor close; their findings and reports are dropped."""
        self._abandoned = True
        for stage in self._stages:
            stage.close()

    def switch_off(self, processor: str, reason: str) -> None:
        """Cut *processor* off from this stream."""
        for stage in self._stages:
            if stage.name == processor:
                stage.cut_off(reason, hung=False)

    def give_up(self, reason: str) -> None:
        """Cut off the processors that are busy: the receiver ends and cannot wait for them."""
        for stage in self._stages:
            if stage.busy:
                stage.cut_off(reason, hung=False)

    def progressed(self) -> None:
        """Tell the stream that a stage has taken more (called by stages)."""
        if self._progress is not None:
            self._progress.set()
        self._on_taken()

    def found(self, processor: str, finding: Finding) -> None:
        """Tell the stream what *processor* found (called by stages)."""
        if not self._abandoned:
            self._on_found(processor, finding)

    def failed(self, processor: str, reason: str, *, hung: bool) -> None:
        """Note that *processor* was cut off (called by stages)."""
        self.failures[processor] = reason
        taken = self.taken
        self.found(processor, Finding(taken, taken, {"error": reason}))
        self._processing.failed(processor, self._stream.id, reason, hung=hung)

    async def _moved(self) -> None:
        """Wait until a stage has taken more, or is closed."""
        self._progress = self._progress or asyncio.Event()
        self._progress.clear()
        await self._progress.wait()


class Processing:
    """The processors of a receiver: makes the stages of each stream, and counts failures."""

    def __init__(
        self,
        factories: Mapping[str, Factory],
        workers: Mapping[str, Workers],
        metrics: Metrics,
        max_stuck: int,
    ) -> None:
        """
        Each of *factories* has *workers* of its own, so that no processor waits for another.

        A processor is switched off after *max_stuck* calls that hung.
        """
        self.switched_off: dict[str, str] = {}
        """The processors that new streams do not get any more, and why."""
        self.dropped: Callable[[float], None] = metrics.events_dropped.inc
        """Counts events that were dropped because their stream had no connection."""
        self._factories = dict(factories)
        self._workers = dict(workers)
        self.metrics = metrics
        """Where streams and processors count."""
        self._max_stuck = max_stuck
        self._hung: Counter[str] = Counter()
        self._pipelines: WeakSet[Pipeline] = WeakSet()

    def stages(self, pipeline: Pipeline) -> list[Stage]:
        """Return a stage for each processor that is not switched off."""
        self._pipelines.add(pipeline)
        return [
            Stage(name, factory, pipeline, self._workers[name], self.metrics.processing[name])
            for name, factory in self._factories.items()
        ]

    def failed(self, processor: str, stream: str, reason: str, *, hung: bool) -> None:
        """Count a failure; switch the processor off after `max_stuck_calls` calls that hung."""
        cause = "hung" if hung else "raised"
        self.metrics.processor_failures.labels(processor, cause).inc()
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
        """Cut off every processor that is busy: the receiver ends."""
        for pipeline in list(self._pipelines):
            pipeline.give_up("the receiver stopped")


def fit(reports: dict[str, dict[str, Value]], failures: dict[str, str]) -> None:
    """
    Make *reports* and *failures* fit into a receipt.

    First the largest reports become failures, then failures are left out.
    """
    while reports and _size(reports) + _size(failures) > REPORT_BYTES:
        name = max(reports, key=lambda each: _size(reports[each]))
        failures[name] = f"no room for its report of {_size(reports.pop(name))} bytes"
    while failures and _size(reports) + _size(failures) > REPORT_BYTES:
        failures.popitem()


def _size(part: object) -> int:
    return len(msgspec.json.encode(part))
