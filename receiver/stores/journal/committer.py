"""
Group commit: chunks of all streams become durable together, outside the event loop.

Claims say that they have something to commit. After a moment the committer takes it from all of
them, and a thread writes each share to its journal, makes all of them durable, and checks that no
newer claim exists. Then the event loop tells each claim.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable
from concurrent.futures import Executor
from functools import partial
from typing import TYPE_CHECKING, Final, NamedTuple, TypeAlias

import structlog

from sonoduct.wire import StorageFailed, WireError

from .disk import DiskFull
from .writer import Entry, Writer

if TYPE_CHECKING:
    from .claim import JournalClaim

GROUP_BYTES: Final = 8 * 1024 * 1024
GROUP_S: Final = 0.2
"""
A group is committed when it has GROUP_BYTES, or its first chunk has waited GROUP_S.

It is committed at once if a claim asks for that: a step of a sender's window (`wire.Terms.step`) is
not durable yet, or its stream ends.
"""

MANY: Final = 16
"""Least number of files for one syncfs instead of an fdatasync each, if syncfs reports faults."""

SLOW_S: Final = 0.5
ALONE_S: Final = 60.0
"""
A syncfs also flushes the data of other programs.

If one takes longer than SLOW_S, each file is synced alone for the next ALONE_S.
"""

RETRY_S: Final = 0.5
"""Between attempts while the disk is full."""

Outcome: TypeAlias = WireError | None

log = structlog.get_logger()


class Together:
    """Makes all files durable by one call, if that pays: an fdatasync takes 0.1 ms or more."""

    def __init__(self, sync_all: Callable[[], None] | None) -> None:
        """*sync_all* makes everything written to the disk durable, or raises OSError."""
        self._sync_all = sync_all
        self._alone_until = 0.0

    def sync(self, files: int) -> bool:
        """Make *files* files and all others durable; False if each has to be synced alone."""
        began = time.monotonic()
        if self._sync_all is None or files < MANY or began < self._alone_until:
            return False
        try:
            self._sync_all()
        except OSError:  # perhaps another program's file; a sync of each file will tell
            return False
        ended = time.monotonic()
        if ended - began > SLOW_S:
            self._alone_until = ended + ALONE_S
        return True


class Share(NamedTuple):
    """One claim's share of a group: its entries, and the writer for them."""

    writer: Writer
    entries: list[Entry]


class Committer:
    """Lives on the event loop; one group at a time is committed, in a thread of *executor*."""

    def __init__(
        self,
        executor: Executor,
        has_room: Callable[[], bool],
        observe: Callable[[float], None],
        sync_all: Callable[[], None] | None = None,
    ) -> None:
        """*sync_all* makes everything written to the disk durable, or raises OSError."""
        self.full = False
        """Whether the disk has no room: nothing is committed, and nothing is lost."""
        self.began = 0.0
        """When the last group began, by the event loop's clock."""
        self._executor = executor
        self._has_room = has_room
        self._observe = observe
        self._together = Together(sync_all)
        self._loop = asyncio.get_running_loop()
        self._waiting: dict[JournalClaim, None] = {}
        self._bytes = 0
        self._running = False
        self._flush = False
        self._closed = False
        self._timer: asyncio.TimerHandle | None = None

    def __repr__(self) -> str:
        state = "closed" if self._closed else "running" if self._running else "idle"
        full = ", disk full" if self.full else ""
        return (
            f"<Committer {state}, {len(self._waiting)} streams with {self._bytes} bytes wait{full}>"
        )

    def add(self, claim: JournalClaim, size: int) -> None:
        """Note that *claim* has *size* more bytes to commit."""
        self._waiting[claim] = None
        self._bytes += size
        if self._timer is None or self._bytes >= GROUP_BYTES:
            self._schedule()

    def flush_soon(self) -> None:
        """Commit at once, or after the group under way: a sender waits for it."""
        self._flush = True
        self._schedule()

    def close(self) -> None:
        """Start no more groups; the group under way is finished."""
        self._closed = True
        if self._timer is not None:
            self._timer.cancel()

    def _schedule(self) -> None:
        if self._running or self._closed or not self._waiting:
            return
        if not self.full and (self._flush or self._bytes >= GROUP_BYTES):
            self._start()
        elif self._timer is None:
            delay = RETRY_S if self.full else GROUP_S
            self._timer = self._loop.call_later(delay, self._start)

    def _start(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        claims, self._waiting = list(self._waiting), {}
        size, self._bytes, self._flush, self._running = self._bytes, 0, False, True
        self.began = self._loop.time()
        group = [claim.take() for claim in claims]
        future = self._loop.run_in_executor(self._executor, self._commit, group)
        future.add_done_callback(lambda done: self._finish(claims, group, size, done))

    def _finish(
        self,
        claims: list[JournalClaim],
        group: list[Share],
        size: int,
        done: asyncio.Future[tuple[float, list[Outcome]]],
    ) -> None:
        self._running = False
        if fault := done.exception():  # a defect of the receiver: every stream in the group fails
            outcomes: list[Outcome] = [StorageFailed(f"journal: {fault!r}") for _ in group]
        else:
            seconds, outcomes = done.result()
            self._observe(seconds)
            log.debug(
                "group_committed",
                streams=len(group),
                bytes=size,  # new since the last group; 0 if a full disk is tried again
                failed=len(outcomes) - outcomes.count(None),
                elapsed=round(seconds, 6),
            )
        self.full = any(isinstance(each, DiskFull) for each in outcomes)
        for claim, (_, entries), error in zip(claims, group, outcomes, strict=True):
            if error is None:
                claim.committed(entries)
            else:
                claim.refused(entries, error)
        self.full = self.full and bool(self._waiting)  # if no claim will try again, assume room
        self._schedule()

    def _commit(self, group: list[Share]) -> tuple[float, list[Outcome]]:
        """Commit *group* in a thread; no other thread uses its writers meanwhile."""
        began = time.monotonic()
        if not self._has_room():
            return 0.0, [DiskFull("the reserve of the disk is reached") for _ in group]
        outcomes = [_outcome(writer.append, entries) for writer, entries in group]
        synced = self._together.sync(len(group))
        for index, (writer, entries) in enumerate(group):
            if outcomes[index] is None:
                outcomes[index] = _outcome(partial(writer.settle, synced=synced), entries)
        return time.monotonic() - began, outcomes


def _outcome(step: Callable[[list[Entry]], None], entries: list[Entry]) -> Outcome:
    try:
        if entries:
            step(entries)
    except WireError as exc:
        return exc
    return None
