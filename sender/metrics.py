"""The sender's metrics. Their names are a contract; docs/operations.md lists them."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily
from prometheus_client.registry import Collector

from sonoduct.wire import Receipt

if TYPE_CHECKING:
    from .transfer import Transfer

STREAMS: Final = ("sent", "known", "failed", "interrupted")
RECONNECTS: Final = ("refused", "lost", "drained", "overloaded", "held", "fenced", "error")
DECODERS: Final = ("soundfile", "ffmpeg", "raw")


@dataclass(slots=True)
class Traffic:
    """Plain counters of sent chunks: the event loop adds to them, and a scrape reads them."""

    chunks: int = 0
    bytes: int = 0
    resent: int = 0


class Metrics:
    """All metrics of a sender, on the caller's registry."""

    def __init__(self, registry: CollectorRegistry, version: str) -> None:
        self.streams = Counter(
            "sender_streams", "Streams that ended.", ("result",), registry=registry
        )
        self.reconnects = Counter(
            "sender_reconnects", "Attempts after the first.", ("reason",), registry=registry
        )
        self.audio_seconds = Counter(
            "sender_audio_seconds", "Seconds of audio with a receipt.", registry=registry
        )
        self.blocked_seconds = Counter(
            "sender_blocked_seconds", "Seconds spent waiting for credit.", registry=registry
        )
        self.decoding = Histogram(
            "sender_decode_duration_seconds",
            "Reading one block of a source.",
            ("decoder",),
            registry=registry,
        )
        for label, metric, values in (
            ("result", self.streams, STREAMS),
            ("reason", self.reconnects, RECONNECTS),
            ("decoder", self.decoding, DECODERS),
        ):
            for value in values:
                metric.labels(**{label: value})
        Gauge("sender_build_info", "1.", ("version",), registry=registry).labels(version).set(1)
        self.traffic = Traffic()
        self.active: set[Transfer] = set()
        """The streams that are being sent."""
        registry.register(_TrafficCollector(self))

    def end(self, result: str, receipt: Receipt | None) -> None:
        """Count the end of a source with *result*; each source ends once."""
        self.streams.labels(result).inc()
        if receipt is not None and result == "sent":
            self.audio_seconds.inc(receipt.seconds)

    @contextmanager
    def stream(self) -> Iterator[Callable[[str, Receipt], None]]:
        """Yield a function to call at a good end; the context counts any other end itself."""
        try:
            yield self.end
        except (asyncio.CancelledError, KeyboardInterrupt):
            self.end("interrupted", None)
            raise
        except BaseException:
            self.end("failed", None)
            raise


class _TrafficCollector(Collector):
    def __init__(self, metrics: Metrics) -> None:
        self._metrics = metrics

    def collect(self) -> Iterator[CounterMetricFamily | GaugeMetricFamily]:
        traffic, active = self._metrics.traffic, list(self._metrics.active)
        yield CounterMetricFamily("sender_chunks_sent", "Chunks sent.", traffic.chunks)
        yield CounterMetricFamily("sender_sent_bytes", "Bytes of those chunks.", traffic.bytes)
        yield CounterMetricFamily(
            "sender_resent_bytes", "Bytes that had been sent before.", traffic.resent
        )
        yield GaugeMetricFamily("sender_active_streams", "Streams being sent.", len(active))
        yield GaugeMetricFamily(
            "sender_unacknowledged_bytes",
            "Bytes sent and not acknowledged.",
            sum(each.outbound.unacknowledged for each in active),
        )
