"""``sender send``: every path once, several at a time, and the truth about each at the end."""

from __future__ import annotations

import asyncio
import os
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from typing import Final

import structlog

from sender.client import Client
from sender.errors import SourceError
from sender.ledger import Ledger
from sender.metrics import Metrics
from sender.opening import NAME, Inputs, Opening, open_file
from sender.settings import SendSettings
from sender.sources import printable
from sender.sources.address import public_name
from sender.sources.live import SpooledStream
from sender.sources.whole import Sendable
from sonoduct.runtime.child import Cancellation

from .delivery import Deliveries
from .find import find_files, summary

log = structlog.get_logger()

STANDARD_INPUT: Final = "/dev/stdin"
THREADS: Final = min(32, (os.cpu_count() or 1) + 4)
"""asyncio's own default."""

Named = tuple[str, Callable[[], Sendable]]


class Sending:
    """One run of ``sender send``."""

    def __init__(
        self,
        settings: SendSettings,
        metrics: Metrics,
        deliveries: Deliveries,
        ledger: Ledger | None,
    ) -> None:
        self.left_out: Counter[str] = Counter()
        """What lay in the folders that were named, and is not sent for its name."""
        self._settings = settings
        self._ledger = ledger
        self._metrics = metrics
        self._deliveries = deliveries
        self._inputs = Inputs(settings)
        self._cancellation = Cancellation()

    async def run(self, paths: Sequence[str], instance: str) -> None:
        """
        Send what *paths* stand for with `jobs` clients, which take the next one in turn.

        There is one more for each live input: it is not to wait for others that may never end.
        """
        live = (STANDARD_INPUT in paths) + len(self._settings.url) + bool(self._settings.device)
        # A read of a live source holds a thread until something comes.
        threads = ThreadPoolExecutor(THREADS + 2 * live, thread_name_prefix="sender")
        asyncio.get_running_loop().set_default_executor(threads)
        waiting = self._sources(paths)
        try:
            async with asyncio.TaskGroup() as tasks:
                for _ in range(self._settings.jobs + live):
                    client = Client(self._settings, self._metrics, instance, self._ledger)
                    tasks.create_task(self._work(client, waiting))
        finally:
            self._cancellation.cancel()  # a file that is being opened
            self._inputs.close()

    async def _work(self, client: Client, waiting: Iterator[Named]) -> None:
        try:
            for name, opening in waiting:
                await self._deliveries.deliver(client, name, opening)
        finally:
            await client.close()

    def _sources(self, paths: Sequence[str]) -> Iterator[Named]:
        """Live input first: it is taken from now on, and what earlier runs left goes before it."""
        live = list(self._live(paths))
        if live and self._settings.protocol != "plain":  # which cannot go on with anything
            for spool in self._inputs.spools.left():
                yield spool.hello.name, partial(SpooledStream, spool)
        yield from live
        yield from self._files(path for path in paths if path != STANDARD_INPUT)

    def _live(self, paths: Sequence[str]) -> Iterator[Named]:
        begins: list[tuple[str, Callable[[], Opening]]] = []
        if STANDARD_INPUT in paths:
            begins.append((NAME, self._inputs.standard_input))
        begins += [
            (public_name(address), partial(self._inputs.address, address))
            for address in self._settings.url
        ]
        if (device := self._settings.device) is not None:
            begins.append((device, partial(self._inputs.device, device)))
        for name, begin in begins:
            try:
                yield name, begin()
            except SourceError as exc:
                self._deliveries.fail(name, exc)

    def _files(self, paths: Iterable[str]) -> Iterator[Named]:
        taken: set[str] = set()
        for path in paths:
            found = find_files(path)
            for fault in found.faults:
                self._deliveries.fail(str(fault.path), SourceError(str(fault)))
            if found.left_out:
                kinds = printable(summary(found.left_out))
                log.info("files_left_out", path=printable(path), kinds=kinds)
                self.left_out += found.left_out
            for file in found.files:
                if (real := os.path.realpath(file)) in taken:
                    continue  # two clients would take the one stream from each other
                taken.add(real)
                yield str(file), partial(open_file, file, self._settings, self._cancellation)
