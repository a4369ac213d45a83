"""
The receiver's metrics: every name, type and help text. docs/operations.md lists them.

Counts of chunks are plain numbers that the event loop adds to and a scrape reads. Gauges of the
present are computed at the scrape, in one pass over the connections.
"""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import accumulate, product
from typing import Final, TypeAlias

from prometheus_client import CollectorRegistry, Counter, Gauge
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, HistogramMetricFamily
from prometheus_client.registry import Collector

from sonoduct.wire import Kind

CONNECTIONS: Final = ("ok", "error", "fenced", "lost", "refused", "drained")
STREAMS: Final = ("committed", "cancelled", "abandoned", "failed")
CUTS: Final = ("raised", "hung")
DECODERS: Final = ("soundfile", "ffmpeg", "none")
"""The last one stands for files that no decoder opens."""
WEBSOCKET_FAULTS: Final = (1002, 1007, 1009)
"""Broken frames, text that is no UTF-8, a message that is too large."""
CODES: Final = (4400, 4408, 4413, 4416, 4429, 4460, 4500, *WEBSOCKET_FAULTS)
"""Faults of the peer. 4409 is a result of its own, and the codes of `REFUSALS` are refusals."""
REFUSALS: Final = {
    1012: "draining",
    1013: "memory",
    4401: "token",
    4403: "name",
    4410: "gone",
    4423: "held",
    4507: "store",
}
"""Why a stream is refused, by the close code."""
UNANSWERED: Final = (
    "address",
    "connections",
    "early",
    "host",
    "origin",
    "path",
    "rate",
    "subprotocol",
    "token",
)
"""Why a handshake is refused."""

BOUNDS_S: Final = (
    *(0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5),
    *(1, 1.25, 2, 3, 5, 10, 30),
)
"""
Upper bounds of every histogram. Acks of slow streams take the second that they are meant to, so
there is a bound just above 1; the objectives have one at 2 and one at 5.
"""


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


@dataclass(slots=True)
class Units:
    """Units of all streams of one kind, counted by the event loop."""

    received: int = 0
    acknowledged: int = 0
    """Stored and processed, so that an ack may say so."""


class Durations:
    """A histogram of seconds, as plain numbers as well: the library's costs 3 µs and a lock."""

    def __init__(self) -> None:
        self.counts = [0] * (len(BOUNDS_S) + 1)
        """One for each of `BOUNDS_S`, of the values up to it; the last one of larger values."""
        self.sum = 0.0

    def observe(self, seconds: float) -> None:
        """Count *seconds*; called on the event loop."""
        self.counts[bisect_left(BOUNDS_S, seconds)] += 1
        self.sum += seconds


@dataclass(frozen=True, slots=True)
class Present:
    """A gauge or a counter that is read at the scrape."""

    help: str
    value: float | Mapping[str, float]
    """The value, or a value for each value of *label*."""
    label: str = ""


Look: TypeAlias = Callable[[], tuple[Mapping[str, Present], Mapping[str, Present]]]
"""Returns gauges, and counters by their names without ``_total``."""


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
        self.units = {kind: Units() for kind in Kind}
        self.processing = {processor: Durations() for processor in processors}
        self.receipt = {kind: Durations() for kind in Kind}
        self.array, self.durable, self.ack, self.commit = (Durations() for _ in range(4))
        self._registry = registry
        registry.register(_TrafficCollector(self.traffic, self.units))
        registry.register(_DurationsCollector(self))
        self.connections = self._counter(
            "receiver_connections", "Connections that ended.", dialect=dialects, result=CONNECTIONS
        )
        self.refusals = self._counter(
            "receiver_refusals",
            "Connections and streams that were refused.",
            reason=sorted({*UNANSWERED, *REFUSALS.values()}),
        )
        self.streams = self._counter("receiver_streams", "Streams that ended.", result=STREAMS)
        self.resumes = self._counter("receiver_resumes", "Streams continued on a new connection.")
        self.fenced = self._counter("receiver_fenced", "Connections cut by a newer claim.")
        self.errors = self._counter(
            "receiver_protocol_errors",
            "Connections closed for a fault of the peer, by close code.",
            code=CODES,
        )
        self.decode_errors = self._counter(
            "receiver_decode_errors",
            "Files that could not be decoded to their end; `none` if no decoder began.",
            decoder=DECODERS,
        )
        self.processor_failures = self._counter(
            "receiver_processor_failures",
            "Processors cut off from a stream.",
            processor=processors,
            reason=CUTS,
        )
        self.events_dropped = self._counter(
            "receiver_events_dropped",
            "Events not sent: the sender read too slowly, or was not there.",
        )

    def present(self, look: Look) -> None:
        """Export the gauges and the counters that *look* returns; each scrape calls it once."""
        self._registry.register(_PresentCollector(look))

    def info(self, **labels: str) -> None:
        """Export *labels* of a constant 1, which says what runs."""
        help_ = "Always 1; the labels say what runs."
        build = Gauge("receiver_build_info", help_, tuple(labels), registry=self._registry)
        build.labels(**labels).set(1)

    def _counter(self, name: str, documentation: str, **labels: Iterable[object]) -> Counter:
        """Return a counter that is 0 for every combination of the known values of its *labels*."""
        counter = Counter(name, documentation, tuple(labels), registry=self._registry)
        for values in product(*labels.values()) if labels else ():
            counter.labels(*values)
        return counter


