"""The care of journals while no sender is connected: recordings, expiry, forgetting."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Iterable
from contextlib import suppress
from dataclasses import dataclass
from itertools import chain
from math import inf
from operator import attrgetter
from pathlib import Path
from typing import Final, NamedTuple

import structlog

from sonoduct.wire import Fenced, StorageFailed

from .ages import Ages
from .disk import Facts
from .done import clear_left, forget, give_up, is_over
from .journal import DONE, Done, Journal, State
from .layout import Layout
from .recordings import Recorder, RecordingOptions

QUIET_S: Final = 10.0
"""Seconds without a write after which the janitor finishes a complete journal itself."""

AWAY_S: Final = 300.0
"""Seconds without a write after which a stream's sender counts as away."""

SAME_S: Final = 2.0
"""A file that is so much younger than a look may be newer: clocks of files are coarse."""

RECEIPT_BYTES: Final = 100
"""A shorter ``done.json`` has no receipt."""

STALE_S: Final = 6 * 3600.0
"""
Seconds without a write after which a draft counts as left behind.

A finished draft is read once more before it gets its name: 64 GiB at 10 MB/s take less than two
hours.
"""

log = structlog.get_logger()


@dataclass(frozen=True)
class Retention:
    """How long things are kept."""

    expiry_s: float
    """Seconds that a stream waits for its sender."""
    memory_s: float
    """Seconds for which the answer to a finished stream is kept, in case it is sent again."""
    waiting_share: float = 1.0
    """Share of the disk's bytes, and of its inodes, for streams whose senders are away."""


class Swept(NamedTuple):
    """The result of a sweep."""

    young: list[Journal]
    """Journals that were written to a moment ago: if they are complete, they are finished soon."""

    seconds: float
    """Length of the sweep, without the recordings that it made."""

    over: bool
    """Whether the round is over: the next sweep begins with the first shelf."""


class Waiting(NamedTuple):
    """A journal without an end, at the last look."""

    since: float
    """When it was written to last, by the steady clock."""
    size: int
    """Bytes that it takes on the disk."""
    inodes: int
    journal: Journal
    token: str
    """Name of the token that it belongs to."""


class Look(NamedTuple):
    """The last look at a shelf."""

    at: float
    """When it began, by the steady clock."""
    unsettled: set[str]
    """Ended streams that need another visit."""


