"""
A store's folders: their names, and the conditions for a folder to be a store.

``streams/ab/ab…/`` are the journals, ``audio/`` has the recordings, ``store.json`` says that the
folder is a store, and of which version, and ``clock.json`` how the clock was set.
"""

from __future__ import annotations

import re
import uuid
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import msgspec

from sonoduct.wire import StorageFailed

from .ages import Ages, Clock
from .disk import Facts, PosixDisk
from .journal import DONE, Journal

VERSION: Final = 1
"""Version of everything in a store. A receiver refuses a store of another version."""

VERSION_FILE: Final = "store.json"
CLOCK_FILE: Final = "clock.json"

SHELVES: Final = tuple(f"{number:02x}" for number in range(256))
"""Folders in ``streams``. They keep every folder small, even with a million journals."""

SHORT_DIGITS: Final = 8
"""Digits of a stream's id in the name of its recording."""

_NAME_CHARACTERS: Final = 80
_SHELF: Final = re.compile(r"[0-9a-f]{2}")
_STREAM: Final = re.compile(r"[0-9a-f]{32}")
_UNSAFE: Final = re.compile(r"[^A-Za-z0-9._-]+")
_SUFFIX: Final = re.compile(r"\.[A-Za-z0-9]{1,8}$")

_HARMLESS: Final = frozenset({"lost+found"})
"""Entries that an empty file system may have."""


class StoreVersion(msgspec.Struct, frozen=True, kw_only=True):
    """The content of ``store.json``."""

    version: int


@dataclass(frozen=True, slots=True)
class Layout:
    """The folders of a store at *root*, on a disk."""

    disk: PosixDisk
    root: Path

    @property
    def audio(self) -> Path:
        """Folder of the recordings."""
        return self.root / "audio"

    @property
    def streams(self) -> Path:
        """Folder of the journals."""
        return self.root / "streams"

    def journal(self, stream: str) -> Journal:
        """Return the journal of *stream*, whether or not it exists."""
        return Journal(self.disk, self.streams / stream[:2] / stream)

    def journals(self, begin: str = "") -> Iterator[Journal]:
        """Yield the journals whose ids begin with *begin*; other files and folders are skipped."""
        for shelf in self.shelves():
            if shelf.startswith(begin[:2]):
                for stream in sorted(self.disk.names(self.streams / shelf)):
                    if stream.startswith(begin) and _STREAM.fullmatch(stream):
                        yield Journal(self.disk, self.streams / shelf / stream)

    def shelves(self) -> list[str]:
        """Return the names of the folders that hold the journals' folders."""
        return sorted(filter(_SHELF.fullmatch, self.disk.names(self.streams)))

    def ends(self, shelf: str) -> Iterator[tuple[str, Facts | None]]:
        """Yield each stream on *shelf*, with the facts of its ``done.json`` if it has ended."""
        for stream, facts in self.disk.facts(self.streams / shelf, DONE):
            if _STREAM.fullmatch(stream):
                yield stream, facts

    def recording(self, name: str, stream: str, suffix: str, digits: int = SHORT_DIGITS) -> Path:
        """Return the path for the recording of *stream*; *name* is for people and may be odd."""
        stem = _UNSAFE.sub("_", Path(name).stem).strip("._-")[:_NAME_CHARACTERS] or "stream"
        return self.audio / f"{stem}-{stream[:digits]}{suffix}"

    def measure(self) -> tuple[int, int]:
        """Return how many recordings there are, and the bytes that ``audio/`` takes."""
        count = size = 0
        for name, taken in self.disk.sizes(self.audio):
            count += name.endswith(".json") and not name.startswith(".")
            size += taken
        return count, size

    def draft(self, stream: str) -> Path:
        """Return a new path for a file of *stream* that is being written, hidden in ``audio/``."""
        return self.audio / f".{stream}.{uuid.uuid4().hex[:8]}"

    def require_room(self, stream: str, size: int, reserve: int = 0) -> None:
        """
        Check that a recording of *size* bytes has room, and leaves *reserve* bytes free.

        Raises:
            StorageFailed: if it has not.
        """
        free = self.disk.free(self.audio) - reserve
        if free < size:
            what = f"{stream}: free bytes for the recording"
            raise StorageFailed(what, seen=free, expected=size)

    def prepare(self, reserve_bytes: int) -> int:
        """
        Make the root a store, unless it is one; return a handle to its file system.

        Raises:
            StorageFailed: if that is not possible; nothing is changed then.
        """
        try:
            self._prepare(reserve_bytes)
            return self.disk.hold(self.root)
        except OSError as exc:
            raise StorageFailed(f"store {self.root}: {exc.strerror}") from exc

    def clock(self) -> Clock | None:
        """Return what receivers have noted about the clock; None without a readable note."""
        with suppress(OSError, msgspec.DecodeError), self.disk.read(self.root / CLOCK_FILE) as file:
            return msgspec.json.decode(file.read(), type=Clock)
        return None

    def note_clock(self, ages: Ages) -> None:
        """Note the clock for the next start; raises OSError if the disk refuses."""
        before = self.clock() or Clock(wall=0.0)
        self.disk.replace(self.root / CLOCK_FILE, msgspec.json.encode(ages.note(before)))

    def require_version(self) -> None:
        """
        Check that this program can read the store.

        Raises:
            StorageFailed: if another version made it.
        """
        path = self.root / VERSION_FILE
        try:
            with self.disk.read(path) as file:
                seen: object = msgspec.json.decode(file.read(), type=StoreVersion).version
        except FileNotFoundError:  # a person made the folder, or copied a part of a store
            return
        except (OSError, msgspec.DecodeError) as exc:
            raise StorageFailed(f"{path}: {exc}") from exc
        if seen != VERSION:
            raise StorageFailed(f"store {self.root} has version", seen=seen, expected=VERSION)

    def _prepare(self, reserve_bytes: int) -> None:
        disk, root = self.disk, self.root
        disk.make_folder(root)
        if not self._is_store():
            self._require_empty()
        self.require_version()
        if (size := disk.capacity(root)) <= reserve_bytes:
            what = f"store {root}: bytes of its disk"
            raise StorageFailed(what, seen=size, expected=f"more than the reserve, {reserve_bytes}")
        for folder in (root, self.streams, self.audio):
            if not disk.writable(folder):
                raise StorageFailed(f"store {folder} cannot be written to by this user, or at all")
        if not self._is_store():
            disk.replace(root / VERSION_FILE, msgspec.json.encode(StoreVersion(version=VERSION)))
        disk.make_folder(self.audio)
        disk.make_folder(self.streams)
        disk.make_folders(self.streams, SHELVES)  # here, so that claims need not
        disk.sync_folder(root)

    def _is_store(self) -> bool:
        return self.disk.exists(self.root / VERSION_FILE)

    def _require_empty(self) -> None:
        """Check that the root has no foreign files, which could be mistaken for the store's."""
        names = {name for name in self.disk.names(self.root) if not name.startswith(".")}
        foreign = sorted(names - _HARMLESS)
        if foreign and not self._is_store():  # another receiver may have made it one meanwhile
            what = f"store {self.root} has no {VERSION_FILE}, and holds"
            raise StorageFailed(what, seen=foreign[0], expected="an empty folder, or a store")


def suffix_of(name: str) -> str:
    """Return the suffix of *name* with its dot; empty if it has none, or an unusual one."""
    return match[0] if (match := _SUFFIX.search(name)) else ""
