"""
The composition root: settings in, a running receiver out; and the order in which it ends.

When a process is told to stop, `Receiver.drain` and the end of `serve` do this, in seconds with
the default settings:

    0    `/readyz` answers 404, and nothing else changes, so that a load balancer can see it
    3    new streams are refused; every stream is acknowledged up to the last chunk received, and
         its sender goes to another receiver; clients that cannot resume may finish their stream
    22   streams that are still open are closed, and nothing waits for processors any more
    then connections end, background tasks stop, processors and decoders end, and the store
         makes the recordings that are due, for up to 5 s
    30   the container engine kills the process: nothing is lost, the next start continues

The first three are `drain_lead` and `drain_timeout`; the last one is compose's
``stop_grace_period``. *drain* is a receiver's word; a claim is *sealed*, a connection is
*stopped*, and a resource is *closed*.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Callable, Coroutine, Iterable
from concurrent.futures import Executor, ThreadPoolExecutor
from contextlib import AsyncExitStack, asynccontextmanager
from functools import partial
from importlib.metadata import version
from typing import Final

import structlog
from prometheus_client import CollectorRegistry

from sonoduct.runtime.logs import quiet_by_default
from sonoduct.runtime.loop import LoopLag
from sonoduct.runtime.metrics import revision
from sonoduct.wire import SUBPROTOCOL, Hello, Kind, Level

from .connections.server import Server, reachable
from .connections.session import Connection
from .dialects import DIALECTS
from .metrics import Metrics
from .opening import open_store
from .present import PresentState
from .processing.pipeline import Processing
from .processing.processor import Factory, find_processors, named
from .processing.workers import Workers
from .settings import Settings
from .stores import Claim
from .streams.file import Decoders, FileStream
from .streams.pcm import PcmStream
from .streams.quotas import Quotas
from .streams.registry import StreamRegistry
from .streams.stream import Stream

log = structlog.get_logger()

AGAIN_S: Final = 1.0
"""Until a background task that failed, for instance for want of threads, is started again."""

PLAIN_SHARE: Final = 0.7
"""Of the time to drain, for clients that cannot resume; the rest is for closing them."""

Work = Callable[[], Coroutine[None, None, None]]


class Receiver:
    """A running receiver."""

    def __init__(
        self,
        server: Server,
        streams: StreamRegistry,
        settings: Settings,
        port: int,
        present: PresentState,
    ) -> None:
        self.port = port
        """The port on which it listens."""
        scheme = "wss" if settings.tls_cert else "ws"
        self.url = f"{scheme}://{reachable(settings.host)}:{port}"
        """The address for `sender send --to`."""
        self._server = server
        self._streams = streams
        self._settings = settings
        self._present = present

    @property
    def connections(self) -> list[Connection]:
        """What every connection does now; any thread may ask."""
        return self._present.connections

    def reload(self) -> None:
        """
        Read the files of tokens and of the certificate again; connections stay.

        Raises:
            ValueError: if a file is not valid; what it said before holds on.
        """
        self._server.reload()

    async def drain(self) -> None:
        """
        Send every sender to another receiver, and return when all have gone.

        This takes `drain_timeout` at most. The module's docstring has the timeline.
        """
        self._server.ready = False
        await asyncio.sleep(self._settings.drain_lead)
        self._streams.draining = True
        rest = self._settings.drain_timeout - self._settings.drain_lead
        try:
            async with asyncio.timeout(rest):
                await self._server.drain(rest * PLAIN_SHARE)
        except TimeoutError:
            log.warning("drain_timeout", timeout=self._settings.drain_timeout)
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
        settings: by default the container's; port=0 takes any free port.
        processors: classes whose instances see every stream, in place of `settings.processors`.
        registry: where the metrics are registered, by default a new one. The caller serves them.

    Raises:
        OSError: if the port is taken.
        StorageFailed: if the store's folder cannot be used.
        ValueError: if a processor cannot be found, or if two have the same name.
    """
    quiet_by_default()
    settings = settings or Settings()
    factories = find_processors(settings.processors) if processors is None else named(processors)
    dialects = [each.name for each in DIALECTS]
    metrics = Metrics(registry or CollectorRegistry(), dialects, list(factories))
    timeout = settings.limits.processor_timeout
    workers = {name: Workers(settings.workers, timeout) for name in factories}
    processing = Processing(factories, workers, metrics, settings.limits.max_stuck_calls)
    store = open_store(settings, metrics)
    unpackers = ThreadPoolExecutor(settings.workers, "unpacking")
    quotas = Quotas(settings.limits.stream_bytes, store, time.monotonic)
    decoders = Decoders(
        settings.decode_options,
        settings.decoders,
        settings.decode_queue,
        quotas,
        metrics,
    )
    durable = store.level is Level.DURABLE
    make = partial(_stream, processing, decoders, unpackers, durable=durable)
    streams = StreamRegistry(store, processing, make, metrics, settings.limits, quotas)
    server = Server(settings, streams, metrics)
    lag = LoopLag()
    present = PresentState(settings, streams, server, store, workers, processing, lag)
    metrics.present(lambda: (present.gauges(), {}))
    metrics.present(present.of_store)
    metrics.info(version=version("sonoduct"), protocol=SUBPROTOCOL, revision=revision())
    # The stack ends from the bottom to the top: the port, the tasks, then what they used.
    async with AsyncExitStack() as stack:
        for close in (store.close, decoders.close, unpackers.shutdown):
            stack.callback(close)
        for each in workers.values():
            stack.callback(each.close)
        watches = (each.watch for each in workers.values())
        running = (*watches, streams.sweep, server.watch, lag.watch, store.run)
        await stack.enter_async_context(_background(running))
        port = await stack.enter_async_context(server.listen())
        yield Receiver(server, streams, settings, port, present)


@asynccontextmanager
async def _background(running: Iterable[Work]) -> AsyncIterator[None]:
    """Run each of *running* as a task while the context is open."""
    tasks = [asyncio.create_task(_kept_running(each)) for each in running]
    try:
        yield
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)


async def _kept_running(work: Work) -> None:
    """Run *work*, and again after a moment if it fails: the receiver needs it."""
    while True:
        try:
            return await work()
        except Exception as exc:  # noqa: BLE001  # the outermost of its task
            log.error("background_task_failed", task=work.__qualname__, reason=repr(exc))
            await asyncio.sleep(AGAIN_S)


def _stream(
    processing: Processing,
    decoders: Decoders,
    unpackers: Executor,
    hello: Hello,
    claim: Claim,
    *,
    durable: bool,
) -> Stream:
    if hello.kind is Kind.FILE:
        return FileStream(hello, claim, processing, decoders, durable=durable)
    return PcmStream(hello, claim, processing, unpackers, durable=durable)
