"""
Writing: a claim appends to its segments, and makes them durable before anything is acknowledged.

The rule of every acknowledgement: write, sync, then check that no newer claim exists.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import suppress
from functools import partial
from pathlib import Path
from typing import Final, NamedTuple, TypeAlias

from sonoduct.wire import Buffer, Chunk, Fenced, Hello, Receipt, StorageFailed, WireError, records

from .disk import DiskFull, PosixDisk, is_full, unwritten
from .journal import Journal
from .reader import Part

ROLL_BYTES: Final = 3 * 1024 * 1024
ROLL_RECORDS: Final = 4096
"""
Size and records from which a writer starts another segment: a claim reads only the last one.

With one record more, of 1 MiB at most, a segment has no more than 4 MiB. To read 4096 records
takes some 7 ms.
"""

BULK_BYTES: Final = 256 * 1024
"""
Size of the rest of a commit from which a later segment is reserved as a whole.

One call instead of blocks for each commit saves a sixth of the CPU; live streams would take disk
space that they need only a minute later.
"""


class End(NamedTuple):
    """The record that completes a stream; it becomes durable with the chunks before it."""

    message: Buffer
    end: int
    """The unit after the stream's last one, as in a chunk."""


Entry: TypeAlias = Chunk | End


def ending(epoch: int, receipt: Receipt) -> End:
    """Return the record that completes a stream with *receipt*."""
    return End(records.end(epoch, receipt), receipt.units)


class Writer:
    """
    The right to append to a stream, from its fence until a newer one. It blocks; use it in threads.

    After any error but DiskFull a writer is of no more use; the stream continues with a new claim.
    """

    def __init__(
        self,
        journal: Journal,
        hello: Hello,
        epoch: int,
        origin: records.Origin | None = None,
        *,
        roll_bytes: int = ROLL_BYTES,
        roll_records: int = ROLL_RECORDS,
    ) -> None:
        """
        Put up the fence: create the first segment of *epoch*.

        Raises:
            FileExistsError: if another connection has just claimed that epoch.
        """
        self.epoch = epoch
        self.durable = 0
        """The unit before which everything survives a power cut."""
        self._journal = journal
        self._disk = journal.disk
        self._hello = hello
        self._origin = origin
        self._roll_bytes = roll_bytes
        self._roll_records = roll_records
        self._reached = 0  # the unit after the last record that was written whole
        self._unsettled = 0  # entries that were written whole, and are not settled
        self._number = 0
        self._ended = False
        self._failure: WireError | None = None
        self._next: SegmentFile | None = None
        self._file: SegmentFile | None = SegmentFile(self._disk, self._path(0))

    def __repr__(self) -> str:
        state = repr(self._failure) if self._failure else "open" if self._file else "closed"
        return (
            f"<Writer {self._journal.stream} epoch {self.epoch}, {self.durable} durable, {state}>"
        )

    def open(self, base: int) -> None:
        """
        Start the first segment at unit *base*.

        Raises:
            Fenced: if a newer claim exists.
            StorageFailed: if the disk refuses.
        """
        self.durable = self._reached = base
        self._open()
        # The folders follow the file: its sync has flushed the file system's log, so they are fast.
        folder = self._journal.folder
        for each in (folder, folder.parent):
            self._insist(partial(self._disk.sync_folder, each))
        self.require_latest()

    def commit(self, entries: Sequence[Entry]) -> None:
        """Append *entries* and make them durable. Raises as `append` and `settle` do."""
        self.append(entries)
        self.settle(entries)

    def append(self, entries: Sequence[Entry]) -> None:
        """
        Write *entries*, which does not make them durable; nothing may follow an `End`.

        After DiskFull, a call with the same entries, and perhaps more, writes the rest of them.

        Raises:
            DiskFull: if there is no room.
            Fenced: if a newer claim exists; a writer looks for one before it starts a segment.
            StorageFailed: if the disk refuses otherwise.
        """
        rest = entries[self._unsettled :]
        while rest:
            if self._is_long():
                self._roll()
            if not self._current().size:
                self._continue(rest)
            share = rest[: self._room(rest)]
            self._append(*(entry.message for entry in share))
            self._unsettled += len(share)
            self._reached = share[-1].end
            rest = rest[len(share) :]
        self._ended = isinstance(entries[-1], End)

    def settle(self, entries: Sequence[Entry], *, synced: bool = False) -> None:
        """
        Make *entries*, which were written, durable; only after this they may be acknowledged.

        *synced* says that they are durable already, because the whole disk was synced.

        Raises:
            Fenced: if a newer claim exists; it does not see these entries, or it counts them.
            StorageFailed: if the disk refuses.
        """
        if not synced:
            self._sync()
        self.require_latest()
        self.durable, self._unsettled = entries[-1].end, 0

    def require_latest(self) -> None:
        """
        Check that no newer claim exists, and that no receiver has ended the stream.

        This comes between a sync and an acknowledgement. A claim that comes later has the synced
        bytes in its scan; a claim that came earlier is seen here.

        Raises:
            Fenced: if a newer claim exists, or the stream is over.
        """
        file = self._current()
        try:
            latest = not self._has_newer() and file.linked
        except OSError as exc:
            raise self._poison(exc) from exc
        if not latest:
            self._failure = Fenced("a newer connection has claimed the stream")
            raise self._failure

    def touch(self) -> None:
        """Show other receivers that this one is at work on the stream, although no audio comes."""
        with suppress(OSError):  # the next call shows it
            self._disk.touch(self._path(self._number))

    def seal(self) -> None:
        """
        Say that the claim ends here, unless an `End` says so; then a claim need not read it all.

        Raises:
            StorageFailed: if that could not be written; the files are closed in any case.
        """
        try:
            if self._may_seal:
                self._append(records.closing(self.epoch, self.durable))
                self._sync()
        finally:
            self.close()

    def close(self) -> None:
        """Close the files as they are."""
        for file in filter(None, (self._file, self._next)):
            file.close()
        self._file = self._next = None

    def _path(self, number: int) -> Path:
        return self._journal.path(Part(self.epoch, number))

    def _has_newer(self) -> bool:
        return self._disk.exists(self._journal.path(Part(self.epoch + 1, 0)))

    @property
    def _may_seal(self) -> bool:
        return (
            self._file is not None
            and bool(self._file.size)
            and not (self._file.torn or self._unsettled or self._ended)
        )

    def _current(self) -> SegmentFile:
        if self._failure is not None:
            raise self._failure
        if self._file is None:
            raise Fenced("the claim has ended")
        return self._file

    def _open(self) -> None:
        self._append(records.opening(self.epoch, self._reached, self._hello, self._origin))
        self._sync()

    def _is_long(self) -> bool:
        file = self._current()
        return file.size >= self._roll_bytes or file.records >= self._roll_records

    def _room(self, entries: Sequence[Entry]) -> int:
        """Return how many of *entries* the segment takes until it is long; one at least."""
        file = self._current()
        most, size = self._roll_records - file.records, file.size
        for count, entry in enumerate(entries, 1):
            size += len(entry.message)
            if size >= self._roll_bytes or count >= most:
                return count
        return len(entries)

    def _roll(self) -> None:
        """Continue in another file. Any step may find the disk full, and is repeated then."""
        if self._next is None:
            try:
                self._next = SegmentFile(self._disk, self._path(self._number + 1))
            except OSError as exc:
                raise self._refusal(exc) from exc
        if self._unsettled:  # a claim, or a reader, that finds the next part relies on this one
            self._sync()
        # If the stream was ended meanwhile, only the loss of this file says so: it goes first.
        self.require_latest()
        self._current().close()
        self._file, self._next = self._next, None
        self._number += 1

    def _continue(self, entries: Sequence[Entry]) -> None:
        """Open a later part; the first one has made the folder's own name durable."""
        if sum(len(entry.message) for entry in entries) >= BULK_BYTES:
            self._current().reserve(self._roll_bytes)
        self._open()
        self._insist(partial(self._disk.sync_folder, self._journal.folder))

    def _append(self, *buffers: Buffer) -> None:
        try:
            self._current().append(buffers)
        except OSError as exc:
            raise self._refusal(exc) from exc

    def _sync(self) -> None:
        self._insist(self._current().sync)

    def _insist(self, call: Callable[[], None]) -> None:
        try:
            call()
        except OSError as exc:
            raise self._poison(exc) from exc

    def _refusal(self, exc: OSError) -> StorageFailed:
        if is_full(exc):
            return DiskFull(f"{self._journal.stream}: {exc.strerror}")
        return self._poison(exc)

    def _poison(self, exc: OSError) -> StorageFailed:
        """
        Give the segment up: unsynced data may be lost although it can still be read.

        A second sync would succeed and prove nothing. The segment is not cut off either: a newer
        claim may have synced and read it, and rely on the audio that it found.
        """
        self._failure = failure = StorageFailed(f"{self._journal.stream}: {exc.strerror}")
        self.close()
        return failure


