"""Opening a file for reading, and only if it lies in the folder in which it was found."""

from __future__ import annotations

import os
import stat
from pathlib import Path
from typing import Final

_READ: Final = os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC  # a FIFO would wait for its writer
_ENTER: Final = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC


def leads_out(path: str | Path, folder: str | Path) -> bool:
    """Whether the links in *path* lead out of *folder*. This may change at any time."""
    return not Path(os.path.realpath(path)).is_relative_to(os.path.realpath(folder))


def open_regular(path: Path, folder: Path | None = None) -> int:
    """
    Return a descriptor for reading the regular file at *path*.

    If *path* was found in *folder*, links may lead from it to files in the same folder only. The
    file is opened step by step from the folder on, and no step follows a link, so that a link that
    is made meanwhile leads nowhere.

    Raises:
        OSError: if it cannot be opened.
        ValueError: if it is not a regular file, or lies outside of *folder*.
    """
    if folder is None:
        return _opened(path, None)
    top, real = Path(os.path.realpath(folder)), Path(os.path.realpath(path))
    if not real.is_relative_to(top):
        raise ValueError(f"a link out of {folder}, expected --follow-links if it may be followed")
    parts = real.relative_to(top).parts
    at = os.open(top, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        for part in parts[:-1]:
            below = os.open(part, _ENTER, dir_fd=at)
            os.close(at)
            at = below
        return _opened(parts[-1] if parts else ".", at)
    finally:
        os.close(at)


def _opened(path: str | Path, at: int | None) -> int:
    """Open *path*; if it is a name in the open folder *at*, it may not be a link."""
    follow = at is None
    # Looked at before it is opened: opening some devices does something.
    if not stat.S_ISREG(os.stat(path, dir_fd=at, follow_symlinks=follow).st_mode):
        raise ValueError("no regular file, expected one")
    handle = os.open(path, _READ if follow else _READ | os.O_NOFOLLOW, dir_fd=at)
    if not stat.S_ISREG(os.fstat(handle).st_mode):
        os.close(handle)
        raise ValueError("no regular file, expected one")
    return handle
