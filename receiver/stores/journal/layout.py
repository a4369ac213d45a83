"""Where things lie in a store."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Final, NamedTuple

import msgspec

from sonoduct.wire import StorageFailed

from .disk import Disk

DONE: Final = "done.json"
MARK: Final = "store.json"
"""Says that the root is a store, and of which version."""
SHELVES: Final = tuple(f"{number:02x}" for number in range(256))
"""Folders in ``streams``: however many journals there are, no folder has too many."""
_PART: Final = re.compile(r"(\d{20})\.(\d{6})\.seg")
_SHELF: Final = re.compile(r"[0-9a-f]{2}")
_STREAM: Final = re.compile(r"[0-9a-f]{32}")
_UNSAFE: Final = re.compile(r"[^A-Za-z0-9._-]+")
_SUFFIX: Final = re.compile(r"\.[A-Za-z0-9]{1,8}$")
_NAME_CHARACTERS: Final = 80

SHORT_DIGITS: Final = 8
"""Of a stream's id in the name of its recording."""


class Part(NamedTuple):
    """A segment's name. Part 0 is the claim itself; the later ones only keep files small."""

    epoch: int
    number: int

    @property
    def name(self) -> str:
        """The file's name; names sort as parts do."""
        return f"{self.epoch:020d}.{self.number:06d}.seg"


class Layout:
    """A store's folders: ``streams/ab/ab…/`` for the journals, ``audio/`` for the recordings."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self.audio = root / "audio"
        self.streams = root / "streams"

    def folder(self, stream: str) -> Path:
        """Where the journal of *stream* lies."""
        return self.streams / stream[:2] / stream

    def folders(self, disk: Disk) -> Iterator[Path]:
        """Every journal there is; what else lies there is none of ours."""
        for shelf in filter(_SHELF.fullmatch, sorted(disk.names(self.streams))):
            for stream in filter(_STREAM.fullmatch, sorted(disk.names(self.streams / shelf))):
                yield self.streams / shelf / stream

    def recording(self, name: str, stream: str, suffix: str, digits: int = SHORT_DIGITS) -> Path:
        """Where the recording of *stream* goes; *name* is for people and says anything."""
        stem = _UNSAFE.sub("_", Path(name).stem).strip("._-")[:_NAME_CHARACTERS] or "stream"
        return self.audio / f"{stem}-{stream[:digits]}{suffix}"


def suffix_of(name: str) -> str:
    """Return the ending of *name*, which is for people, with its dot; nothing for an odd one."""
    return match[0] if (match := _SUFFIX.search(name)) else ""


def parts(disk: Disk, folder: Path) -> list[Part]:
    """Return the segments in *folder*, in order, valid or not."""
    found = (_PART.fullmatch(name) for name in disk.names(folder))
    return sorted(Part(int(match[1]), int(match[2])) for match in found if match)


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
