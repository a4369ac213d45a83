"""Every system call of the journal, in one place: the seam where tests put a disk that fails."""

from __future__ import annotations

import os
import time
import uuid
from collections.abc import Sequence
from contextlib import AbstractContextManager, suppress
from pathlib import Path
from typing import BinaryIO, Final, Protocol

from wire import Buffer

MOST_BUFFERS: Final = 512  # in one writev; Linux takes 1024 (IOV_MAX)


class Disk(Protocol):
    """Files as the journal needs them. Every method raises OSError if the disk refuses."""

    def names(self, folder: Path) -> list[str]:
        """Return what lies in *folder*; nothing if there is none."""

    def make_folder(self, folder: Path) -> None:
        """Create *folder* and what is missing above it, durably."""

    def create(self, path: Path) -> int:
        """
        Create a file to append to, and return its handle.

        Raises:
            FileExistsError: if there is one: of several that try, one succeeds.
        """

    def write(self, handle: int, buffers: Sequence[Buffer]) -> None:
        """Append all of *buffers*; after an error, some of it may be there."""

    def sync(self, handle: int) -> None:
        """Make durable what was written. An error is final: what was written may be lost."""

    def close(self, handle: int) -> None:
        """Forget *handle*."""

    def linked(self, handle: int) -> bool:
        """Whether the file still has a name."""

    def exists(self, path: Path) -> bool:
        """Whether there is such a file."""

    def idle(self, path: Path) -> float:
        """Return the seconds since *path* was last written to."""

    def read(self, path: Path) -> AbstractContextManager[BinaryIO]:
        """Open a file to read."""

    def sync_file(self, path: Path) -> int:
        """
        Make durable what any process has written to *path*.

        Returns the size it had: what is read later, up to there, is on disk.
        """

    def sync_folder(self, folder: Path) -> None:
        """Make durable which files *folder* has."""

    def replace(self, path: Path, data: bytes) -> None:
        """Make *data* the content of *path*, durably, and never a part of it."""

    def rename(self, path: Path, target: Path) -> None:
        """Give a file its final name, durably; what had that name is gone."""

    def remove(self, path: Path) -> None:
        """Remove a file, if it is there."""

    def remove_folder(self, folder: Path) -> None:
        """Remove *folder*, if it is there and empty."""

    def free(self, folder: Path) -> int:
        """Return the bytes that may still be written."""


class PosixDisk:
    """A local file system."""

    def names(self, folder: Path) -> list[str]:
        """See Disk."""
        try:
            return os.listdir(folder)  # noqa: PTH208  # names, not paths
        except FileNotFoundError:
            return []

    def make_folder(self, folder: Path) -> None:
        """See Disk."""
        if folder.is_dir():
            return
        self.make_folder(folder.parent)
        with suppress(FileExistsError):
            folder.mkdir()
        self.sync_folder(folder.parent)

    def create(self, path: Path) -> int:
        """See Disk."""
        flags = os.O_CREAT | os.O_EXCL | os.O_WRONLY | os.O_APPEND | os.O_CLOEXEC
        return os.open(path, flags, 0o644)

    def write(self, handle: int, buffers: Sequence[Buffer]) -> None:
        """See Disk."""
        while buffers:
            buffers = after(buffers, os.writev(handle, buffers[:MOST_BUFFERS]))

    def sync(self, handle: int) -> None:
        """See Disk."""
        os.fdatasync(handle)

    def close(self, handle: int) -> None:
        """See Disk."""
        os.close(handle)

    def linked(self, handle: int) -> bool:
        """See Disk."""
        return os.fstat(handle).st_nlink > 0

    def exists(self, path: Path) -> bool:
        """See Disk."""
        with suppress(FileNotFoundError):  # other errors say nothing about the file
            os.stat(path)  # noqa: PTH116  # 2 µs instead of 5, once for each commit
            return True
        return False

    def idle(self, path: Path) -> float:
        """See Disk."""
        return time.time() - path.stat().st_mtime

    def read(self, path: Path) -> AbstractContextManager[BinaryIO]:
        """See Disk."""
        return path.open("rb")

    def sync_file(self, path: Path) -> int:
        """See Disk."""
        handle = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
        try:
            size = os.fstat(handle).st_size
            os.fsync(handle)
            # A page that failed to be written may be in memory still, and marked as clean:
            # https://www.usenix.org/conference/atc20/presentation/rebello
            os.posix_fadvise(handle, 0, 0, os.POSIX_FADV_DONTNEED)
        finally:
            os.close(handle)
        return size

    def sync_folder(self, folder: Path) -> None:
        """See Disk."""
        handle = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        try:
            os.fsync(handle)
        finally:
            os.close(handle)

    def replace(self, path: Path, data: bytes) -> None:
        """See Disk."""
        draft = path.with_name(f".{path.name}.{uuid.uuid4().hex[:8]}")
        try:
            with draft.open("xb") as file:
                file.write(data)
                file.flush()
                os.fsync(file.fileno())
            self.rename(draft, path)
        except OSError:
            draft.unlink(missing_ok=True)
            raise

    def rename(self, path: Path, target: Path) -> None:
        """See Disk."""
        path.replace(target)
        self.sync_folder(target.parent)

    def remove(self, path: Path) -> None:
        """See Disk."""
        path.unlink(missing_ok=True)

    def remove_folder(self, folder: Path) -> None:
        """See Disk."""
        with suppress(FileNotFoundError):
            folder.rmdir()

    def free(self, folder: Path) -> int:
        """See Disk."""
        stat = os.statvfs(folder)
        return stat.f_bavail * stat.f_frsize


def after(buffers: Sequence[Buffer], written: int) -> Sequence[Buffer]:
    """Return what is left of *buffers* behind their first *written* bytes."""
    for index, buffer in enumerate(buffers):
        if written < len(buffer):
            return [memoryview(buffer)[written:], *buffers[index + 1 :]]
        written -= len(buffer)
    return []
