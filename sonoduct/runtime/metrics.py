"""The ``/metrics`` endpoint, on a port and a thread of its own."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from prometheus_client import CollectorRegistry, start_http_server


@contextmanager
def metrics_endpoint(registry: CollectorRegistry, host: str, port: int) -> Iterator[int]:
    """
    Serve *registry* while the context is open; yield the port. With port 0 any free one is taken.

    Raises:
        OSError: if the port is taken; the message names it.
    """
    try:
        server, thread = start_http_server(port, host, registry)
    except OSError as exc:
        raise OSError(exc.errno, f"metrics on {host}:{port}: {exc.strerror}") from exc
    try:
        yield server.server_port
    finally:
        server.shutdown()
        server.server_close()
        thread.join()
