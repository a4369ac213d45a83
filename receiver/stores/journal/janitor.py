"""What happens to journals that nobody is connected to: recordings, expiry, forgetting."""

from __future__ import annotations

import asyncio
import time
from collections import deque
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from math import inf
from pathlib import Path
from typing import Final, NamedTuple

import structlog

from sonoduct.audio.decoding import DecodeOptions
from sonoduct.audio.recording import Container
from sonoduct.wire import Fenced, Hello, StorageFailed

from .disk import Disk
from .done import State, clear_left, forget, give_up, is_over, read_done
from .layout import DONE, Layout, parts
from .original import Work
from .recordings import finish

JUMP_S: Final = 2.0
"""A smaller difference between the two clocks is drift."""

JUMPS: Final = 64
"""Jumps that are remembered; the oldest go first."""


class Ages:
    """
    Takes jumps of the wall clock out of the ages of files that were written before them.

    A clock that is set back makes files younger, which costs time and no audio. One that is set
    forward makes them older: without this, streams would expire whose senders were away for a
    moment.
    """

    def __init__(
        self, wall: Callable[[], float] = time.time, steady: Callable[[], float] = time.monotonic
    ) -> None:
        """*wall* dates files; *steady* goes on by one second in each second."""
        self._wall = wall
        self._steady = steady
        self._difference = wall() - steady()
        self._jumps: deque[tuple[float, float]] = deque(maxlen=JUMPS)
        """Each with the wall clock's time before it, and its seconds."""

    def steady(self, age: float) -> float:
        """Return the seconds that a file of *age* by the wall clock has really existed."""
        now = self._wall()
        difference = now - self._steady()
        jump, written = difference - self._difference, now - age
        if abs(jump) > JUMP_S:
            self._difference = difference
            if jump > 0:
                self._jumps.append((now - jump, jump))
        return age - sum(seconds for before, seconds in self._jumps if written <= before)


log = structlog.get_logger()

QUIET_S: Final = 10.0
"""A complete journal that is older was left by a receiver that did not come to finish it."""

STALE_S: Final = 6 * 3600.0
"""
A draft that nobody has written to for so long has lost its writer.

It is read once more before it gets its name: 64 GiB at 10 MB/s are not two hours.
"""


@dataclass(frozen=True)
class Keeping:
    """How long things are kept, and in which form."""

    container: Container
    expiry_s: float
    """Of a stream whose sender does not come back."""
    memory_s: float
    """Of the answer to a sender that sends a finished stream again."""
    means: DecodeOptions = field(default_factory=DecodeOptions)
    """What files are decoded with."""
    keep_original: bool = False
    """Whether a file is kept beside its recording."""


class Tended(NamedTuple):
    """What a look at every journal gave."""

    young: list[Path]
    """Journals that were written to a moment ago: if they are complete, they are finished soon."""

    seconds: float
    """What the look took, without the recordings that it made."""


