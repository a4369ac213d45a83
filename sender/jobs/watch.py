"""``sender watch``: sends the files in a folder, then new ones as they appear."""

from __future__ import annotations

import asyncio
import os
import stat
import time
from collections import Counter
from collections.abc import Callable, Collection, Iterable, Iterator
from contextlib import suppress
from functools import partial
from pathlib import Path
from typing import Final, NamedTuple

import structlog

from sender.client import Client
from sender.ledger import Ledger
from sender.metrics import Metrics
from sender.opening import open_file
from sender.settings import WatchSettings
from sender.sources.within import open_regular
from sender.terminal import Outcome
from sonoduct.runtime.child import Cancellation
from sonoduct.text import clean

from .delivery import Deliveries, no_thread
from .find import Fault, summary, walk

log = structlog.get_logger()

LEAST_S: Final = 0.1
"""The shortest time between two scans, and between two attempts at a file."""

PIECE: Final = 1024 * 1024

Version = tuple[int, ...]
"""
The state of a file in one scan: size, modification time, inode and change time.

Two files with equal names, sizes and times differ in the last two. A change of rights changes the
last one. If the file's state cannot be read: -1 and the error's number.
"""


class Failure(NamedTuple):
    """A failed attempt to read a file: the wait after it, and when the next attempt is due."""

    wait: float
    due: float


class Settling:
    """
    Decides which files are due: files that stopped growing, and files that may be readable by now.

    It has no clock and no disk: states and times are passed in.
    """

    def __init__(self, settle: float, retry: float) -> None:
        """A file waits for *settle* seconds, and after a failure for at most *retry* seconds."""
        self._settle = settle
        self._retry = retry
        self._seen: dict[Path, tuple[Version, float]] = {}
        self._done: dict[Path, Version] = {}
        self._failures: dict[Path, Failure] = {}
        self.settling = 0
        """Files that had not settled at the last look."""

    @property
    def retrying(self) -> int:
        """Files that could not be read, and are tried again later."""
        return len(self._failures)

    def look(
        self,
        found: dict[Path, Version],
        now: float,
        in_work: Collection[Path] = (),
        unseen: Iterable[Path] = (),
    ) -> Iterator[Path]:
        """
        Yield the files of *found* that are due, and not *in_work*.

        Files below the folders *unseen*, which could not be listed, are not forgotten.
        """
        self._forget_all_but(found, frozenset(unseen))
        settling = 0
        for path, version in found.items():
            seen, since = self._seen.setdefault(path, (version, now))
            if seen != version:
                self._seen[path] = (version, now)
                self._failures.pop(path, None)
                self._done.pop(path, None)
                settling += 1
            elif path in in_work:
                continue
            elif now - since < self._settle:
                settling += 1
            elif self._due(path, version, now):
                self._done[path] = version
                yield path
        self.settling = settling

    def again(self, path: Path) -> None:
        """Note that *path* was not sent, without its fault: it is due again after settling."""
        for known in (self._seen, self._done, self._failures):
            known.pop(path, None)

    def later(self, path: Path, now: float) -> None:
        """
        Note that *path* could not be read, for a reason that may pass: it is due again later.

        The wait doubles each time. A change of the file's rights makes a new version, due at once.
        """
        if path in self._seen:
            before = self._failures.get(path)
            wait = 2 * before.wait if before else max(self._settle, LEAST_S)
            wait = min(wait, self._retry)
            self._failures[path] = Failure(wait, now + wait)

    def over(self, path: Path) -> None:
        """Note that *path* could be read, with any outcome: this version is finished."""
        self._failures.pop(path, None)

    def failed(self, path: Path) -> bool:
        """Whether the last attempt at this version of *path* could not read it."""
        return path in self._failures

    def _due(self, path: Path, version: Version, now: float) -> bool:
        failure = self._failures.get(path)
        return self._done.get(path) != version if failure is None else now >= failure.due

    def _forget_all_but(self, found: dict[Path, Version], unseen: frozenset[Path]) -> None:
        for known in (self._seen, self._done, self._failures):
            for path in [each for each in known if each not in found]:
                if unseen.isdisjoint(path.parents):
                    del known[path]


