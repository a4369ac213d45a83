"""The journal's view of a disk: the seam where tests put one that fails."""

from __future__ import annotations

import errno
from collections.abc import Sequence
from contextlib import AbstractContextManager
from pathlib import Path
from typing import BinaryIO, Protocol

from sonoduct.wire import Buffer, StorageFailed


class DiskFull(StorageFailed):
    """There is no room; nothing is lost, and the same call works, and no other, once there is."""


def is_full(exc: OSError) -> bool:
    """Whether *exc* says that there is no room, on the disk or for this user."""
    return exc.errno in (errno.ENOSPC, errno.EDQUOT)


class Disk(Protocol):
    """Files as the journal needs them. Every method raises OSError if the disk refuses."""

    def names(self, folder: Path) -> list[str]:
        """Return what lies in *folder*; nothing if there is none."""

    def make_folder(self, folder: Path) -> None:
        """Create *folder* and what is missing above it, durably."""

    def add_folder(self, folder: Path) -> bool:
        """Create *folder*, whose name is not durable by that; return whether it was missing."""

    def make_folders(self, folder: Path, names: Sequence[str]) -> None:
        """Create those of *names* that *folder* does not have; all of them are durable then."""

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

    def hold(self, folder: Path) -> int:
        """Return a handle for `sync_all`, which tells of every fault from now on."""

    def syncs_all(self, handle: int) -> bool:
        """Whether `sync_all` is to be had, and tells of faults."""

    def sync_all(self, handle: int) -> None:
        """Make durable what was written to any file; after an error `sync` tells of each."""

    def close(self, handle: int) -> None:
        """Forget *handle*."""

    def linked(self, handle: int) -> bool:
        """Whether the file still has a name."""

    def exists(self, path: Path) -> bool:
        """Whether there is such a file."""

    def idle(self, path: Path) -> float:
        """Return the seconds since *path* was last written to."""

    def touch(self, path: Path) -> None:
        """Have `idle` begin anew, as if *path* was written to."""

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

    def take(self, path: Path, owner: str) -> str:
        """
        Create *path*, which says who took it; return who did, *owner* or an earlier one.

        Of several that try, one succeeds. It is durable when `rename` has returned in its folder.
        """

    def taken(self, path: Path) -> str | None:
        """Return who took *path*; None if nobody did."""

    def rename(self, path: Path, target: Path) -> None:
        """Give a file its final name, durably; what had that name is gone."""

    def remove(self, path: Path) -> None:
        """Remove a file, if it is there."""

    def remove_folder(self, folder: Path) -> None:
        """Remove *folder*, if it is there and empty."""

    def free(self, folder: Path) -> int:
        """Return the bytes that may still be written; 0 if no file can be made."""

    def capacity(self, folder: Path) -> int:
        """Return the bytes of the file system that *folder* is on."""

    def writable(self, folder: Path) -> bool:
        """Whether files can be made in *folder*, if there is one."""

    def lock(self, folder: Path) -> AbstractContextManager[bool]:
        """Hold *folder* against whoever else locks it; gives False if somebody does already."""


def after(buffers: Sequence[Buffer], written: int) -> Sequence[Buffer]:
    """Return what is left of *buffers* behind their first *written* bytes."""
    for index, buffer in enumerate(buffers):
        if written < len(buffer):
            return [memoryview(buffer)[written:], *buffers[index + 1 :]]
        written -= len(buffer)
    return []
