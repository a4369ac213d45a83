"""``sender watch``: what lies in a folder, then what appears in it, for as long as it runs."""

from __future__ import annotations

import asyncio
import os
import time
from collections.abc import Collection, Iterator
from functools import partial
from pathlib import Path

import structlog

from runtime.cancellation import Cancellation

from .client import Client
from .delivery import Deliveries
from .find import audio_files
from .ledger import Ledger
from .metrics import Metrics
from .opening import open_file
from .settings import WatchSettings

log = structlog.get_logger()

Version = tuple[int, int]
"""Size and modification time: a file with others is another stream."""


class Settling:
    """Which files have stopped growing. Decides only: sizes and times are passed in."""

    def __init__(self, settle: float) -> None:
        self._settle = settle
        self._seen: dict[Path, tuple[Version, float]] = {}
        self._done: dict[Path, Version] = {}

    def look(
        self, found: dict[Path, Version], now: float, in_work: Collection[Path] = ()
    ) -> Iterator[Path]:
        """Yield those of *found* that are due: settled, and neither done nor *in_work*."""
        self._forget_all_but(found)
        for path, version in found.items():
            seen, since = self._seen.setdefault(path, (version, now))
            if seen != version:
                self._seen[path] = (version, now)
            elif path in in_work or self._done.get(path) == version:
                continue
            elif now - since >= self._settle:
                self._done[path] = version
                yield path

    def again(self, path: Path) -> None:
        """*path* was not sent, and is to be due again after settling."""
        self._done.pop(path, None)
        self._seen.pop(path, None)

    def _forget_all_but(self, found: dict[Path, Version]) -> None:
        for known in (self._seen, self._done):
            for path in [each for each in known if each not in found]:
                del known[path]


class Watch:
    """One run of ``sender watch``."""

    def __init__(
        self,
        folder: Path,
        settings: WatchSettings,
        metrics: Metrics,
        deliveries: Deliveries,
        ledger: Ledger | None,
    ) -> None:
        self._ledger = ledger
        self._folder = folder
        self._settings = settings
        self._metrics = metrics
        self._deliveries = deliveries
        self._settling = Settling(settings.settle)
        self._due: asyncio.Queue[Path] = asyncio.Queue()  # each file once, so never more than these
        self._in_work: set[Path] = set()
        self._cancellation = Cancellation()

    async def run(self, instance: str, stop: asyncio.Event) -> None:
        """Send until *stop*; nothing is remembered, the receiver knows what it has."""
        async with asyncio.TaskGroup() as tasks:
            workers = [
                tasks.create_task(
                    self._work(Client(self._settings, self._metrics, instance, self._ledger))
                )
                for _ in range(self._settings.jobs)
            ]
            await self._look_until(stop)
            for worker in workers:
                worker.cancel()
            self._cancellation.cancel()  # files that are being opened

    async def _look_until(self, stop: asyncio.Event) -> None:
        from watchfiles import awatch  # 25 ms that other commands need not wait

        # A look follows each change, and each pause: some file systems report no changes, and
        # a file that has stopped growing causes none.
        pause = min(self._settings.rescan, max(self._settings.settle, 0.1))
        changes = awatch(
            self._folder,
            stop_event=stop,
            rust_timeout=int(pause * 1000),
            yield_on_timeout=True,
            ignore_permission_denied=True,
        )
        if not os.access(self._folder, os.R_OK | os.X_OK):
            log.error("folder_unreadable", folder=str(self._folder), uid=os.getuid())
        await self._look()
        async for _ in changes:
            await self._look()

    async def _look(self) -> None:
        found = await asyncio.to_thread(_versions, self._folder)
        for path in self._settling.look(found, time.monotonic(), self._in_work):
            self._in_work.add(path)
            self._due.put_nowait(path)

    async def _work(self, client: Client) -> None:
        try:
            while True:
                path = await self._due.get()
                opening = partial(open_file, path, self._settings, self._cancellation)
                outcome = await self._deliveries.deliver(client, str(path), opening)
                self._in_work.discard(path)
                if outcome.retry:
                    self._settling.again(path)
        finally:
            await client.close()


def _versions(folder: Path) -> dict[Path, Version]:
    """The audio files below *folder*; one that is linked under several names is there once."""
    found: dict[Path, Version] = {}
    known: set[Path] = set()
    for path in sorted(audio_files(folder)):
        real = path.resolve()
        try:
            stat = path.stat()
        except FileNotFoundError:
            continue  # gone since it was listed
        if real not in known:
            known.add(real)
            found[path] = (stat.st_size, stat.st_mtime_ns)
    return found
