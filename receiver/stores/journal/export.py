"""Playable files out of journals, finished or not."""

from __future__ import annotations

import shutil
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

from sonoduct.audio.recording import Container, container_for, write_recording
from sonoduct.wire import Buffer, Hello, Kind, Receipt, RecordKind, StorageFailed

from .disk import Disk
from .done import read_done
from .layout import Layout, suffix_of
from .reader import canonical_of, last_segment, read_stream, segments, tail_of
from .recordings import read_manifest


class NotFound(StorageFailed):
    """No such stream in the store, or several."""


@dataclass(frozen=True)
class Exported:
    """What became of a stream."""

    path: Path
    length: int
    unit: str = "frames"
    """What `length` counts."""
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

    A file that was sent as it is comes out as it was, if it is not over or was kept. *advanced* is
    told the units written and the units there are.

    Raises:
        NotFound: if the journal has no audio left.
        StorageFailed: if *output* exists, or cannot be written.
    """
    done = read_done(disk, folder)
    if done is not None:
        if done.recording is None or done.receipt is None:
            raise NotFound(f"stream {folder.name} was {done.state}: it has no audio any more")
        return _copy(disk, layout.root / done.recording, output, done.receipt)
    chain = segments(disk, folder)
    if not chain:
        raise NotFound(f"stream {folder.name} has no audio yet")
    hello, frames = chain[-1].hello, tail_of(disk, chain[-1]).offset
    reading = _Reading(disk, folder, hello, lambda reached: advanced(reached, frames))
    if hello.kind is Kind.FILE:
        path = output or Path(
            layout.recording(hello.name, hello.stream, suffix_of(hello.name)).name
        )
        _write(path, reading)
        return Exported(path, reading.units, "bytes", reading.fault or _lost(disk, folder))
    wanted: Container = "flac" if _suffix(output) == ".flac" else "wav"
    container = container_for(hello.pcm, wanted, frames)
    path = output or Path(layout.recording(hello.name, hello.stream, f".{container}").name)
    write_recording(path, hello.pcm, container, frames, reading)
    return Exported(path, reading.units, "frames", reading.fault or _lost(disk, folder))


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
        self.units = 0
        self.fault: str | None = None
        self._records = read_stream(disk, folder)
        self._hello = hello
        self._advanced = advanced

    def __iter__(self) -> Iterator[Buffer]:
        try:
            for record in self._records:
                if record.header.kind == RecordKind.AUDIO:
                    yield canonical_of(record, self._hello)
                    self.units = record.header.offset + record.header.units
                    self._advanced(self.units)
        except StorageFailed as exc:
            self.fault = str(exc)


def _write(path: Path, payloads: Iterable[Buffer]) -> None:
    try:
        with path.open("xb") as target:
            for payload in payloads:
                target.write(payload)
    except OSError as exc:
        raise StorageFailed(f"{path}: {exc.strerror}") from exc


def _copy(disk: Disk, recording: Path, output: Path | None, receipt: Receipt) -> Exported:
    manifest = read_manifest(disk, recording.with_suffix(".json"))
    original = manifest.original if manifest else ""
    found = recording.with_name(original) if original else recording
    path = output or Path(found.name)
    try:
        with found.open("rb") as source, path.open("xb") as target:
            shutil.copyfileobj(source, target)
    except OSError as exc:
        raise StorageFailed(f"{exc.filename}: {exc.strerror}") from exc
    return Exported(path, receipt.units, "bytes") if original else Exported(path, receipt.frames)


def _suffix(path: Path | None) -> str:
    return path.suffix.lower() if path else ""
