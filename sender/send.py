"""``sender send``: every path once, several at a time, and the truth about each at the end."""

from __future__ import annotations

import asyncio
import os
from collections.abc import Callable, Iterable, Iterator
from functools import partial
from typing import Final

from .client import Client
from .delivery import Deliveries
from .errors import SourceError
from .find import find_files
from .inputs import NAME, Inputs
from .live import SpooledStream
from .metrics import Metrics
from .opening import open_file
from .settings import SendSettings
from .source import Source

STANDARD_INPUT: Final = "/dev/stdin"

Named = tuple[str, Callable[[], Source]]


class Sending:
    """One run of ``sender send``."""

    def __init__(self, settings: SendSettings, metrics: Metrics, deliveries: Deliveries) -> None:
        self._settings = settings
        self._metrics = metrics
        self._deliveries = deliveries
        self._inputs = Inputs(settings)

    async def run(self, paths: Iterable[str], instance: str) -> None:
        """Send what *paths* stand for with `jobs` clients, which take the next one in turn."""
        waiting = self._sources(paths)
        try:
            async with asyncio.TaskGroup() as tasks:
                for _ in range(self._settings.jobs):
                    client = Client(self._settings, self._metrics, instance)
                    tasks.create_task(self._work(client, waiting))
        finally:
            self._inputs.close()

    async def _work(self, client: Client, waiting: Iterator[Named]) -> None:
        try:
            for name, opening in waiting:
                await self._deliveries.deliver(client, name, opening)
        finally:
            await client.close()

    def _sources(self, paths: Iterable[str]) -> Iterator[Named]:
        taken: set[str] = set()
        for path in paths:
            if path == STANDARD_INPUT:
                yield from self._standard_input()
                continue
            try:
                files = find_files(path)
            except SourceError as exc:
                self._deliveries.fail(path, exc)
                continue
            for file in files:
                if (real := os.path.realpath(file)) in taken:
                    continue  # two clients would take the one stream from each other
                taken.add(real)
                yield str(file), partial(open_file, file, self._settings)

    def _standard_input(self) -> Iterator[Named]:
        """What earlier runs left, then what comes now, which is taken meanwhile."""
        try:
            opening = self._inputs.standard_input()
        except SourceError as exc:
            self._deliveries.fail(NAME, exc)
            return
        yield from self._left()
        yield NAME, opening

    def _left(self) -> Iterator[Named]:
        if self._settings.protocol != "plain":  # which cannot go on with anything
            for spool in self._inputs.spools.left():
                yield spool.hello.name, partial(SpooledStream, spool)