class Keeper:
    """Looks after the journals of a store. It blocks; call it in a thread."""

    def __init__(
        self,
        disk: Disk,
        layout: Layout,
        keeping: Keeping,
        watched: Callable[[], float] = lambda: inf,
        ages: Ages | None = None,
    ) -> None:
        """
        *watched* returns the seconds for which senders could have come back.

        After a weekend without a receiver nothing expires before they have had their time.
        *ages* tell how old files are if the clock is set meanwhile.
        """
        self._ages = ages or Ages()
        self._disk = disk
        self._layout = layout
        self._keeping = keeping
        self._watched = watched
        self._stopping = False
        self._recording_s = 0.0  # of the look that is under way, spent with recordings
        self._work = Work(self.require_time, keeping.means, keeping.keep_original)

    def stop(self) -> None:
        """Leave the rest to the next start (called from another thread)."""
        self._stopping = True

    def finish(self, folder: Path) -> None:
        """Make the recording of a journal, if it is complete; what fails is tried again later."""
        try:
            recording = finish(
                self._disk, self._layout, folder, self._keeping.container, self._work
            )
        except StorageFailed as exc:
            log.error("recording_failed", stream=folder.name, reason=str(exc))
            return
        if recording is not None:
            log.info("recording_written", stream=folder.name, path=str(recording))

    def tend(self) -> Tended:
        """Look at every journal once: finish, expire or forget what is due."""
        self._recording_s, began = 0.0, time.monotonic()
        young: list[Path] = []
        try:
            self._sweep(self._layout.audio)
            for folder in self._layout.folders(self._disk):
                self.require_time()
                if self._look_at(folder):
                    young.append(folder)
        except StorageFailed:
            pass  # the receiver stops
        except OSError as exc:  # of the store itself; the next time may do better
            log.error("store_failed", reason=str(exc))
        return Tended(young, time.monotonic() - began - self._recording_s)

    def look_again(self, folders: Sequence[Path]) -> list[Path]:
        """Look at *folders*, which were young the last time; return those that still are."""
        with suppress(StorageFailed):  # the receiver stops
            self.require_time()
            return [folder for folder in folders if self._look_at(folder)]
        return []

    def require_time(self) -> None:
        """
        Go on only while the receiver runs.

        Raises:
            StorageFailed: if it stops.
        """
        if self._stopping:
            raise StorageFailed("the receiver stops; the next start goes on")

    def cancel(self, hello: Hello, epoch: int) -> None:
        """
        Remove the audio of a stream that its sender gave up, and remember that.

        Raises:
            Fenced: if somebody has claimed the stream after *epoch*; it is no longer the sender's.
            StorageFailed: if the disk refuses.
        """
        folder = self._layout.folder(hello.stream)
        try:
            if not give_up(self._disk, folder, State.CANCELLED, epoch + 1):
                raise Fenced("a newer connection has claimed the stream")
        except OSError as exc:
            raise StorageFailed(f"{folder.name}: {exc.strerror}") from exc

    def _look_at(self, folder: Path) -> bool:
        """Do what is due; return whether the journal is too young for a part of it."""
        try:
            return self._tend(folder)
        except FileNotFoundError:
            pass  # another receiver that shares the store was faster
        except (OSError, StorageFailed) as exc:
            log.error("journal_failed", stream=folder.name, reason=str(exc))
        return False

    def _tend(self, folder: Path) -> bool:
        disk = self._disk
        if read_done(disk, folder) is not None:
            with disk.lock(folder) as mine:
                if mine:
                    self._tidy(folder)
            return False
        found = parts(disk, folder)
        if not found:
            disk.remove_folder(folder)
            return False
        idle = self._idle(folder / found[-1].name)
        if 0 <= idle <= QUIET_S:
            return True
        began = time.monotonic()
        self.finish(folder)
        self._recording_s += time.monotonic() - began
        if min(idle, self._watched()) > self._keeping.expiry_s:
            self._expire(folder, found[-1].epoch + 1)
        return False

    def _idle(self, path: Path) -> float:
        """Return the seconds since *path* was written to, whatever the clock was set to since."""
        return self._ages.steady(self._disk.idle(path))

    def _tidy(self, folder: Path) -> None:
        """
        Remove what a crash has left of a stream that is over, and in time the memory of it.

        Under the lock, and looked at again: somebody who slept may otherwise remove what came after
        the stream was forgotten.
        """
        if (done := read_done(self._disk, folder)) is None:
            return
        clear_left(self._disk, folder)
        self._sweep(folder)
        committed = done.state is State.COMMITTED
        memory = self._keeping.memory_s if committed else self._keeping.expiry_s
        if self._idle(folder / DONE) > memory:
            forget(self._disk, folder)

    def _sweep(self, folder: Path) -> None:
        """Remove the drafts that a crash has left in *folder*."""
        for name in self._disk.names(folder):
            with suppress(FileNotFoundError):
                if name.startswith(".") and self._idle(folder / name) > STALE_S:
                    self._disk.remove(folder / name)

    def _expire(self, folder: Path, epoch: int) -> None:
        if not is_over(self._disk, folder) and give_up(self._disk, folder, State.EXPIRED, epoch):
            log.warning("stream_expired", stream=folder.name)


PAUSE_S: Final = 0.1
"""Without a commit, and there is time for recordings."""

LATEST_S: Final = 5.0
"""A recording waits no longer: with live streams there never is a pause."""


class Backlog:
    """
    Journals that are complete, in the order of their receipts. Lives on the event loop.

    A recording costs as much as receiving its stream did, and nobody waits for it as its sender
    waits for a receipt: a thousand short files have theirs in two thirds of the time.
    """

    def __init__(self, record: Callable[[Path], object], last_commit: Callable[[], float]) -> None:
        """*record* begins to make a recording; *last_commit* is by the event loop's clock."""
        self._record = record
        self._last_commit = last_commit
        self._loop = asyncio.get_running_loop()
        self._due: dict[Path, float] = {}
        self._timer: asyncio.TimerHandle | None = None

    def add(self, folder: Path) -> None:
        """The journal in *folder* is complete."""
        self._due.setdefault(folder, self._loop.time())
        if self._timer is None:
            self._timer = self._loop.call_later(PAUSE_S, self._look)

    def flush(self) -> None:
        """Begin with all of them."""
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        due, self._due = self._due, {}
        for folder in due:
            self._record(folder)

    def _look(self) -> None:
        now, oldest = self._loop.time(), next(iter(self._due.values()))
        if now - self._last_commit() >= PAUSE_S or now - oldest >= LATEST_S:
            self.flush()
        else:
            self._timer = self._loop.call_later(PAUSE_S, self._look)
