"""Writing: one claim's segments, and what it takes before a chunk may be acknowledged."""

from __future__ import annotations

import errno
from collections.abc import Callable, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Final

from wire import Buffer, Chunk, Digest, Fenced, Hello, Receipt, StorageFailed, WireError, records

from .disk import Disk
from .layout import Part
from .segment import SegmentFile

ROLL_BYTES: Final = 64 * 1024 * 1024
"""A segment is followed by another from this size on: only the last one is ever read by a claim."""

_FULL: Final = (errno.ENOSPC, errno.EDQUOT)


class DiskFull(StorageFailed):
    """There is no room; nothing is lost, and the same call works, and no other, once there is."""


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
        self.digest: Digest | None = None
        """Of the whole stream, if it was written under this claim from its first unit."""
        self._disk = disk
        self._folder = folder
        self._hello = hello
        self._roll_bytes = roll_bytes
        self._number = 0
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
        self.digest = None if base else Digest()
        self._open()
        self.require_latest()

    def commit(self, chunks: Sequence[Chunk]) -> None:
        """Append *chunks* and make them durable. Raises as `append` and `settle` do."""
        self.append(chunks)
        self.settle(chunks)

    def append(self, chunks: Sequence[Chunk]) -> None:
        """
        Write *chunks*, which are not durable by that.

        Raises:
            DiskFull: if there is no room.
            StorageFailed: if the disk refuses otherwise.
        """
        if self._current().size >= self._roll_bytes:
            self._roll()
        if not self._current().size:
            self._open()
        self._append(*(chunk.message for chunk in chunks))

    def settle(self, chunks: Sequence[Chunk], *, synced: bool = False) -> None:
        """
        Make *chunks*, which were written, durable; only after this they may be acknowledged.

        *synced* says that they are, since everything on the disk is.

        Raises:
            Fenced: if a newer claim exists; it does not see these chunks, or it counts them.
            StorageFailed: if the disk refuses.
        """
        if not synced:
            self._sync()
        self.require_latest()
        self.durable = chunks[-1].end
        if self.digest is not None:
            for chunk in chunks:
                self.digest.update(chunk.offset, chunk.units, chunk.canonical)

    def end(self, receipt: Receipt) -> None:
        """Complete the stream, whose audio must be durable. Raises as `commit` does."""
        self._append(records.end(self.epoch, receipt))
        self._sync()
        self.require_latest()

    def close(self) -> None:
        """
        Say that the claim ends here, so that the next one need not read the segment.

        Raises:
            StorageFailed: if that could not be written; the files are closed in any case.
        """
        try:
            if self._file is not None and self._file.size and not self._file.torn:
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

    def _current(self) -> SegmentFile:
        if self._failure is not None:
            raise self._failure
        if self._file is None:
            raise Fenced("the claim has ended")
        return self._file

    def _open(self) -> None:
        self._append(records.opening(self.epoch, self.durable, self._hello))
        self._sync()
        self._insist(lambda: self._disk.sync_folder(self._folder))

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
        if exc.errno in _FULL:
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