class Watch:
    """
    One run of ``sender watch``.

    It scans the folder regularly. It uses no events of the operating system: a file has to settle
    anyway, network file systems lose events, and there may be too few of them.
    """

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
        self._inside = None if settings.follow_links else folder
        self._settings = settings
        self._metrics = metrics
        self._deliveries = deliveries
        self._settling = Settling(settings.settle, settings.retry)
        self._due: asyncio.Queue[Path] = asyncio.Queue()  # each file once, so its length is limited
        self._in_work: set[Path] = set()
        self._cancellation = Cancellation()
        self._faults: dict[Path, str] = {}
        self._left_out: Counter[str] = Counter()
        self._ended = False
        metrics.waiting = lambda: {
            "settling": self._settling.settling,
            "queued": self._due.qsize(),
            "retrying": self._settling.retrying,
        }

    async def run(self, instance: str, stop: asyncio.Event) -> None:
        """Send until *stop*. The next run starts afresh: receivers know their streams."""
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
            self._ended = True  # files that are being read
            self._cancellation.cancel()  # files that are being opened

    async def _look_until(self, stop: asyncio.Event) -> None:
        pause = min(self._settings.rescan, max(self._settings.settle, LEAST_S))
        while not stop.is_set():
            await self._look()
            with suppress(TimeoutError):
                await asyncio.wait_for(stop.wait(), pause)

    async def _look(self) -> None:
        try:
            looks, unseen = await asyncio.to_thread(self._scan)
        except RuntimeError as exc:
            log.error("folder_not_looked_at", reason=str(no_thread(exc)))
            return
        for path in self._settling.look(looks, time.monotonic(), self._in_work, unseen):
            self._in_work.add(path)
            self._due.put_nowait(path)

    def _scan(self) -> tuple[dict[Path, Version], list[Path]]:
        """Return the audio files with their states, and the folders that cannot be listed."""
        found = walk(self._folder, follow_links=self._settings.follow_links)
        # A file that disappeared after it was listed is no fault; the folder itself must exist.
        faults = [each for each in found.faults if each.path == self._folder or _there(each.path)]
        self._say_faults(faults)
        if new := found.left_out.keys() - self._left_out.keys():
            kinds = summary(Counter({kind: found.left_out[kind] for kind in new}))
            log.info("files_left_out", path=clean(self._folder), kinds=clean(kinds))
        self._left_out = found.left_out
        return _looks(found.files), [fault.path for fault in faults]

    def _say_faults(self, faults: list[Fault]) -> None:
        """Log each fault once, and once its end."""
        before, self._faults = self._faults, dict(faults)
        for path, reason in faults:
            if before.get(path) != reason:
                folder = clean(path)
                log.error("folder_unreadable", folder=folder, reason=reason, uid=os.getuid())
        for path in before.keys() - self._faults.keys():
            if _there(path):
                log.info("folder_readable", folder=clean(path))

    async def _work(self, client: Client) -> None:
        try:
            while True:
                path = await self._due.get()
                await self._send(client, path)
                self._in_work.discard(path)
        finally:
            await client.close()

    async def _send(self, client: Client, path: Path) -> None:
        """Send *path*. After a failure to read it, try again only if it can be read now."""
        if not self._settling.failed(path) or await self._in_thread(self._readable, path):
            opening = partial(open_file, path, self._settings, self._cancellation, self._inside)
            outcome = await self._deliveries.deliver(client, str(path), opening)
            if outcome.retry:
                if outcome.refused:  # so will be every other file, until a person mends it
                    await asyncio.sleep(self._settings.retry)
                self._settling.again(path)
                return
            if not await self._in_thread(self._unreadable, path, outcome):
                self._settling.over(path)
                return
        self._settling.later(path, time.monotonic())

    async def _in_thread(self, ask: Callable[..., bool], *about: object) -> bool:
        """Return the answer of *ask*, which runs in a thread; without a thread, return False."""
        try:
            return await asyncio.to_thread(ask, *about)
        except RuntimeError as exc:
            log.error("file_not_looked_at", reason=str(no_thread(exc)))
            return False

    def _unreadable(self, path: Path, outcome: Outcome) -> bool:
        """Whether the operating system, and not the content of *path*, was the cause."""
        return outcome.unreadable or not (outcome.good or self._readable(path))

    def _readable(self, path: Path) -> bool:
        """Whether the operating system gives all bytes of *path*."""
        try:
            descriptor = open_regular(path, self._inside)
        except ValueError:  # no regular file, or one outside
            return True
        except OSError:
            return False
        try:
            while not self._ended and os.read(descriptor, PIECE):
                pass
        except OSError:
            return False
        finally:
            os.close(descriptor)
        return True


def _looks(files: list[Path]) -> dict[Path, Version]:
    """Return the state of each file; a file that is linked under several names is in it once."""
    looks: dict[Path, Version] = {}
    folders: dict[Path, str] = {}
    known: set[str] = set()
    for path in files:
        folder = folders.get(path.parent) or os.path.realpath(path.parent)
        folders[path.parent] = folder
        real = os.path.join(folder, path.name)  # noqa: PTH118  # a Path takes ten times as long
        try:
            found = path.lstat()
            if stat.S_ISLNK(found.st_mode):
                real = os.path.realpath(path)
                found = path.stat()
            look: Version = (
                found.st_size,
                found.st_mtime_ns,
                found.st_ino,
                found.st_ctime_ns,
            )
        except OSError as exc:
            if not _there(path):
                continue  # removed after it was listed
            look = (-1, exc.errno or 0)
        if real not in known:
            known.add(real)
            looks[path] = look
    return looks


def _there(path: Path) -> bool:
    """Whether *path* exists, even if its state cannot be read."""
    try:
        path.lstat()
    except (FileNotFoundError, NotADirectoryError):
        return False
    except OSError:
        return True
    return True
