"""``sender send``: every path once, several at a time, and the truth about each at the end."""

from __future__ import annotations

import asyncio
import os
from collections.abc import Callable, Iterable, Iterator
from functools import partial
from pathlib import Path
from typing import Final

from .client import Client
from .conversion import Converter
from .converted import converted
from .delivery import Deliveries
from .errors import SourceError
from .find import find_files
from .live import LivePipe, SpooledStream, Spools
from .metrics import Metrics
from .opening import open_file
from .pipe import Pipe, SpooledPipe, parse_raw
from .settings import SendSettings
from .source import Source

STANDARD_INPUT: Final = "/dev/stdin"
DESCRIPTOR: Final = 0
NAME: Final = "standard input"

Named = tuple[str, Callable[[], Source]]


class Sending:
    """One run of ``sender send``."""

    def __init__(self, settings: SendSettings, metrics: Metrics, deliveries: Deliveries) -> None:
        self._settings = settings
        self._metrics = metrics
        self._deliveries = deliveries
        self._pipe = Pipe(DESCRIPTOR)
        self._spools = Spools(Path(settings.spool), settings.to, settings.spool_bytes)

    async def run(self, paths: Iterable[str], instance: str) -> None:
        """Send what *paths* stand for with `jobs` clients, which take the next one in turn."""
        waiting = self._sources(paths)
        try:
            async with asyncio.TaskGroup() as tasks:
                for _ in range(self._settings.jobs):
                    client = Client(self._settings, self._metrics, instance)
                    tasks.create_task(self._work(client, waiting))
        finally:
            self._pipe.close()

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
        """What an earlier run left of it, then what comes now; raw samples are taken meanwhile."""
        opening = self._open_pipe
        if self._settings.raw is not None:
            try:
                live = self._open_pipe()
            except SourceError as exc:
                self._deliveries.fail(NAME, exc)
                return
            opening = lambda: live  # noqa: E731  # as the others, it is called when its turn comes
        if self._settings.protocol != "plain":  # which cannot go on with anything
            for spool in self._spools.left():
                yield spool.hello.name, partial(SpooledStream, spool)
        yield NAME, opening

    def _open_pipe(self) -> Source:
        if self._settings.raw is None:
            wished = self._settings.exact_encoding
            whole = SpooledPipe(self._pipe, wished, self._settings.means)
            return converted(whole, self._settings.conversion, wished)
        form = parse_raw(self._settings.raw)
        converter = Converter(self._settings.conversion, form, self._settings.exact_encoding, NAME)
        spool = self._spools.create(NAME, converter.format)
        return LivePipe(self._pipe, spool, converter, wait=self._settings.spool_full == "wait")