class _TrafficCollector(Collector):
    def __init__(self, traffic: dict[str, Traffic], units: dict[Kind, Units]) -> None:
        self._traffic = traffic
        self._units = units

    def collect(self) -> Iterator[CounterMetricFamily]:
        by_dialect = {
            "receiver_chunks_received": ("Chunks received.", "chunks"),
            "receiver_received_bytes": (
                "Bytes of those chunks, with their headers; chunks of plain clients are made here.",
                "bytes",
            ),
        }
        for name, (help_, field) in by_dialect.items():
            family = CounterMetricFamily(name, help_, labels=["dialect"])
            for dialect, traffic in self._traffic.items():
                family.add_metric([dialect], getattr(traffic, field))
            yield family
        by_kind = {
            "receiver_units_received": (
                "Units received: frames of `pcm` streams, bytes of `file` streams.",
                "received",
            ),
            "receiver_units_acknowledged": (
                "Of these, units that are stored and processed, so that an ack may say so.",
                "acknowledged",
            ),
        }
        for name, (help_, field) in by_kind.items():
            family = CounterMetricFamily(name, help_, labels=["kind"])
            for kind, units in self._units.items():
                family.add_metric([kind], getattr(units, field))
            yield family
        every = self._traffic.values()
        yield CounterMetricFamily(
            "receiver_audio_seconds",
            "Seconds of audio received; of files, when they are decoded.",
            sum(each.seconds for each in every),
        )
        yield CounterMetricFamily(
            "receiver_frames",
            "Frames received; of files, when they are decoded.",
            sum(each.frames for each in every),
        )


class _DurationsCollector(Collector):
    def __init__(self, metrics: Metrics) -> None:
        self._metrics = metrics

    def collect(self) -> Iterator[HistogramMetricFamily]:
        metrics = self._metrics
        for name, help_, durations in (
            ("ack_latency", "From the first unacknowledged chunk to its ack.", metrics.ack),
            ("commit_duration", "Making a group of chunks durable.", metrics.commit),
            (
                "array_latency",
                "From a chunk until every processor has taken it; of some chunks.",
                metrics.array,
            ),
            (
                "durable_latency",
                "From a chunk until it is durable; of some chunks.",
                metrics.durable,
            ),
        ):
            family = HistogramMetricFamily(f"receiver_{name}_seconds", help_)
            _add(family, [], durations)
            yield family
        for name, help_, label, each in (
            ("processing_duration", "One call of a processor.", "processor", metrics.processing),
            (
                "receipt_duration",
                "From the end of a stream to its receipt; of files, with their decoding.",
                "kind",
                metrics.receipt,
            ),
        ):
            family = HistogramMetricFamily(f"receiver_{name}_seconds", help_, labels=[label])
            for value, durations in each.items():
                _add(family, [value], durations)
            yield family


class _PresentCollector(Collector):
    def __init__(self, look: Look) -> None:
        self._look = look

    def collect(self) -> Iterator[GaugeMetricFamily | CounterMetricFamily]:
        gauges, counters = self._look()
        for name, each in gauges.items():
            yield _filled(GaugeMetricFamily, name, each)
        for name, each in counters.items():
            yield _filled(CounterMetricFamily, name, each)


def _filled(
    kind: type[GaugeMetricFamily | CounterMetricFamily], name: str, present: Present
) -> GaugeMetricFamily | CounterMetricFamily:
    family = kind(name, present.help, labels=[present.label] if present.label else [])
    if isinstance(present.value, Mapping):
        for label, value in present.value.items():
            family.add_metric([label], value)
    else:
        family.add_metric([], present.value)
    return family


def _add(family: HistogramMetricFamily, labels: Sequence[str], durations: Durations) -> None:
    bounds = (*map(str, map(float, BOUNDS_S)), "+Inf")
    counts = accumulate(durations.counts)
    family.add_metric(labels, list(zip(bounds, counts, strict=True)), durations.sum)
