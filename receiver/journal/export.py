"""Playable files out of journals, finished or not."""

from __future__ import annotations

import shutil
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

from receiver.recording import Container, container_for, write_recording
from wire import Buffer, Hello, RecordKind, StorageFailed

from .disk import Disk
from .done import read_done
from .layout import Layout
from .reader import canonical_of, last_segment, read_stream, segments, tail_of


class NotFound(StorageFailed):
    """No such stream in the store, or several."""


@dataclass(frozen=True)
class Exported:
    """What became of a stream."""

    path: Path
    frames: int
    fault: str | None = None
    """Why the file ends where it does, if the journal is damaged there."""


def find_stream(disk: Disk, layout: Layout, wanted: str) -> Path:
    """
    Return the journal of the stream whose id begins with *wanted*.

    Raises:
        NotFound: if there is not just one.
    """
    found = [folder for folder in layout.folders(disk) if folder.name.startswith(wanted.lower())]
    if len(found) != 1:
        what = f"streams in {layout.root} whose id begins with {wanted!r}:"
        raise NotFound(what, seen=len(found), expected=1)
    return found[0]


def export(
    disk: Disk,
    layout: Layout,
    folder: Path,
    output: Path | None,
    advanced: Callable[[int, int], None],
) -> Exported:
    """
    Write what *folder* holds to *output*, or into the working folder; nothing is changed.

    *advanced* is told the frames written and the frames there are.

    Raises:
        NotFound: if the journal has no audio left.
        StorageFailed: if *output* exists, or cannot be written.
    """
    done = read_done(disk, folder)
    if done is not None:
        if done.recording is None or done.receipt is None:
            raise NotFound(f"stream {folder.name} was {done.state}: it has no audio any more")
        return _copy(layout.root / done.recording, output, done.receipt.frames)
    chain = segments(disk, folder)
    if not chain:
        raise NotFound(f"stream {folder.name} has no audio yet")
    hello, frames = chain[-1].hello, tail_of(disk, chain[-1]).offset
    wanted: Container = "flac" if _suffix(output) == ".flac" else "wav"
    container = container_for(hello.pcm, wanted, frames)
    path = output or Path(layout.recording(hello.name, hello.stream, f".{container}").name)
    reading = _Reading(disk, folder, hello, lambda reached: advanced(reached, frames))
    write_recording(path, hello.pcm, container, frames, reading)
    return Exported(path, reading.frames, reading.fault or _lost(disk, folder))


def _lost(disk: Disk, folder: Path) -> str | None:
    """What is wrong behind the last segment that can be read."""
    try:
        last_segment(disk, folder, below=2**63)
    except StorageFailed as exc:
        return str(exc)
    return None


class _Reading:
    """The payloads of a journal, up to where it is whole."""

    def __init__(
        self, disk: Disk, folder: Path, hello: Hello, advanced: Callable[[int], None]
    ) -> None:
        self.frames = 0
        self.fault: str | None = None
        self._records = read_stream(disk, folder)
        self._hello = hello
        self._advanced = advanced

    def __iter__(self) -> Iterator[Buffer]:
        try:
            for record in self._records:
                if record.header.kind == RecordKind.AUDIO:
                    yield canonical_of(record, self._hello)
                    self.frames = record.header.offset + record.header.units
                    self._advanced(self.frames)
        except StorageFailed as exc:
            self.fault = str(exc)


def _copy(recording: Path, output: Path | None, frames: int) -> Exported:
    path = output or Path(recording.name)
    try:
        with recording.open("rb") as source, path.open("xb") as target:
            shutil.copyfileobj(source, target)
    except OSError as exc:
        raise StorageFailed(f"{exc.filename}: {exc.strerror}") from exc
    return Exported(path, frames)


def _suffix(path: Path | None) -> str:
    return path.suffix.lower() if path else ""
