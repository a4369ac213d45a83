"""Writing the audio of a journal, finished or not, to a playable file."""

from __future__ import annotations

import shutil
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

from sonoduct.audio.recording import Container, container_for, write_recording
from sonoduct.wire import Buffer, Hello, Kind, Receipt, RecordKind, StorageFailed

from .journal import Journal
from .layout import Layout, suffix_of
from .reader import canonical_of
from .recordings import read_manifest


class NotFound(StorageFailed):
    """The store has no such stream, or several."""


@dataclass(frozen=True)
class Exported:
    """The file that was written."""

    path: Path
    length: int
    unit: str = "frames"
    """The unit of `length`."""
    fault: str | None = None
    """Why the file ends early, if the journal is damaged."""


def find_journal(layout: Layout, wanted: str) -> Journal:
    """
    Return the journal of the stream whose id begins with *wanted*.

    Raises:
        NotFound: if no id begins so, or several do.
    """
    found = list(layout.journals(wanted.lower()))
    if len(found) != 1:
        what = f"streams in {layout.root} whose id begins with {wanted!r}:"
        raise NotFound(what, seen=len(found), expected=1)
    return found[0]


def export(
    layout: Layout,
    journal: Journal,
    output: Path | None,
    advanced: Callable[[int, int], None],
) -> Exported:
    """
    Write the audio of *journal* to *output*, or into the working folder; nothing else is changed.

    If the sender sent a file as it is, that file is written, if the stream is still open or the
    receiver keeps originals. *advanced* is called with the units written and the units there are.

    Raises:
        NotFound: if the journal has no audio left.
        StorageFailed: if *output* exists, or cannot be written.
    """
    done = journal.done()
    if done is not None:
        if done.recording is None or done.receipt is None:
            raise NotFound(f"stream {journal.stream} was {done.state}: it has no audio any more")
        return _copy(layout, layout.root / done.recording, output, done.receipt)
    chain = journal.segments()
    if not chain:
        raise NotFound(f"stream {journal.stream} has no audio yet")
    hello, frames = chain[-1].hello, chain[-1].tail().offset
    reading = _Reading(journal, hello, lambda reached: advanced(reached, frames))
    if hello.kind is Kind.FILE:
        path = output or Path(
            layout.recording(hello.name, hello.stream, suffix_of(hello.name)).name
        )
        _write(path, reading)
        return Exported(path, reading.units, "bytes", reading.fault or _fault_behind(journal))
    wanted: Container = "flac" if output and output.suffix.lower() == ".flac" else "wav"
    container = container_for(hello.pcm, wanted, frames)
    path = output or Path(layout.recording(hello.name, hello.stream, f".{container}").name)
    write_recording(path, hello.pcm, container, frames, reading)
    return Exported(path, reading.units, "frames", reading.fault or _fault_behind(journal))


def _fault_behind(journal: Journal) -> str | None:
    """Return the fault behind the last segment that can be read; None if nothing is wrong."""
    try:
        journal.last_segment()
    except StorageFailed as exc:
        return str(exc)
    return None


class _Reading:
    """The payloads of a journal, up to the first fault."""

    def __init__(self, journal: Journal, hello: Hello, advanced: Callable[[int], None]) -> None:
        self.units = 0
        self.fault: str | None = None
        self._records = journal.records()
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


def _copy(layout: Layout, recording: Path, output: Path | None, receipt: Receipt) -> Exported:
    manifest = read_manifest(layout.disk, recording.with_suffix(".json"))
    original = manifest.original if manifest else ""
    found = recording.with_name(original) if original else recording
    path = output or Path(found.name)
    try:
        with found.open("rb") as source, path.open("xb") as target:
            shutil.copyfileobj(source, target)
    except OSError as exc:
        raise StorageFailed(f"{exc.filename}: {exc.strerror}") from exc
    return Exported(path, receipt.units, "bytes") if original else Exported(path, receipt.frames)
