"""The processors of a receiver: which there are, which are switched off, where they run."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Mapping
from typing import Protocol
from weakref import WeakSet

import structlog

from receiver.metrics import Metrics

from .processor import Factory
from .stage import Owner, Stage
from .workers import Workers

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
