"""The sender's metrics. Their names are a contract; docs/operations.md lists them."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Final, Protocol

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily
from prometheus_client.registry import Collector

from sonoduct.runtime.metrics import revision
from sonoduct.wire import Kind

STREAMS: Final = ("sent", "known", "failed", "interrupted")
RECONNECTS: Final = ("refused", "lost", "drained", "overloaded", "held", "fenced", "error")
DECODERS: Final = ("soundfile", "ffmpeg", "raw")
WAITING: Final = ("settling", "queued", "retrying")
BOUNDS_S: Final = (0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2, 3, 5, 10)
"""Upper bounds of the histogram."""


@dataclass(slots=True)
class Traffic:
    """Plain counters of sent chunks: the event loop adds to them, and a scrape reads them."""

    chunks: int = 0
    bytes: int = 0
    resent: int = 0
    seconds: float = 0.0


@dataclass(slots=True)
class Units:
    """Units of all streams of one kind; what is sent again counts once."""

    sent: int = 0
    acknowledged: int = 0


class Carried(Protocol):
    """A stream that is being sent, as metrics see it."""

    @property
    def unacknowledged(self) -> int:
        """Bytes of audio that were sent and are not acknowledged."""

    @property
    def unacknowledged_s(self) -> float:
        """Seconds since the last acknowledgement, or since the first unit that waits for one."""


class Metrics:
    """All metrics of a sender, on the caller's registry."""

    def __init__(self, registry: CollectorRegistry, version: str) -> None:
        self.streams = Counter(
            "sender_streams", "Streams that ended.", ("result",), registry=registry
        )
        self.reconnects = Counter(
            "sender_reconnects", "Attempts after the first.", ("reason",), registry=registry
        )
        self.blocked_seconds = Counter(
            "sender_blocked_seconds", "Seconds spent waiting for credit.", registry=registry
        )
        self.decoding = Histogram(
            "sender_decode_duration_seconds",
            "Reading one block of a source.",
            ("decoder",),
            registry=registry,
            buckets=BOUNDS_S,
        )
        for label, metric, values in (
            ("result", self.streams, STREAMS),
            ("reason", self.reconnects, RECONNECTS),
            ("decoder", self.decoding, DECODERS),
        ):
            for value in values:
                metric.labels(**{label: value})
        help_ = "Always 1; the labels say what runs."
        build = Gauge("sender_build_info", help_, ("version", "revision"), registry=registry)
        build.labels(version, revision()).set(1)
        self.traffic = Traffic()
        self.units = {kind: Units() for kind in Kind}
        self.active: set[Carried] = set()
        """The streams that are being sent."""
        self.waiting: Callable[[], Mapping[str, int]] = dict
        """Returns the number of files that wait to be sent, by their state."""
        registry.register(_TrafficCollector(self))

    def end(self, result: str) -> None:
        """Count the end of a source with *result*; each source ends once."""
        self.streams.labels(result).inc()

    @contextmanager
    def stream(self) -> Iterator[Callable[[str], None]]:
        """Yield a function to call at a good end; the context counts any other end itself."""
        try:
            yield self.end
        except (asyncio.CancelledError, KeyboardInterrupt):
            self.end("interrupted")
            raise
        except BaseException:
            self.end("failed")
            raise


class _TrafficCollector(Collector):
    def __init__(self, metrics: Metrics) -> None:
        self._metrics = metrics

    def collect(self) -> Iterator[CounterMetricFamily | GaugeMetricFamily]:
        traffic, active = self._metrics.traffic, list(self._metrics.active)
        yield CounterMetricFamily("sender_chunks_sent", "Chunks sent.", traffic.chunks)
        yield CounterMetricFamily(
            "sender_sent_bytes", "Bytes of those messages, headers included.", traffic.bytes
        )
        yield CounterMetricFamily(
            "sender_resent_bytes", "Of these, bytes that had been sent before.", traffic.resent
        )
        yield CounterMetricFamily(
            "sender_audio_seconds",
            "Seconds of audio sent; of files that are sent unchanged, at their receipt.",
            traffic.seconds,
        )
        for name, help_, field in (
            ("sent", "Units sent, each once: frames of `pcm` streams, bytes of files.", "sent"),
            ("acknowledged", "Of these, units that were acknowledged.", "acknowledged"),
        ):
            family = CounterMetricFamily(f"sender_units_{name}", help_, labels=["kind"])
            for kind, units in self._metrics.units.items():
                family.add_metric([kind], getattr(units, field))
            yield family
        yield GaugeMetricFamily("sender_active_streams", "Streams being sent.", len(active))
        yield GaugeMetricFamily(
            "sender_unacknowledged_bytes",
            "Bytes of audio sent and not acknowledged.",
            sum(each.unacknowledged for each in active),
        )
        yield GaugeMetricFamily(
            "sender_unacknowledged_age_seconds",
            "Seconds for which audio has waited for an acknowledgement, of the worst stream.",
            max((each.unacknowledged_s for each in active), default=0.0),
        )
        waiting = GaugeMetricFamily(
            "sender_waiting_files", "Files of `sender watch` that wait.", labels=["state"]
        )
        for state, count in {**dict.fromkeys(WAITING, 0), **self._metrics.waiting()}.items():
            waiting.add_metric([state], count)
        yield waiting