class Janitor:
    """Looks at journals, shelf by shelf, and does what is due. It blocks; use it in a thread."""

    def __init__(
        self,
        layout: Layout,
        options: RecordingOptions,
        retention: Retention,
        watched: Callable[[], float] = lambda: inf,
        ages: Ages | None = None,
        sync_all: Callable[[], None] | None = None,
    ) -> None:
        """
        *watched* returns the seconds for which senders could have come back.

        After a weekend without a receiver, nothing expires before senders have had their time.
        *ages* tell how old files are if the clock is set meanwhile. *sync_all* makes everything
        written to the disk durable, or raises OSError.
        """
        self._layout = layout
        self._disk = layout.disk
        self._retention = retention
        self._watched = watched
        self._ages = ages or Ages()
        self._recorder = Recorder(layout, options, self.require_running, sync_all)
        self._stopping = False
        self._recording_s = 0.0  # time that the current sweep has spent on recordings
        self._shelves: list[str] = []  # that this round has not come to
        self._looks: dict[str, Look] = {}
        self._open: dict[str, list[Waiting]] = {}
        self.waiting: dict[Journal, float] = {}
        """Since when each complete journal of this process waits for its recording."""
        self.written = self.written_bytes = self.failed = 0
        """Recordings that were written, and attempts that failed."""

    @property
    def open_journals(self) -> list[tuple[int, int]]:
        """For each shelf, its journals without an end, and their bytes, at the last look."""
        shelves = list(self._open.values())
        return [(len(each), sum(waiting.size for waiting in each)) for each in shelves]

    def waiting_bytes(self, token: str) -> int:
        """Return the bytes of open journals of *token*, at the last look; any thread may ask."""
        shelves = list(self._open.values())
        return sum(each.size for each in chain.from_iterable(shelves) if each.token == token)

    def sweep(self, most_s: float = inf) -> Swept:
        """
        Look at the next shelves, and finish, expire or forget their journals if that is due.

        A sweep ends with the round, or with the shelf at which it has taken *most_s* seconds.
        """
        self._recording_s, began = 0.0, time.monotonic()
        young: list[Journal] = []
        try:
            if not self._shelves:
                self._remove_drafts(self._layout.audio)
                self._shelves = self._layout.shelves()[::-1]
            while self._shelves:
                young += self._look_at(self._shelves.pop())
                if self._seconds(began) > most_s:
                    break
            if not self._shelves:
                self._shed()
        except StorageFailed:
            pass  # the receiver stops
        except OSError as exc:  # from the store itself; the next sweep may do better
            log.error("store_failed", reason=str(exc))
        return Swept(young, self._seconds(began), not self._shelves)

    def sweep_again(self, journals: Iterable[Journal]) -> list[Journal]:
        """Look at *journals*, which were young the last time; return the ones that still are."""
        with suppress(StorageFailed):  # the receiver stops
            self.require_running()
            return [journal for journal in journals if self._visit(journal)]
        return []

    def finish(self, *journals: Journal) -> None:
        """Make the recordings of complete journals, in groups; a failure is tried again later."""
        for journal, made in self._recorder.record_all(journals):
            if isinstance(made, StorageFailed):
                self.failed += 1
                log.error("recording_failed", stream=journal.stream, reason=str(made))
                continue
            if made is not None:
                self.waiting.pop(journal, None)
                self.written += 1
                self.written_bytes += self._disk.size(made)
                log.info("recording_written", stream=journal.stream, path=str(made))

    def cancel(self, journal: Journal, epoch: int) -> None:
        """
        Remove the audio of a stream that its sender gave up, and remember that.

        Raises:
            Fenced: if a claim after *epoch* exists; the stream no longer belongs to this sender.
            StorageFailed: if the disk refuses.
        """
        try:
            if not give_up(journal, State.CANCELLED, epoch + 1):
                raise Fenced("a newer connection has claimed the stream")
        except OSError as exc:
            raise StorageFailed(f"{journal.stream}: {exc.strerror}") from exc

    def stop(self) -> None:
        """Leave the rest to the next start (called from another thread)."""
        self._stopping = True

    def require_running(self) -> None:
        """
        Check that the receiver has not begun to stop.

        Raises:
            StorageFailed: if it has.
        """
        if self._stopping:
            raise StorageFailed("the receiver stops; the next start continues")

    def _seconds(self, began: float) -> float:
        return time.monotonic() - began - self._recording_s

    def _look_at(self, shelf: str) -> list[Journal]:
        """Visit each journal on *shelf* that may need it; return the ones that are too young."""
        last, look = self._looks.get(shelf), Look(time.monotonic(), set())
        young: list[Journal] = []
        waiting: list[Waiting] = []
        for stream, facts in self._layout.ends(shelf):
            self.require_running()
            if facts is None:
                waiting += self._waiting_of(self._layout.journal(stream))
            if facts is not None and self._is_settled(stream, facts, last, look):
                continue
            journal = self._layout.journal(stream)
            again = self._visit(journal)
            if facts is None and again:
                young.append(journal)
            elif facts is not None and again is not False:
                look.unsettled.add(stream)
        self._looks[shelf], self._open[shelf] = look, waiting
        return young

    def _waiting_of(self, journal: Journal) -> list[Waiting]:
        """Return what an open journal takes; nothing if it has no segment, or is gone."""
        try:
            if parts := journal.parts():
                since = time.monotonic() - self._idle(journal.path(parts[-1]))
                last = journal.last_segment()
                token = last.origin.token if last is not None else ""
                return [Waiting(since, journal.size(), len(parts) + 1, journal, token)]
        except StorageFailed:
            pass  # the visit says what is wrong
        except FileNotFoundError:
            pass  # another receiver that shares the store was faster
        except OSError as exc:
            log.error("journal_failed", stream=journal.stream, reason=str(exc))
        return []

    def _shed(self) -> None:
        """
        Give up streams whose senders are away, the oldest first, until the others have their share.

        Otherwise clients that send a frame and go would fill the disk for as long as streams wait.
        """
        room, share = self._disk.room(self._layout.root), self._retention.waiting_share
        shelves = self._open.values()
        every = sorted(chain.from_iterable(shelves), key=attrgetter("since"))
        size, inodes = sum(each.size for each in every), sum(each.inodes for each in every)
        limit = time.monotonic() - AWAY_S
        for since, its_size, its_inodes, journal, _ in every:
            if size <= share * room.total_bytes and inodes <= share * room.total_inodes:
                return
            if since > limit:
                return
            with suppress(FileNotFoundError, StorageFailed):
                parts = journal.parts()
                if parts and not is_over(journal):
                    if not give_up(journal, State.EXPIRED, parts[-1].epoch + 1):
                        continue
                    log.warning("stream_expired", stream=journal.stream, reason="no room to wait")
                size, inodes = size - its_size, inodes - its_inodes

    def _is_settled(self, stream: str, facts: Facts, last: Look | None, look: Look) -> bool:
        """Whether the ended *stream* needs no visit: it had one since it ended, and is not due."""
        if last is None or stream in last.unsettled:
            return False
        age = self._ages.steady(facts.idle)
        memory = self._memory_s(committed=facts.size >= RECEIPT_BYTES)
        return look.at - last.at + SAME_S < age <= memory

    def _memory_s(self, *, committed: bool) -> float:
        return self._retention.memory_s if committed else self._retention.expiry_s

    def _visit(self, journal: Journal) -> bool | None:
        """Do the work that is due; return whether some is left, or None if that is not known."""
        try:
            return self._sweep_one(journal)
        except FileNotFoundError:
            pass  # another receiver that shares the store was faster
        except (OSError, StorageFailed) as exc:
            log.error("journal_failed", stream=journal.stream, reason=str(exc))
        return None

    def _sweep_one(self, journal: Journal) -> bool:
        if (done := journal.done()) is not None:
            self.waiting.pop(journal, None)  # if another receiver has made its recording
            if self._disk.names(journal.folder) == [DONE] and not self._is_due(journal, done):
                return False
            with journal.lock() as mine:
                if mine:
                    self._tidy(journal)
            return True
        parts = journal.parts()
        if not parts:
            self._disk.remove_folder(journal.folder)
            return False
        idle = self._idle(journal.path(parts[-1]))
        if 0 <= idle <= QUIET_S:
            return True  # too young
        began = time.monotonic()
        self.finish(journal)
        self._recording_s += time.monotonic() - began
        expired = min(idle, self._watched()) > self._retention.expiry_s and not is_over(journal)
        if expired and give_up(journal, State.EXPIRED, parts[-1].epoch + 1):
            log.warning("stream_expired", stream=journal.stream)
        # An end that a newer claim has outlived would hide the open stream from the next looks.
        return self._disk.exists(journal.folder / DONE)

    def _is_due(self, journal: Journal, done: Done) -> bool:
        """Whether the ended stream is to be forgotten."""
        memory = self._memory_s(committed=done.state is State.COMMITTED)
        return self._idle(journal.folder / DONE) > memory

    def _tidy(self, journal: Journal) -> None:
        """
        Remove the rest of a stream that is over, and in time the memory of it.

        The caller holds the lock. The journal is read again under the lock: another receiver may
        have forgotten the stream meanwhile, and a new one may have begun in the same folder.
        """
        if (done := journal.done()) is None:
            return
        clear_left(journal)
        self._remove_drafts(journal.folder)
        if self._is_due(journal, done):
            forget(journal)

    def _remove_drafts(self, folder: Path) -> None:
        """Remove the drafts that a crash has left in *folder*."""
        for name in self._disk.names(folder):
            with suppress(FileNotFoundError):
                if name.startswith(".") and self._idle(folder / name) > STALE_S:
                    self._disk.remove(folder / name)

    def _idle(self, path: Path) -> float:
        """Return the seconds since *path* was written to, even if the clock was set since."""
        return self._ages.steady(self._disk.idle(path))


