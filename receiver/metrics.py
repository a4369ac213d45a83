"""The receiver's metrics. docs/operations.md lists their names, on which dashboards rely."""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import accumulate, product
from typing import Final

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram
from prometheus_client.core import CounterMetricFamily, HistogramMetricFamily
from prometheus_client.registry import Collector

CONNECTIONS: Final = ("ok", "error", "fenced", "lost", "refused", "drained")
STREAMS: Final = ("committed", "cancelled", "abandoned", "failed")
CUTS: Final = ("raised", "hung")
DECODERS: Final = ("soundfile", "ffmpeg", "none")
"""The last one stands for files that no decoder opens."""
WEBSOCKET_FAULTS: Final = (1002, 1007, 1009)
"""Broken frames, text that is no UTF-8, a message that is too large."""
CODES: Final = (4400, 4408, 4409, 4413, 4416, 4423, 4429, 4460, 4500, *WEBSOCKET_FAULTS)
SHORT_S: Final = (0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 10)


@dataclass(slots=True)
class Traffic:
    """
    Counters of one dialect: plain numbers that the event loop adds to and a scrape reads.

    A chunk costs four additions. Four counters of prometheus_client would cost 3 µs and four locks.
    """

    chunks: int = 0
    bytes: int = 0
    frames: int = 0
    seconds: float = 0.0
    last: float = 0.0
    """Unix time of the last chunk."""


class Durations:
    """A histogram of seconds, as plain numbers as well: the library's costs 3 µs and a lock."""

    def __init__(self) -> None:
        self.counts = [0] * (len(SHORT_S) + 1)
        """One for each of `SHORT_S`, of the values up to it; the last one of larger values."""
        self.sum = 0.0

    def observe(self, seconds: float) -> None:
        """Count *seconds*; called on the event loop."""
        self.counts[bisect_left(SHORT_S, seconds)] += 1
        self.sum += seconds


class Metrics:
    """All metrics of one receiver."""

    def __init__(
        self,
        registry: CollectorRegistry,
        dialects: Sequence[str] = (),
        processors: Sequence[str] = (),
    ) -> None:
        """Register them with *registry*, with a label value for each dialect and processor."""
        self.traffic = {dialect: Traffic() for dialect in dialects}
        self.processing = {processor: Durations() for processor in processors}
        self._registry = registry
        registry.register(_TrafficCollector(self.traffic))
        registry.register(_DurationsCollector(self.processing))
        self.connections = self._counter(
            "receiver_connections", "Connections that ended.", dialect=dialects, result=CONNECTIONS
        )
        self.streams = self._counter("receiver_streams", "Streams that ended.", result=STREAMS)
        self.resumes = self._counter("receiver_resumes", "Streams continued on a new connection.")
        self.fenced = self._counter("receiver_fenced", "Connections cut by a newer claim.")
        self.errors = self._counter(
            "receiver_protocol_errors", "Connections closed for a fault of the peer.", code=CODES
        )
        self.decode_errors = self._counter(
            "receiver_decode_errors", "Files that could not be decoded.", decoder=DECODERS
        )
        self.processor_failures = self._counter(
            "receiver_processor_failures", "Processors cut off.", processor=processors, reason=CUTS
        )
        self.events_dropped = self._counter(
            "receiver_events_dropped",
            "Events not sent: the sender read too slowly, or was not there.",
        )
        self.ack_latency = self._histogram(
            "receiver_ack_latency_seconds", "From the first unacknowledged chunk to its ack."
        )
        self.commit = self._histogram(
            "receiver_commit_duration_seconds", "Making a group of chunks durable."
        )

    def gauge(self, name: str, documentation: str, read: Callable[[], float]) -> None:
        """Export the result of *read*, which each scrape calls on its own thread."""
        Gauge(name, documentation, registry=self._registry).set_function(read)

    def info(self, **labels: str) -> None:
        """Export *labels* of a constant 1, which says what runs."""
        build = Gauge("receiver_build_info", "1.", tuple(labels), registry=self._registry)
        build.labels(**labels).set(1)

    def _counter(self, name: str, documentation: str, **labels: Iterable[object]) -> Counter:
        """Return a counter that is 0 for every combination of the known values of its *labels*."""
        counter = Counter(name, documentation, tuple(labels), registry=self._registry)
        for values in product(*labels.values()) if labels else ():
            counter.labels(*values)
        return counter

    def _histogram(self, name: str, documentation: str) -> Histogram:
        return Histogram(name, documentation, registry=self._registry, buckets=SHORT_S)


class _TrafficCollector(Collector):
    def __init__(self, traffic: dict[str, Traffic]) -> None:
        self._traffic = traffic

    def collect(self) -> Iterator[CounterMetricFamily]:
        chunks = CounterMetricFamily(
            "receiver_chunks_received", "Chunks received.", labels=["dialect"]
        )
        size = CounterMetricFamily(
            "receiver_received_bytes", "Bytes of the messages received.", labels=["dialect"]
        )
        for dialect, traffic in self._traffic.items():
            chunks.add_metric([dialect], traffic.chunks)
            size.add_metric([dialect], traffic.bytes)
        yield chunks
        yield size
        every = self._traffic.values()
        yield CounterMetricFamily(
            "receiver_audio_seconds", "Seconds of audio received.", sum(t.seconds for t in every)
        )
        yield CounterMetricFamily(
            "receiver_frames", "Frames of audio received.", sum(t.frames for t in every)
        )


class _DurationsCollector(Collector):
    def __init__(self, durations: dict[str, Durations]) -> None:
        self._durations = durations

    def collect(self) -> Iterator[HistogramMetricFamily]:
        family = HistogramMetricFamily(
            "receiver_processing_duration_seconds", "One call of a processor.", labels=["processor"]
        )
        for processor, durations in self._durations.items():
            counts = accumulate(durations.counts)
            bounds = (*map(str, map(float, SHORT_S)), "+Inf")
            family.add_metric([processor], list(zip(bounds, counts, strict=True)), durations.sum)
        yield family
