"""The ``/metrics`` endpoint, on a port and a thread of its own, and what every service exports."""

from __future__ import annotations

import gzip
import json
import os
import threading
import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from typing import Final
from urllib.parse import parse_qs

from prometheus_client import CollectorRegistry, Metric, ProcessCollector
from prometheus_client.core import CounterMetricFamily
from prometheus_client.exposition import choose_encoder, gzip_accepted
from prometheus_client.registry import Collector, RestrictedRegistry

from .logs import LogLines
from .web import Page, Query, web_server

REVISION: Final = "SONODUCT_REVISION"

FRESH_S: Final = 0.1
"""Between two scrapes that look at the metrics; in between, the last answer is sent again."""

Registry = CollectorRegistry | RestrictedRegistry

Pages = Mapping[str, Callable[[], object]]
"""By the path: what returns the page, which is sent as JSON."""


@contextmanager
def metrics_endpoint(
    registry: CollectorRegistry,
    host: str,
    port: int,
    *,
    labels: Mapping[str, str] | None = None,
    pages: Pages | None = None,
    config: str | None = None,
    hosts: tuple[str, ...] = (),
) -> Iterator[int]:
    """
    Serve *registry* while the context is open; yield the port. With port 0 any free one is taken.

    Every series gets *labels* as well. *pages* are served beside ``/metrics``. *config* and *hosts*
    say who may ask, as in `web_server`.

    Raises:
        OSError: if the port is taken; the message names it.
        ValueError: if *config* is not valid.
    """
    site = Site(Labelled(registry, labels or {}), {} if pages is None else pages)
    with web_server(site, host, port, config=config, hosts=hosts) as taken:
        yield taken


class Labelled(CollectorRegistry):
    """A registry whose series have more labels than those of *registry*, whose metrics it has."""

    def __init__(self, registry: Registry, labels: Mapping[str, str]) -> None:
        super().__init__()
        self._registry = registry
        self._labels = dict(labels)

    def restricted_registry(self, names: Iterable[str]) -> Labelled:  # type: ignore[override]  # it is used as a registry
        """Return the same with the metrics that have samples of these *names*."""
        assert isinstance(self._registry, CollectorRegistry)  # restricted once
        return Labelled(self._registry.restricted_registry(names), self._labels)

    def collect(self) -> Iterator[Metric]:
        """Yield each metric with its samples, to which the labels are added."""
        for metric in self._registry.collect():
            if self._labels:
                metric.samples = [
                    sample._replace(labels={**self._labels, **sample.labels})
                    for sample in metric.samples
                ]
            yield metric


def export_process(registry: CollectorRegistry, service: str, lines: LogLines) -> None:
    """Register what every service exports: CPU, memory, descriptors, start, and log lines."""
    ProcessCollector(registry=registry)
    registry.register(_LogCollector(service, lines))


def revision() -> str:
    """Return the revision that the image was built from, or ``unknown``."""
    return os.environ.get(REVISION) or "unknown"


class _LogCollector(Collector):
    def __init__(self, service: str, lines: LogLines) -> None:
        self._service = service
        self._lines = lines

    def collect(self) -> Iterator[Metric]:
        by_level = CounterMetricFamily(
            f"{self._service}_log_lines", "Lines of the log.", labels=["level"]
        )
        for level, count in self._lines.counts.items():
            by_level.add_metric([level], count)
        yield by_level
        yield CounterMetricFamily(
            f"{self._service}_log_lines_lost",
            "Lines that could not be written.",
            self._lines.lost,
        )


class Site:
    """The pages of the endpoint: metrics at every path, except for those of *pages*."""

    def __init__(
        self, registry: Labelled, pages: Pages, clock: Callable[[], float] = time.monotonic
    ) -> None:
        self._registry = registry
        self._pages = pages
        self._clock = clock
        self._lock = threading.Lock()
        self._last: dict[tuple[str, ...], Page] = {}  # of this moment
        self._at = -FRESH_S

    def __call__(self, query: Query) -> Page:
        """Return the page, or the last one if it is fresh; of others, one is made at a time."""
        encoder, kind = choose_encoder(query.headers.get("Accept") or "")
        packed = gzip_accepted(query.headers.get("Accept-Encoding") or "")
        names = parse_qs(query.query).get("name[]", [])
        key = query.path if query.path in self._pages else "", kind, str(packed), *sorted(names)
        with self._lock:
            if self._clock() - self._at >= FRESH_S:
                self._last.clear()
            elif key in self._last:
                return self._last[key]
            elif self._last:  # another form of what is fresh: in its turn
                time.sleep(max(0.0, self._at + FRESH_S - self._clock()))
                self._last.clear()
            page = self._last[key] = self._made(query.path, encoder, kind, names, packed=packed)
            self._at = self._clock()
            return page

    def _made(
        self,
        path: str,
        encoder: Callable[..., bytes],
        kind: str,
        names: list[str],
        *,
        packed: bool,
    ) -> Page:
        page = self._pages.get(path)
        if page is not None:
            return Page(json.dumps(page()).encode() + b"\n", "application/json")
        registry = self._registry.restricted_registry(names) if names else self._registry
        body = encoder(registry)
        if packed:
            return Page(gzip.compress(body, 5), kind, headers={"Content-Encoding": "gzip"})
        return Page(body, kind)
