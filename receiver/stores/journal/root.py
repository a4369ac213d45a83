"""A store's root: what a folder must be before a receiver writes anything to it."""

from __future__ import annotations

from typing import Final

import msgspec

from sonoduct.wire import StorageFailed

from .disk import Disk
from .layout import MARK, SHELVES, Layout

VERSION: Final = 1
"""Of everything below the root; a receiver that cannot read a store leaves it alone."""

_HARMLESS: Final = frozenset({"lost+found"})
"""What a new file system holds that is empty."""


class Mark(msgspec.Struct, frozen=True, kw_only=True):
    """What ``store.json`` says."""

    version: int


def prepare(disk: Disk, layout: Layout, reserve_bytes: int) -> int:
    """
    Make *layout*'s root a store, unless it is one; return a handle to its file system.

    Raises:
        StorageFailed: if it cannot be one; nothing is changed then.
    """
    try:
        _prepare(disk, layout, reserve_bytes)
        return disk.hold(layout.root)
    except OSError as exc:
        raise StorageFailed(f"store {layout.root}: {exc.strerror}") from exc


def _prepare(disk: Disk, layout: Layout, reserve_bytes: int) -> None:
    disk.make_folder(layout.root)
    if not disk.exists(layout.root / MARK):
        _require_empty(disk, layout)
    require_version(disk, layout)
    if (size := disk.capacity(layout.root)) <= reserve_bytes:
        what = f"store {layout.root}: bytes of its disk"
        raise StorageFailed(what, seen=size, expected=f"more than the reserve, {reserve_bytes}")
    for folder in (layout.root, layout.streams, layout.audio):
        if not disk.writable(folder):
            raise StorageFailed(f"store {folder} cannot be written to by this user, or at all")
    if not disk.exists(layout.root / MARK):
        disk.replace(layout.root / MARK, msgspec.json.encode(Mark(version=VERSION)))
    disk.make_folder(layout.audio)
    disk.make_folder(layout.streams)
    disk.make_folders(layout.streams, SHELVES)  # so that no claim has to
    disk.sync_folder(layout.root)


def require_version(disk: Disk, layout: Layout) -> None:
    """
    Check that this program can read the store.

    Raises:
        StorageFailed: if another version made it.
    """
    path = layout.root / MARK
    try:
        with disk.read(path) as file:
            seen: object = msgspec.json.decode(file.read(), type=Mark).version
    except FileNotFoundError:  # made by hand, or a copy of a part
        return
    except (OSError, msgspec.DecodeError) as exc:
        raise StorageFailed(f"{path}: {exc}") from exc
    if seen != VERSION:
        raise StorageFailed(f"store {layout.root} has version", seen=seen, expected=VERSION)


def _require_empty(disk: Disk, layout: Layout) -> None:
    """Somebody else's files are not to be mixed with ours, nor taken for them."""
    names = {name for name in disk.names(layout.root) if not name.startswith(".")}
    foreign = sorted(names - _HARMLESS)
    if foreign and not disk.exists(layout.root / MARK):  # another receiver starts, too
        what = f"store {layout.root} has no {MARK}, and holds"
        raise StorageFailed(what, seen=foreign[0], expected="an empty folder, or a store")
