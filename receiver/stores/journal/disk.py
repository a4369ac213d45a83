"""The disk as the journal uses it. Tests put a disk that fails in its place."""

from __future__ import annotations

import errno
from collections.abc import Iterator, Sequence
from contextlib import AbstractContextManager
from pathlib import Path
from typing import BinaryIO, NamedTuple, Protocol

from sonoduct.wire import Buffer, StorageFailed


class Facts(NamedTuple):
    """What a folder says about a file; the file need not be opened."""

    idle: float
    """Seconds since the file was last written to."""
    size: int


class Draft(NamedTuple):
    """A small file that has another name until it is durable."""

    path: Path
    handle: int


class Disk(Protocol):
    """Files and folders. Every method raises OSError if the disk refuses."""

    def names(self, folder: Path) -> list[str]:
        """Return the names in *folder*; an empty list if the folder does not exist."""

    def facts(self, folder: Path, name: str) -> Iterator[tuple[str, Facts | None]]:
        """Yield each name in *folder*, with the facts of the file *name* below it, if any."""

    def make_folder(self, folder: Path) -> None:
        """Create *folder* and its missing parents, durably."""

    def add_folder(self, folder: Path) -> bool:
        """Create *folder*, but do not make its name durable; return whether it was missing."""

    def make_folders(self, folder: Path, names: Sequence[str]) -> None:
        """Create the missing ones of *names* in *folder*; then all of them are durable."""

    def create(self, path: Path) -> int:
        """
        Create a file to append to, and return its handle.

        Raises:
            FileExistsError: if it exists; of several processes that try, one succeeds.
        """

    def reserve(self, handle: int, size: int) -> None:
        """Reserve room for the first *size* bytes of a file, if that is possible: no error says."""

    def write(self, handle: int, buffers: Sequence[Buffer]) -> None:
        """Append all of *buffers*; after an error, a part of them may be in the file."""

    def sync(self, handle: int) -> None:
        """Make durable everything written to the file. After an error, it may be lost for good."""

    def hold(self, folder: Path) -> int:
        """Return a handle for `sync_all`, which reports every fault from now on."""

    def syncs_all(self, handle: int) -> bool:
        """Whether `sync_all` is available here, and reports faults."""

    def sync_all(self, handle: int) -> None:
        """Make durable everything written to any file; after an error, `sync` tells of each."""

    def close(self, handle: int) -> None:
        """Close a file or a folder."""

    def linked(self, handle: int) -> bool:
        """Whether the file still has a name."""

    def exists(self, path: Path) -> bool:
        """Whether *path* exists."""

    def idle(self, path: Path) -> float:
        """Return the seconds since *path* was last written to."""

    def touch(self, path: Path) -> None:
        """Start `idle` at zero again, as a write to *path* would."""

    def read(self, path: Path) -> AbstractContextManager[BinaryIO]:
        """Open a file to read."""

    def sync_file(self, path: Path) -> int:
        """
        Make durable everything that any process has written to *path*.

        Returns the file's size before: bytes up to there, if they are read later, come from the
        disk.
        """

    def evict(self, path: Path) -> None:
        """Have *path*, which is durable, read from the disk and not from memory."""

    def sync_folder(self, folder: Path) -> None:
        """Make the names in *folder* durable."""

    def replace(self, path: Path, data: bytes) -> None:
        """Make *data* the content of *path*, durably; readers never see a part of it."""

    def draft(self, path: Path, data: bytes) -> AbstractContextManager[Draft]:
        """Write *data* to a draft for *path*; the end of the context removes it if it is left."""

    def take(self, path: Path, owner: str) -> str:
        """
        Create *path*, which names its owner; return its owner, *owner* or an earlier one.

        Of several processes that try, one succeeds. The name is durable once `rename` has returned
        in the same folder.
        """

    def taken(self, path: Path) -> str | None:
        """Return the owner of *path*; None if it has none."""

    def rename(self, path: Path, target: Path) -> None:
        """Rename a file durably; a file that had the new name is gone."""

    def move(self, path: Path, target: Path) -> None:
        """Do the same, but do not make the new name durable."""

    def remove(self, path: Path) -> None:
        """Remove a file, if it exists."""

    def remove_folder(self, folder: Path) -> None:
        """Remove *folder*, if it exists and is empty."""

    def free(self, folder: Path) -> int:
        """Return the bytes that may still be written; 0 if no file can be created."""

    def capacity(self, folder: Path) -> int:
        """Return the bytes of the file system that holds *folder*."""

    def writable(self, folder: Path) -> bool:
        """Whether files can be created in *folder*; True if it does not exist."""

    def lock(self, folder: Path) -> AbstractContextManager[bool]:
        """Lock *folder* for the length of a context; gives False if it is locked already."""


class DiskFull(StorageFailed):
    """The disk has no room. Nothing is lost; once there is room, the same call works again."""


def is_full(exc: OSError) -> bool:
    """Whether *exc* says that the disk, or the user's share of it, has no room."""
    return exc.errno in (errno.ENOSPC, errno.EDQUOT)


def unwritten(buffers: Sequence[Buffer], written: int) -> Sequence[Buffer]:
    """Return *buffers* without their first *written* bytes."""
    for index, buffer in enumerate(buffers):
        if written < len(buffer):
            return [memoryview(buffer)[written:], *buffers[index + 1 :]]
        written -= len(buffer)
    return []
