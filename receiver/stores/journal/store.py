"""
The store on disk, as the event loop sees it: claims, commits, recordings and the janitor.

Blocking work runs in three pools: one thread commits, one makes recordings and sweeps, and a few
claim, seal and sum.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, suppress
from dataclasses import dataclass
from functools import partial
from typing import Final
from weakref import WeakValueDictionary

import structlog
from typing_extensions import override

from receiver.stores import Store, Usage
from sonoduct.wire import Hello, Level, StorageFailed, WireError
from sonoduct.wire.records import Origin

from .ages import Ages
from .census import Census
from .claim import JournalClaim
from .committer import Committer
from .fence import Granted, begin, claim, is_new
from .janitor import Janitor, RecordingQueue, Retention
from .journal import Journal
from .layout import Layout
from .recordings import GROUP_FILES, RecordingOptions
from .writer import Writer

THREADS: Final = 4
"""For claims, seals and digests that have to be computed again."""

STOP_S: Final = 5.0
"""For recordings that are due when the receiver stops."""

SWEEP_S: Final = 30.0
"""Least time from one round of sweeps over all journals to the next."""

PART_S: Final = 0.02
"""Time for one sweep: recordings wait for it."""

AGAIN_S: Final = 12.0
"""Until a journal that was too young to be finished is looked at again."""

SWEEP_SHARE: Final = 0.008
FIRST_SHARE: Final = 0.5
"""
Largest share of the time that sweeps may take, and in the first round.

