"""The ``/metrics`` endpoint, on a port and a thread of its own, and what every service exports."""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, Final

from prometheus_client import (
    CollectorRegistry,
    Metric,
    ProcessCollector,
    make_wsgi_app,
    start_http_server,
)
from prometheus_client.core import CounterMetricFamily
from prometheus_client.registry import Collector, RestrictedRegistry

from .logs import LogLines

if TYPE_CHECKING:
    from wsgiref.types import StartResponse, WSGIEnvironment

REVISION: Final = "SONODUCT_REVISION"

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
) -> Iterator[int]:
    """
    Serve *registry* while the context is open; yield the port. With port 0 any free one is taken.

    Every series gets *labels* as well. *pages* are served beside ``/metrics``.

    Raises:
        OSError: if the port is taken; the message names it.
    """
    try:
        server, thread = start_http_server(port, host, registry)
    except OSError as exc:
        raise OSError(exc.errno, f"metrics on {host}:{port}: {exc.strerror}") from exc
    server.set_app(_Site(Labelled(registry, labels or {}), {} if pages is None else pages))
    try:
        yield server.server_port
    finally:
        server.shutdown()
        server.server_close()
        thread.join()


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


class _Site:
    """The application behind the endpoint: metrics at every path, except for the pages."""

    def __init__(self, registry: CollectorRegistry, pages: Pages) -> None:
        self._metrics: Any = make_wsgi_app(registry)
        self._pages = pages

    def __call__(self, environ: WSGIEnvironment, start_response: StartResponse) -> Iterable[bytes]:
        page = self._pages.get(environ["PATH_INFO"])
        if page is None:
            answer: Iterable[bytes] = self._metrics(environ, start_response)
            return answer
        body = json.dumps(page()).encode() + b"\n"
        start_response("200 OK", [("Content-Type", "application/json")])
        return [body]
