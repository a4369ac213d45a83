"""``sender send``: every path and input once, several at a time."""

from __future__ import annotations

import asyncio
import os
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from typing import Final

import structlog

from sender.client import Client
from sender.errors import SourceError
from sender.ledger import Ledger
from sender.metrics import Metrics
from sender.opening import STANDARD_INPUT, Inputs, OpenSource, open_file
from sender.settings import SendSettings
from sender.sources.live import SpooledStream
from sonoduct.runtime.child import Cancellation
from sonoduct.text import clean

from .delivery import Deliveries
from .find import find_files, summary

log = structlog.get_logger()

THREADS: Final = min(32, (os.cpu_count() or 1) + 4)
"""asyncio's own default."""

NamedSource = tuple[str, OpenSource]


class Sending:
    """One run of ``sender send``."""

    def __init__(
        self,
        settings: SendSettings,
        metrics: Metrics,
        deliveries: Deliveries,
        ledger: Ledger | None,
        inputs: Inputs,
    ) -> None:
        """`run` starts the *inputs*, and closes them."""
        self.left_out: Counter[str] = Counter()
        """Files in the given folders that were not sent because of their names."""
        self._settings = settings
        self._ledger = ledger
        self._inputs = inputs
        self._metrics = metrics
        self._deliveries = deliveries
        self._cancellation = Cancellation()

    async def run(self, paths: Sequence[str], instance: str) -> None:
        """
        Send all that *paths* and the settings name with `jobs` clients; each takes the next source.

        Each live input gets a client of its own: it must not wait for sources that may never end.
        """
        live = len(self._inputs.starters)
        # A read of a live source holds a thread until samples come.
        threads = ThreadPoolExecutor(THREADS + 2 * live, thread_name_prefix="sender")
        asyncio.get_running_loop().set_default_executor(threads)
        waiting = self._sources(paths)
        try:
            async with asyncio.TaskGroup() as tasks:
                for _ in range(self._settings.jobs + live):
                    client = Client(self._settings, self._metrics, instance, self._ledger)
                    tasks.create_task(self._work(client, waiting))
        finally:
            self._cancellation.cancel()  # files that are being opened
            self._inputs.close()

    async def _work(self, client: Client, waiting: Iterator[NamedSource]) -> None:
        try:
            for name, open_source in waiting:
                await self._deliveries.deliver(client, name, open_source)
        finally:
            await client.close()

    def _sources(self, paths: Sequence[str]) -> Iterator[NamedSource]:
        """Yield spools of earlier runs, live inputs, then files. Inputs start before anything."""
        live = list(self._live())
        if live and self._settings.resumes:
            for spool in self._inputs.spools.left():
                yield spool.hello.name, partial(SpooledStream, spool)
        yield from live
        yield from self._files(path for path in paths if path != STANDARD_INPUT)

    def _live(self) -> Iterator[NamedSource]:
        for name, start in self._inputs.starters:
            try:
                yield name, start()
            except SourceError as exc:
                self._deliveries.fail(name, exc)

    def _files(self, paths: Iterable[str]) -> Iterator[NamedSource]:
        taken: set[str] = set()
        for path in paths:
            found = find_files(path, follow_links=self._settings.follow_links)
            for fault in found.faults:
                self._deliveries.fail(str(fault.path), SourceError(str(fault)))
            if found.left_out:
                kinds = clean(summary(found.left_out))
                log.info("files_left_out", path=clean(path), kinds=kinds)
                self.left_out += found.left_out
            for file in found.files:
                if (real := os.path.realpath(file)) in taken:
                    continue  # two clients would take the one stream from each other
                taken.add(real)
                opening = partial(open_file, file, self._settings, self._cancellation, found.folder)
                yield str(file), opening
