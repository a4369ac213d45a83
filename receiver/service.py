"""The composition root: settings in, a running receiver out."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Coroutine, Iterable
from concurrent.futures import Executor, ThreadPoolExecutor
from contextlib import AsyncExitStack, asynccontextmanager
from functools import partial
from importlib.metadata import version
from pathlib import Path
from typing import Final

import structlog
from prometheus_client import CollectorRegistry

from sonoduct.runtime.loop import LoopLag
from sonoduct.wire import SUBPROTOCOL, Hello, Kind

from .connections.server import Server, reachable
from .metrics import Metrics
from .processing.pipeline import Processing
from .processing.processor import Factory, find_processors, named
from .processing.workers import Workers
from .settings import Settings
from .stores import Claim, Store
from .stores.journal import (
    JournalStore,
    Layout,
    PosixDisk,
    RecordingOptions,
    Retention,
    StoreLimits,
)
from .stores.memory import MemoryStore
from .streams.file import Decoders, FileStream
from .streams.pcm import SampleStream
from .streams.registry import Streams
from .streams.stream import Stream

log = structlog.get_logger()

AGAIN_S: Final = 1.0
"""Until a background task that failed, as for want of threads, is started again."""

Work = Callable[[], Coroutine[None, None, None]]


class Receiver:
    """A running receiver."""

    def __init__(self, server: Server, streams: Streams, settings: Settings, port: int) -> None:
        self.port = port
        """Where it listens."""
        self.url = f"ws://{reachable(settings.host)}:{port}"
        """What to give to `sender send --to`."""
        self._server = server
        self._streams = streams
        self._settings = settings

    async def drain(self) -> None:
        """
        Send everybody to another receiver and return when they are gone.

        First /readyz turns to 404 and the load balancer gets `drain_lead` to see it; then new
        streams are refused, and what came is acknowledged. Takes at most `drain_timeout`.
        """
        self._server.ready = False
        await asyncio.sleep(self._settings.drain_lead)
        self._streams.draining = True
        rest = self._settings.drain_timeout - self._settings.drain_lead
        try:
            async with asyncio.timeout(rest):
                await self._server.drain(rest * 0.7)
        except TimeoutError:
            log.warning("drain_timeout", seconds=self._settings.drain_timeout)
            self._streams.give_up()


@asynccontextmanager
async def serve(
    settings: Settings | None = None,
    *,
    processors: Iterable[Factory] | None = None,
    registry: CollectorRegistry | None = None,
) -> AsyncIterator[Receiver]:
    """
    Run a receiver while the context is open.

    Args:
        settings: by default those of the container; give port=0 for any free port.
        processors: classes whose instances see every stream, in place of `settings.processors`.
        registry: where its metrics go; its own by default. Serving them is the caller's business.

    Raises:
        OSError: if the port is taken.
        StorageFailed: if the store is no folder that can be one.
        ValueError: if a processor cannot be found, or two have the same name.
    """
    settings = settings or Settings()
    factories = find_processors(settings.processors) if processors is None else named(processors)
    metrics = Metrics(registry or CollectorRegistry(), factories)
    timeout = settings.limits.processor_timeout
    workers = {name: Workers(settings.workers, timeout) for name in factories}
    processing = Processing(factories, workers, metrics, settings.limits.max_stuck_calls)
    store = _store(settings, metrics)
    unpackers = ThreadPoolExecutor(settings.workers, "unpacking")
    decoders = Decoders(settings.means, settings.decoders, metrics)
    make = partial(_stream, processing, decoders, unpackers)
    streams = Streams(store, processing, make, metrics, settings.limits)
    server = Server(settings, streams, metrics)
    lag = LoopLag()
    _export(metrics, streams, server, settings, lag)
    async with AsyncExitStack() as stack:
        for close in (store.close, decoders.close, unpackers.shutdown):
            stack.callback(close)
        for each in workers.values():
            stack.callback(each.close)
        watches = (each.watch for each in workers.values())
        running = (*watches, streams.sweep, server.watch, lag.watch, store.run)
        await stack.enter_async_context(_background(running))
        port = await stack.enter_async_context(server.listen())
        yield Receiver(server, streams, settings, port)


@asynccontextmanager
async def _background(running: Iterable[Work]) -> AsyncIterator[None]:
    """Have *running* run meanwhile."""
    tasks = [asyncio.create_task(_kept_running(each)) for each in running]
    try:
        yield
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)


async def _kept_running(work: Work) -> None:
    """Run *work*, and again after a moment if it fails: the receiver cannot do without it."""
    while True:
        try:
            return await work()
        except Exception as exc:  # noqa: BLE001  # the outermost of its task
            log.error("background_task_failed", task=work.__qualname__, reason=repr(exc))
            await asyncio.sleep(AGAIN_S)


def _stream(
    processing: Processing, decoders: Decoders, unpackers: Executor, hello: Hello, claim: Claim
) -> Stream:
    if hello.kind is Kind.FILE:
        return FileStream(hello, claim, processing, decoders)
    return SampleStream(hello, claim, processing, unpackers)


def _store(settings: Settings, metrics: Metrics) -> Store:
    store = _open_store(settings, metrics)
    metrics.gauge(
        "receiver_store_free_bytes", "Space left to keep audio.", lambda: store.free_bytes
    )
    return store


def _open_store(settings: Settings, metrics: Metrics) -> Store:
    limits = settings.limits
    if settings.store == "none":
        return MemoryStore(limits.remembered_receipts)
    return JournalStore(
        Layout(PosixDisk(), Path(settings.store).absolute()),
        RecordingOptions(settings.recording, settings.means, settings.keep_original),
        Retention(limits.expiry_timeout, limits.receipt_timeout),
        StoreLimits(limits.reserve_bytes, limits.stream_bytes, limits.takeover_timeout),
        metrics.commit.observe,
    )


def _export(
    metrics: Metrics, streams: Streams, server: Server, settings: Settings, lag: LoopLag
) -> None:
    gauges = {
        "receiver_active_streams": ("Streams that have a connection.", lambda: streams.active),
        "receiver_buffered_bytes": ("Audio held in memory.", lambda: streams.buffered),
        "receiver_buffer_limit_bytes": (
            "Audio that may be held in memory.",
            lambda: settings.limits.memory_bytes,
        ),
        "receiver_event_loop_lag_seconds": ("Lateness of the event loop.", lambda: lag.seconds),
        "receiver_draining": ("1 while new streams are refused.", lambda: not server.ready),
        "receiver_last_chunk_timestamp_seconds": (
            "Unix time of the last chunk.",
            lambda: max(traffic.last for traffic in metrics.traffic.values()),
        ),
    }
    for name, (documentation, read) in gauges.items():
        metrics.gauge(name, documentation, read)
    metrics.info(version=version("sonoduct"), protocol=SUBPROTOCOL)
