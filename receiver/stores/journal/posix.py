"""Every system call of the journal, in one place."""

from __future__ import annotations

import ctypes
import errno
import fcntl
import os
import platform
import re
import sys
import time
import uuid
from collections.abc import Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager, suppress
from pathlib import Path
from typing import BinaryIO, Final

from sonoduct.wire import Buffer

from .disk import after

INODES: Final = 1000
INODE_SHARE: Final = 100
"""Files that are left for segments and recordings of streams that are open; of a small file
system, a hundredth of its files."""

MOST_BUFFERS: Final = 512  # in one writev; Linux takes 1024 (IOV_MAX)


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
        self.add_folder(folder)
        self.sync_folder(folder.parent)

    def add_folder(self, folder: Path) -> bool:
        """See Disk."""
        try:
            folder.mkdir()
        except FileExistsError:
            return False
        return True

    def make_folders(self, folder: Path, names: Sequence[str]) -> None:
        """See Disk."""
        for name in set(names) - set(self.names(folder)):
            self.add_folder(folder / name)
        self.sync_folder(folder)

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

    def hold(self, folder: Path) -> int:
        """See Disk."""
        return os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)

    def syncs_all(self, handle: int) -> bool:
        """See Disk."""
        return tells_of_faults(handle)

    def sync_all(self, handle: int) -> None:
        """See Disk."""
        sync_all(handle)

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

    def touch(self, path: Path) -> None:
        """See Disk."""
        os.utime(path)

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

    def take(self, path: Path, owner: str) -> str:
        """See Disk. A link that leads nowhere is made at once, with all that it says."""
        with suppress(FileExistsError):
            path.symlink_to(owner)
        return str(path.readlink())

    def taken(self, path: Path) -> str | None:
        """See Disk."""
        try:
            return str(path.readlink())
        except FileNotFoundError:
            return None

    def rename(self, path: Path, target: Path) -> None:
        """See Disk."""
        path.replace(target)
        self.sync_folder(target.parent)

    def remove(self, path: Path) -> None:
        """See Disk."""
        path.unlink(missing_ok=True)

    def remove_folder(self, folder: Path) -> None:
        """See Disk."""
        try:
            folder.rmdir()
        except OSError as exc:
            if exc.errno not in (errno.ENOENT, errno.ENOTEMPTY):
                raise

    def free(self, folder: Path) -> int:
        """See Disk."""
        stat = os.statvfs(folder)
        # A file system that counts no inodes, such as btrfs, says 0 of 0.
        inodes = not stat.f_files or stat.f_favail > min(INODES, stat.f_files // INODE_SHARE)
        if not inodes or stat.f_flag & os.ST_RDONLY:
            return 0
        return stat.f_bavail * stat.f_frsize

    def capacity(self, folder: Path) -> int:
        """See Disk."""
        stat = os.statvfs(folder)
        return stat.f_blocks * stat.f_frsize

    def writable(self, folder: Path) -> bool:
        """See Disk."""
        return not folder.exists() or os.access(folder, os.W_OK | os.X_OK)

    @contextmanager
    def lock(self, folder: Path) -> Iterator[bool]:
        """See Disk. The kernel lets go of it when the process ends, however it does."""
        mine, handle = False, os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        try:
            with suppress(BlockingIOError):
                fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
                mine = True
            yield mine
        finally:
            os.close(handle)


KNOWN: Final = {0xEF53: "ext4", 0x58465342: "xfs", 0x9123683E: "btrfs"}
"""By f_type of statfs(2)."""

SINCE: Final = (5, 8)

_STATFS_BYTES: Final = 512  # 120 are used; f_type is the first of its fields
_LIBC: Final = ctypes.CDLL(None, use_errno=True)


def tells_of_faults(handle: int) -> bool:
    """Whether `sync_all` may stand for a sync of each file on the file system of *handle*."""
    if sys.platform != "linux" or not hasattr(_LIBC, "syncfs"):
        return False
    found = re.match(r"(\d+)\.(\d+)", platform.release())
    new_enough = found is not None and (int(found[1]), int(found[2])) >= SINCE
    return new_enough and _type_of(handle) in KNOWN


def sync_all(handle: int) -> None:
    """
    Make durable whatever was written to the file system of *handle*, by anybody.

    Raises:
        OSError: if any of it was lost since *handle* was opened, or since it was last told.
    """
    if _LIBC.syncfs(handle) != 0:
        code = ctypes.get_errno()
        raise OSError(code, os.strerror(code))


def _type_of(handle: int) -> int:
    answer = ctypes.create_string_buffer(_STATFS_BYTES)
    if _LIBC.fstatfs(handle, answer) != 0:
        return 0
    return ctypes.c_ulong.from_buffer(answer).value