That one opens every journal, some 4 s for 100,000, and finds what a crash has left. A later round
takes half a second.
"""

MEASURE_S: Final = 60.0
MEASURE_SHARE: Final = 0.005
"""Least time from one count of the recordings to the next, and its largest share of the time."""

CLOCK_S: Final = 60.0
"""From one note of the clock to the next."""

log = structlog.get_logger()


@dataclass(frozen=True)
class StoreLimits:
    """How much the store may take."""

    reserve_bytes: int
    """Bytes left free on the disk."""
    stream_bytes: int
    """Bytes of audio in one stream."""
    takeover_s: float
    """Seconds of silence after which another sender may take a stream over."""
    by_token: bool = False
    """Whether recordings are counted for each token."""


class JournalStore(Store):
    """Keeps streams on a local file system. Several receivers may share the folder."""

    level = Level.DURABLE

    def __init__(
        self,
        layout: Layout,
        options: RecordingOptions,
        retention: Retention,
        limits: StoreLimits,
        observe: Callable[[float], None],
    ) -> None:
        """
        Open the store, or make one; *observe* is called with the seconds of each commit.

        Raises:
            StorageFailed: if the folder cannot be a store, or written to; nothing is changed then.
        """
        disk = layout.disk
        held = layout.prepare(limits.reserve_bytes)
        self._opened = ExitStack()
        self._opened.callback(disk.close, held)
        # A handle reports each fault once: what the recorder is told, the committer must be told.
        recorder = disk.hold(layout.root)
        self._opened.callback(disk.close, recorder)
        self.stream_bytes = limits.stream_bytes
        """Most bytes of one stream."""
        self.layout = layout
        """The folders of the journals."""
        self._limits = limits
        self.executor = ThreadPoolExecutor(THREADS, "journal")
        """Threads for the blocking work of claims."""
        self._committing = ThreadPoolExecutor(1, "commits")  # its own, so that no commit waits
        self._finisher = ThreadPoolExecutor(1, "recordings")
        one_disk = disk.together(layout.root, layout.streams, layout.audio)
        sync_chunks, sync_recordings = (
            partial(disk.sync_all, each) if one_disk and disk.syncs_all(each) else None
            for each in (held, recorder)
        )
        self.committer = Committer(self._committing, self._has_room, observe, sync_chunks)
        """Makes the chunks of all claims durable."""
        began = time.monotonic()
        self._ages = Ages()
        if (clock := layout.clock()) is not None:
            self._ages.resume(clock)
        self.janitor = Janitor(
            layout,
            options,
            retention,
            lambda: time.monotonic() - began,
            self._ages,
            sync_all=sync_recordings,
        )
        """Does what is due while no sender is connected, and cancels streams."""
        self.recordings = RecordingQueue(
            self._record, lambda: self.committer.began, self.janitor.waiting
        )
        """Takes the journals of streams that have their receipts."""
        self._claims: WeakValueDictionary[str, JournalClaim] = WeakValueDictionary()
        self._room = disk.room(layout.root)
        self._measured = (0, 0)
        self._census = Census(layout)
        self._stored: dict[str, int] = {}
        self.counted_at = 0.0

    @property
    @override
    def full(self) -> bool:
        return self.committer.full or not self._has_room()

    @property
    @override
    def free_bytes(self) -> float:
        try:
            free = self.layout.disk.free(self.layout.root)
        except OSError:  # if that cannot be found out, nothing is taken
            return 0
        return max(0, free - self._limits.reserve_bytes)

    @override
    def stored_bytes(self, token: str) -> tuple[int, int]:
        return self._stored.get(token, 0), self.janitor.waiting_bytes(token)

    @override
    def usage(self) -> Usage:
        reserve, janitor = self._limits.reserve_bytes, self.janitor
        with suppress(OSError):
            self._room = self.layout.disk.room(self.layout.root)
        room, (recordings, recordings_bytes) = self._room, self._measured
        waiting = list(self.janitor.waiting.values())
        journals = janitor.open_journals
        return Usage(
            total_bytes=max(0, room.total_bytes - reserve),
            free_bytes=self.free_bytes,
            total_inodes=room.total_inodes,
            free_inodes=room.free_inodes,
            recordings=recordings,
            recordings_bytes=recordings_bytes,
            journals=sum(count for count, _ in journals),
            journals_bytes=sum(size for _, size in journals),
            written=janitor.written,
            written_bytes=janitor.written_bytes,
            failed=janitor.failed,
            waiting=len(waiting),
            oldest_s=time.monotonic() - min(waiting) if waiting else 0.0,
        )

    @override
    async def claim(
        self,
        hello: Hello,
        on_kept: Callable[[], None],
        on_failed: Callable[[WireError], None],
        origin: Origin | None = None,
    ) -> JournalClaim:
        if self.full:
            raise StorageFailed("free bytes of the store", seen=0, expected="some")
        if before := self._claims.pop(hello.stream, None):
            await before.seal()  # then there is no silence to wait for, and no segment to read
        journal = self.layout.journal(hello.stream)
        claiming = asyncio.get_running_loop().run_in_executor(
            self.executor,
            _granted,
            journal,
            hello,
            self._limits.takeover_s,
            origin,
            self._ages.steady,
        )
        try:
            granted = await asyncio.shield(claiming)
        except asyncio.CancelledError:  # the thread continues, but the connection is gone
            claiming.add_done_callback(_close_writer)
            raise
        log.debug(
            "stream_claimed",
            stream=hello.stream,
            epoch=granted.epoch,
            offset=granted.offset,
            complete=granted.receipt is not None,
        )
        if granted.receipt is not None:
            self.recordings.add(journal)
        begins = partial(begin, journal, hello, origin)
        made = JournalClaim(self, journal, hello, granted, begins, on_kept, on_failed)
        if granted.receipt is None:
            self._claims[hello.stream] = made
        return made

    def begin(self, begins: Callable[[], Writer]) -> asyncio.Future[Writer]:
        """Have a thread begin a stream on the disk, now that it has its first entry."""
        return asyncio.get_running_loop().run_in_executor(self.executor, begins)

    @override
    async def run(self) -> None:
        async with asyncio.TaskGroup() as tasks:
            tasks.create_task(self._sweep())
            tasks.create_task(self._measure())
            tasks.create_task(self._note_clock())

    async def _measure(self) -> None:
        """Count the recordings now and then; it takes 2 µs for each, in a thread of its own."""
        while True:
            began = time.monotonic()
            with suppress(OSError):  # the next time, perhaps
                self._measured = await asyncio.to_thread(self.layout.measure)
                if self._limits.by_token:
                    self._stored = await asyncio.to_thread(self._census.take)
                    self.counted_at = began
            await asyncio.sleep(max(MEASURE_S, (time.monotonic() - began) / MEASURE_SHARE))

    async def _note_clock(self) -> None:
        """Note the clock now and then, so that the next start knows how long nothing ran."""
        while True:
            with suppress(OSError):  # the next time, perhaps
                await asyncio.to_thread(self.layout.note_clock, self._ages)
            await asyncio.sleep(CLOCK_S)

    async def _sweep(self) -> None:
        loop = asyncio.get_running_loop()
        young: set[Journal] = set()
        share, began = FIRST_SHARE, loop.time()
        again = began + AGAIN_S
        while True:
            sweep = partial(self.janitor.sweep, PART_S)
            swept = await loop.run_in_executor(self._finisher, sweep)
            young.update(swept.young)
            until = loop.time() + swept.seconds / share
            if swept.over:
                until = began = max(until, began + SWEEP_S)
                share = SWEEP_SHARE
            while (rest := until - loop.time()) > 0:
                await asyncio.sleep(max(0, min(rest, again - loop.time())))
                if loop.time() >= again:  # a young one may be complete, and its receiver was killed
                    sweep_again = partial(self.janitor.sweep_again, young)
                    young = set(await loop.run_in_executor(self._finisher, sweep_again))
                    again = loop.time() + AGAIN_S

    @override
    def close(self) -> None:
        # Recordings that take longer than STOP_S are left to the next start.
        self.committer.close()
        self.recordings.flush()
        with suppress(TimeoutError, RuntimeError):  # RuntimeError if the store is closed already
            self._finisher.submit(lambda: None).result(STOP_S)  # it comes after all the others
        self.janitor.stop()
        self._finisher.shutdown(cancel_futures=True)
        self.executor.shutdown()
        self._committing.shutdown()
        self._opened.close()

    def _record(self, journals: list[Journal]) -> None:
        with suppress(RuntimeError):  # the store is closed; the next start finds the journals
            for at in range(0, len(journals), GROUP_FILES):
                self._finisher.submit(self.janitor.finish, *journals[at : at + GROUP_FILES])

    def _has_room(self) -> bool:
        return self.free_bytes > 0


def _granted(
    journal: Journal,
    hello: Hello,
    takeover_s: float,
    origin: Origin | None,
    steady: Callable[[float], float],
) -> Granted:
    if is_new(journal):
        return Granted(1, 0)
    return claim(journal, hello, takeover_s, origin, steady)


def _close_writer(claiming: asyncio.Future[Granted]) -> None:
    if claiming.exception() is None and (writer := claiming.result().writer):
        writer.close()
