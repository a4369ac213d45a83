"""The store on disk, as the receiver sees it."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable
from concurrent.futures import Executor, ThreadPoolExecutor
from contextlib import AbstractContextManager, ExitStack, suppress
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Final
from weakref import WeakValueDictionary

from receiver.stores import Listener, Original
from sonoduct.wire import Digest, Hello, Level, StorageFailed

from .claim import JournalClaim
from .committer import Committer
from .disk import Disk
from .fence import Granted, claim
from .janitor import Backlog, Keeper, Keeping
from .layout import Layout, prepare
from .original import assembled
from .recordings import digest_of

THREADS: Final = 4
"""For claims, seals and what has to be summed again."""

STOP_S: Final = 5.0
"""For recordings that are due when the receiver stops."""

TEND_S: Final = 30.0
"""Between looks at all journals, at least."""

AGAIN_S: Final = 12.0
"""Until a journal that was too young to be finished is looked at again."""

TEND_SHARE: Final = 0.05
"""Of the time, spent with that at most: 100,000 journals take some 10 s to look at."""


@dataclass(frozen=True)
class Bounds:
    """What the store may take."""

    reserve_bytes: int
    """Left free on the disk."""
    stream_bytes: int
    """Audio of one stream."""
    takeover_s: float
    """Silence after which a stream may be taken over from another sender."""


class JournalStore:
    """See receiver.stores.Store. Several receivers may share one, on a local file system."""

    level = Level.DURABLE

    def __init__(
        self,
        disk: Disk,
        layout: Layout,
        keeping: Keeping,
        bounds: Bounds,
        observe: Callable[[float], None],
    ) -> None:
        """
        Open the store, or make one; *observe* is told the seconds of each commit.

        Raises:
            StorageFailed: if it is none that can be written to; nothing is changed then.
        """
        held = prepare(disk, layout, bounds.reserve_bytes)
        self._opened = ExitStack()
        self._opened.callback(disk.close, held)
        self.stream_bytes = bounds.stream_bytes
        self._threads = ThreadPoolExecutor(THREADS, "journal")
        self._committing = ThreadPoolExecutor(1, "commits")  # it waits behind nothing else
        sync_all = partial(disk.sync_all, held) if disk.syncs_all(held) else None
        self.committer = Committer(self._committing, self._has_room, observe, sync_all)
        self._finisher = ThreadPoolExecutor(1, "recordings")
        self._disk = disk
        self._layout = layout
        self._bounds = bounds
        began = time.monotonic()
        self._keeper = Keeper(disk, layout, keeping, lambda: time.monotonic() - began)
        self._backlog = Backlog(self._record, lambda: self.committer.began)
        self._claims: WeakValueDictionary[str, JournalClaim] = WeakValueDictionary()

    @property
    def executor(self) -> Executor:
        """See Home."""
        return self._threads

    @property
    def full(self) -> bool:
        """See Store."""
        return self.committer.full or not self._has_room()

    @property
    def free_bytes(self) -> float:
        """See Store: what is left above the reserve."""
        try:
            free = self._disk.free(self._layout.root)
        except OSError:  # as long as nobody knows, nothing is taken
            return 0
        return max(0, free - self._bounds.reserve_bytes)

    async def claim(self, hello: Hello, listener: Listener) -> JournalClaim:
        """See Store."""
        if self.full:
            raise StorageFailed("free bytes of the store", seen=0, expected="some")
        if before := self._claims.pop(hello.stream, None):
            await before.seal()  # a local holder need not be waited for, nor read
        folder, takeover = self._layout.folder(hello.stream), self._bounds.takeover_s
        claiming = asyncio.get_running_loop().run_in_executor(
            self.executor, claim, self._disk, folder, hello, takeover
        )
        try:
            granted = await asyncio.shield(claiming)
        except asyncio.CancelledError:  # the thread goes on, and nobody wants what it gets
            claiming.add_done_callback(_drop)
            raise
        if granted.receipt is not None:
            self.completed(hello)
        made = JournalClaim(hello, granted, self, listener)
        if granted.writer is not None:
            self._claims[hello.stream] = made
        return made

    def recompute(self, hello: Hello) -> Digest:
        """See Home."""
        return digest_of(self._disk, self._layout.folder(hello.stream))

    def spool(self, hello: Hello) -> AbstractContextManager[Original]:
        """See Home."""
        return assembled(self._disk, self._layout, hello)

    def completed(self, hello: Hello) -> None:
        """See Home."""
        self._backlog.add(self._layout.folder(hello.stream))

    def cancelled(self, hello: Hello, epoch: int) -> None:
        """See Home."""
        self._keeper.cancel(hello, epoch)

    async def run(self) -> None:
        """Finish what a crash left, and let go of what has expired; run this as a task."""
        loop = asyncio.get_running_loop()
        while True:
            young, seconds = await loop.run_in_executor(self._finisher, self._keeper.tend)
            until = loop.time() + max(TEND_S, seconds / TEND_SHARE)
            while (rest := until - loop.time()) > 0:
                await asyncio.sleep(min(rest, AGAIN_S) if young else rest)
                if young:  # of one that was complete when its receiver was killed
                    look_again = partial(self._keeper.look_again, young)
                    young = await loop.run_in_executor(self._finisher, look_again)

    def close(self) -> None:
        """See Store: recordings that take longer than a moment are left to the next start."""
        self.committer.close()
        self._backlog.flush()
        with suppress(TimeoutError, RuntimeError):  # the latter if it is closed already
            self._finisher.submit(lambda: None).result(STOP_S)  # it comes after all the others
        self._keeper.stop()
        self._finisher.shutdown(cancel_futures=True)
        self._threads.shutdown()
        self._committing.shutdown()
        self._opened.close()

    def _record(self, folder: Path) -> None:
        with suppress(RuntimeError):  # closed; the next start finds the journal
            self._finisher.submit(self._keeper.finish, folder)

    def _has_room(self) -> bool:
        return self.free_bytes > 0


def _drop(claiming: asyncio.Future[Granted]) -> None:
    if claiming.exception() is None and (writer := claiming.result().writer):
        writer.drop()
