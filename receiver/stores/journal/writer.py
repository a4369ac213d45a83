"""Writing: one claim's segments, and what it takes before a chunk may be acknowledged."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import suppress
from functools import partial
from pathlib import Path
from typing import Final, NamedTuple, TypeAlias

from sonoduct.wire import Buffer, Chunk, Fenced, Hello, Receipt, StorageFailed, WireError, records

from .disk import Disk, DiskFull, after, is_full
from .layout import Part


class End(NamedTuple):
    """The record that completes a stream; it becomes durable with the chunks before it."""

    message: Buffer
    end: int
    """The unit after the last one, as that of a chunk."""


Entry: TypeAlias = Chunk | End


def ending(epoch: int, receipt: Receipt) -> End:
    """Return what completes a stream with *receipt*."""
    return End(records.end(epoch, receipt), receipt.units)


class SegmentFile:
    """A file to append to. Every method but `close` raises OSError if the disk refuses."""

    def __init__(self, disk: Disk, path: Path) -> None:
        """
        Create the file.

        Raises:
            FileExistsError: if there is one: of several that try, one succeeds.
        """
        self.size = 0
        """Bytes that were appended."""
        self.torn = 0
        """Bytes behind them, of an append that failed in the middle."""
        self._disk = disk
        self._path = path
        self._handle = disk.create(path)

    @property
    def linked(self) -> bool:
        """Whether the file still has a name."""
        return self._disk.linked(self._handle)

    def append(self, buffers: Sequence[Buffer]) -> None:
        """
        Write *buffers*; after an error, the same call writes what is missing of them.

        What is there is not taken back: a newer claim may have read it, and rely on it.
        """
        try:
            self._disk.write(self._handle, after(buffers, self.torn))
        except OSError:
            with self._disk.read(self._path) as file:
                self.torn = file.seek(0, 2) - self.size
            raise
        self.size += sum(len(each) for each in buffers)
        self.torn = 0

    def sync(self) -> None:
        """Make durable what was appended. An error is final."""
        self._disk.sync(self._handle)

    def close(self) -> None:
        """Let go of the file."""
        with suppress(OSError):  # it is closed all the same, and what matters was synced
            self._disk.close(self._handle)


ROLL_BYTES: Final = 64 * 1024 * 1024
"""A segment is followed by another from this size on: only the last one is ever read by a claim."""


class Writer:
    """
    The right to append to a stream, from a fence until a newer one. It blocks; call it in a thread.

    After any error but DiskFull it is of no use any more; the stream goes on with a new claim.
    """

    def __init__(
        self, disk: Disk, folder: Path, hello: Hello, epoch: int, *, roll_bytes: int = ROLL_BYTES
    ) -> None:
        """
        Put up the fence: create the first segment of *epoch*.

        Raises:
            FileExistsError: if somebody else has just claimed that epoch.
        """
        self.epoch = epoch
        self.durable = 0
        """The unit before which everything survives a power cut."""
        self._disk = disk
        self._folder = folder
        self._hello = hello
        self._roll_bytes = roll_bytes
        self._number = 0
        self._ended = False
        self._failure: WireError | None = None
        self._next: SegmentFile | None = None
        self._file: SegmentFile | None = SegmentFile(disk, self._path(0))

    def open(self, base: int) -> None:
        """
        Start the first segment at unit *base*.

        Raises:
            Fenced: if a newer claim exists.
            StorageFailed: if the disk refuses.
        """
        self.durable = base
        self._open()
        self.require_latest()

    def commit(self, entries: Sequence[Entry]) -> None:
        """Append *entries* and make them durable. Raises as `append` and `settle` do."""
        self.append(entries)
        self.settle(entries)

    def append(self, entries: Sequence[Entry]) -> None:
        """
        Write *entries*, which are not durable by that; nothing may follow an `End`.

        Raises:
            DiskFull: if there is no room.
            StorageFailed: if the disk refuses otherwise.
        """
        if self._current().size >= self._roll_bytes:
            self._roll()
        if not self._current().size:
            self._open()
        self._append(*(entry.message for entry in entries))
        self._ended = isinstance(entries[-1], End)

    def settle(self, entries: Sequence[Entry], *, synced: bool = False) -> None:
        """
        Make *entries*, which were written, durable; only after this they may be acknowledged.

        *synced* says that they are, since everything on the disk is.

        Raises:
            Fenced: if a newer claim exists; it does not see these entries, or it counts them.
            StorageFailed: if the disk refuses.
        """
        if not synced:
            self._sync()
        self.require_latest()
        self.durable = entries[-1].end

    def close(self) -> None:
        """
        Say that the claim ends here, unless an `End` does, so that nobody need read the segment.

        Raises:
            StorageFailed: if that could not be written; the files are closed in any case.
        """
        try:
            if self._may_close:
                self._append(records.closing(self.epoch, self.durable))
                self._sync()
        finally:
            self.drop()

    def sign(self) -> None:
        """Show other receivers that somebody is at work, although nothing comes."""
        with suppress(OSError):  # they will see it the next time
            self._disk.touch(self._path(self._number))

    def drop(self) -> None:
        """Let go of the files as they are."""
        for file in filter(None, (self._file, self._next)):
            file.close()
        self._file = self._next = None

    def require_latest(self) -> None:
        """
        Check that nobody has claimed the stream since, or completed and removed it.

        Between a sync and an ack: a claim that comes later than this has the synced bytes in its
        scan, and one that came earlier is seen here.

        Raises:
            Fenced: if somebody has.
        """
        file = self._current()
        try:
            latest = not self._has_newer() and file.linked
        except OSError as exc:
            raise self._poison(exc) from exc
        if not latest:
            self._failure = Fenced("a newer connection has claimed the stream")
            raise self._failure

    def _path(self, number: int) -> Path:
        return self._folder / Part(self.epoch, number).name

    def _has_newer(self) -> bool:
        return self._disk.exists(self._folder / Part(self.epoch + 1, 0).name)

    @property
    def _may_close(self) -> bool:
        return (
            self._file is not None
            and bool(self._file.size)
            and not (self._file.torn or self._ended)
        )

    def _current(self) -> SegmentFile:
        if self._failure is not None:
            raise self._failure
        if self._file is None:
            raise Fenced("the claim has ended")
        return self._file

    def _open(self) -> None:
        self._append(records.opening(self.epoch, self.durable, self._hello))
        self._sync()
        # After the file: its sync has written the file system's journal, so these hardly wait.
        for folder in (self._folder, self._folder.parent):
            self._insist(partial(self._disk.sync_folder, folder))

    def _roll(self) -> None:
        """Go on in another file. Any step may find the disk full, and is done again then."""
        if self._next is None:
            try:
                self._next = SegmentFile(self._disk, self._path(self._number + 1))
            except OSError as exc:
                raise self._refusal(exc) from exc
        self._append(records.closing(self.epoch, self.durable))
        self._sync()
        self._current().close()
        self._file, self._next = self._next, None
        self._number += 1

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
            return DiskFull(f"{self._folder.name}: {exc.strerror}")
        return self._poison(exc)

    def _poison(self, exc: OSError) -> StorageFailed:
        """
        Give the segment up: what was not synced before may be lost although it can still be read.

        Syncing again would succeed and prove nothing. It is not cut off: a newer claim may have
        synced and read it anew, and rely on what turned out to be there.
        """
        self._failure = failure = StorageFailed(f"{self._folder.name}: {exc.strerror}")
        self.drop()
        return failure
