"""Where things lie in a store."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Final, NamedTuple

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
