"""Group commit: what came from all streams becomes durable together, outside the event loop."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable
from concurrent.futures import Executor
from functools import partial
from typing import Final, Protocol, TypeAlias

from sonoduct.wire import StorageFailed, WireError

from .disk import DiskFull
from .writer import Entry, Writer

GROUP_BYTES: Final = 8 * 1024 * 1024
GROUP_S: Final = 0.2
"""A group is committed when it has so many bytes, its first chunk has waited so long, or at once if
somebody hurries: a step of a sender's window has come, or its stream is to end."""

MANY: Final = 16
"""So many files are made durable by one call, if it tells of faults, rather than one by one."""

SLOW_S: Final = 0.5
ALONE_S: Final = 60.0
"""That call also waits for what others have written: if it takes so long, it rests so long."""

RETRY_S: Final = 0.5
"""Between attempts while the disk is full."""

Work: TypeAlias = tuple[Writer, list[Entry]]
Outcome: TypeAlias = WireError | None


class Client(Protocol):
    """A claim, as the committer sees it; called on the event loop."""

    def take(self) -> Work:
        """Return what is to be committed."""

    def committed(self, entries: list[Entry]) -> None:
        """*entries* are durable."""

    def refused(self, entries: list[Entry], error: WireError) -> None:
        """*entries* are not; with DiskFull they are to be offered again."""


class Committer:
    """Lives on the event loop; one group at a time is under way in a thread of *executor*."""

    def __init__(
        self,
        executor: Executor,
        has_room: Callable[[], bool],
        observe: Callable[[float], None],
        sync_all: Callable[[], None] | None = None,
    ) -> None:
        """*sync_all* makes whatever was written to the disk durable, or raises OSError."""
        self.full = False
        """Whether the disk has no room: nothing is committed, and nothing is lost."""
        self.began = 0.0
        """When the last group did, by the event loop's clock."""
        self._executor = executor
        self._has_room = has_room
        self._observe = observe
        self._sync_all = sync_all
        self._rests_until = 0.0
        self._loop = asyncio.get_running_loop()
        self._waiting: dict[Client, None] = {}
        self._bytes = 0
        self._running = False
        self._hurried = False
        self._closed = False
        self._timer: asyncio.TimerHandle | None = None

    def add(self, client: Client, size: int) -> None:
        """*client* has *size* bytes more to commit."""
        self._waiting[client] = None
        self._bytes += size
        self._schedule()

    def hurry(self) -> None:
        """Somebody waits: do not wait for more to come."""
        self._hurried = True
        self._schedule()

    def close(self) -> None:
        """Begin nothing more; what is under way is committed."""
        self._closed = True
        if self._timer is not None:
            self._timer.cancel()

    def _schedule(self) -> None:
        if self._running or self._closed or not self._waiting:
            return
        if not self.full and (self._hurried or self._bytes >= GROUP_BYTES):
            self._start()
        elif self._timer is None:
            delay = RETRY_S if self.full else GROUP_S
            self._timer = self._loop.call_later(delay, self._start)

    def _start(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        clients, self._waiting = list(self._waiting), {}
        self._bytes, self._hurried, self._running = 0, False, True
        self.began = self._loop.time()
        work = [client.take() for client in clients]
        future = self._loop.run_in_executor(self._executor, self._commit, work)
        future.add_done_callback(lambda done: self._finish(clients, work, done))

    def _finish(
        self,
        clients: list[Client],
        work: list[Work],
        done: asyncio.Future[tuple[float, list[Outcome]]],
    ) -> None:
        self._running = False
        if fault := done.exception():  # a fault of ours: say so to every stream that it hit
            outcomes: list[Outcome] = [StorageFailed(f"journal: {fault!r}") for _ in work]
        else:
            seconds, outcomes = done.result()
            self._observe(seconds)
        self.full = any(isinstance(each, DiskFull) for each in outcomes)
        for client, (_, entries), error in zip(clients, work, outcomes, strict=True):
            if error is None:
                client.committed(entries)
            else:
                client.refused(entries, error)
        self.full = self.full and bool(self._waiting)  # without anybody to try, nobody knows
        self._schedule()

    def _commit(self, work: list[Work]) -> tuple[float, list[Outcome]]:
        """Runs in a thread; nobody else touches these writers meanwhile."""
        began = time.monotonic()
        if not self._has_room():
            return 0.0, [DiskFull("the reserve of the disk is reached") for _ in work]
        outcomes = [_outcome(writer.append, entries) for writer, entries in work]
        synced = self._synced(len(work))
        for index, (writer, entries) in enumerate(work):
            if outcomes[index] is None:
                outcomes[index] = _outcome(partial(writer.settle, synced=synced), entries)
        return time.monotonic() - began, outcomes

    def _synced(self, files: int) -> bool:
        """Make everything durable at once, if that pays: an fdatasync takes 0.1 ms or more."""
        began = time.monotonic()
        if self._sync_all is None or files < MANY or began < self._rests_until:
            return False
        try:
            self._sync_all()
        except OSError:  # perhaps of a file that is none of ours: each will tell
            return False
        ended = time.monotonic()
        if ended - began > SLOW_S:
            self._rests_until = ended + ALONE_S
        return True


def _outcome(step: Callable[[list[Entry]], None], entries: list[Entry]) -> Outcome:
    try:
        if entries:
            step(entries)
    except WireError as exc:
        return exc
    return None