class SegmentFile:
    """A file that is appended to. Every method but `close` raises OSError if the disk refuses."""

    def __init__(self, disk: PosixDisk, path: Path) -> None:
        """
        Create the file.

        Raises:
            FileExistsError: if it exists; of several processes that try, one succeeds.
        """
        self.size = 0
        """Bytes that were appended."""
        self.records = 0
        """Buffers that were appended, each of which is a record."""
        self.torn = 0
        """Bytes behind them, from an append that failed halfway."""
        self._disk = disk
        self._path = path
        self._handle = disk.create(path)

    @property
    def linked(self) -> bool:
        """Whether the file still has a name."""
        return self._disk.linked(self._handle)

    def reserve(self, size: int) -> None:
        """Have the disk find room for *size* bytes at once; that makes appending cheaper."""
        self._disk.reserve(self._handle, size)

    def append(self, buffers: Sequence[Buffer]) -> None:
        """
        Write *buffers*; after an error, the same call again writes the rest of them.

        Nothing is cut off after an error: a newer claim may have read it, and rely on it.
        """
        try:
            self._disk.write(self._handle, unwritten(buffers, self.torn))
        except OSError:
            with self._disk.read(self._path) as file:
                self.torn = file.seek(0, 2) - self.size
            raise
        self.size += sum(len(each) for each in buffers)
        self.records += len(buffers)
        self.torn = 0

    def sync(self) -> None:
        """Make durable everything that was appended. An error is final."""
        self._disk.sync(self._handle)

    def close(self) -> None:
        """Close the file."""
        with suppress(OSError):  # it is closed all the same, and acknowledged data was synced
            self._disk.close(self._handle)