PAUSE_S: Final = 0.1
"""Recordings begin after a pause of this length without a commit."""

LATEST_S: Final = 5.0
"""A recording waits no longer than this: live streams leave no pause."""


class RecordingQueue:
    """
    Journals that are complete, in the order of their receipts. Lives on the event loop.

    A recording costs as much as receiving its stream did, and it can wait, unlike a receipt. If
    recordings wait for a pause, a thousand short files get their receipts in two thirds of the
    time.
    """

    def __init__(
        self,
        record: Callable[[list[Journal]], object],
        last_commit: Callable[[], float],
        waiting: dict[Journal, float],
    ) -> None:
        """
        *record* begins to make recordings; *last_commit* is by the event loop's clock.

        *waiting* gets the time of each journal, by the steady clock.
        """
        self._waiting = waiting
        self._record = record
        self._last_commit = last_commit
        self._loop = asyncio.get_running_loop()
        self._due: dict[Journal, float] = {}
        self._timer: asyncio.TimerHandle | None = None

    def add(self, journal: Journal) -> None:
        """Add a journal that is complete."""
        self._due.setdefault(journal, self._loop.time())
        self._waiting.setdefault(journal, time.monotonic())
        if self._timer is None:
            self._timer = self._loop.call_later(PAUSE_S, self._check)

    def flush(self) -> None:
        """Begin with all of them."""
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        due, self._due = list(self._due), {}
        self._record(due)

    def _check(self) -> None:
        now, oldest = self._loop.time(), next(iter(self._due.values()))
        if now - self._last_commit() >= PAUSE_S or now - oldest >= LATEST_S:
            self.flush()
        else:
            self._timer = self._loop.call_later(PAUSE_S, self._check)
