"""Checking a store: the checksums of records, gaps in journals, the digests of recordings."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import msgspec

from sonoduct.audio.recording import digest_recording
from sonoduct.wire import Kind, StorageFailed, WireError

from .disk import PosixDisk
from .journal import Done, Journal, State
from .layout import Layout
from .original import digest_of
from .reader import require_no_record, require_unopened
from .recordings import Manifest, read_manifest


@dataclass(frozen=True)
class Finding:
    """One journal or recording."""

    what: str
    state: str
    """``open``, ``complete`` or ``recording``."""
    frames: int = 0
    fault: str | None = None
    """The fault that was found."""


def verify(layout: Layout) -> Iterator[Finding]:
    """Yield a finding for each journal and each recording; nothing is changed."""
    for journal in layout.journals():
        try:
            if finding := _look_at(layout, journal):
                yield finding
        except (OSError, WireError) as exc:
            yield Finding(journal.stream, "open", fault=str(exc))
    for name in sorted(layout.disk.names(layout.audio)):
        if name.endswith(".json") and not name.startswith("."):
            yield _check_recording(layout.disk, layout.audio / name)


def _look_at(layout: Layout, journal: Journal) -> Finding | None:
    """Check *journal*, and again if a receiver has finished its recording meanwhile."""
    try:
        return _check_journal(layout, journal)
    except (OSError, WireError):
        if journal.done() is None and layout.disk.exists(journal.folder):
            raise
        return _check_journal(layout, journal)


def _check_journal(layout: Layout, journal: Journal) -> Finding | None:
    done = journal.done()
    if done is not None:
        if done.state is State.COMMITTED and done.recording:
            _require_own(layout.disk, layout.root / done.recording, done)
        return None  # its audio is checked as a recording
    chain = journal.segments()
    for segment in chain:
        require_no_record(layout.disk, segment.path, segment.whole_tail().size)
    for part in set(journal.parts()) - {segment.part for segment in chain}:
        require_unopened(layout.disk, journal.path(part))
    frames = 0
    for record in journal.records():
        frames = record.header.offset + record.header.units
    receipt = chain[-1].tail().receipt if chain else None
    if chain and chain[-1].hello.kind is Kind.FILE:  # its units are bytes
        frames = receipt.frames if receipt else 0
    if receipt is None:
        return Finding(journal.stream, "open", frames)
    digest = digest_of(journal).hexdigest()
    _require("digest", digest, receipt.digest)
    return Finding(journal.stream, "complete", frames)


def _require_own(disk: PosixDisk, recording: Path, done: Done) -> None:
    """Check that *recording* exists, and that its manifest has the receipt of the stream."""
    manifest = read_manifest(disk, recording.with_suffix(".json"))
    if manifest is None or not disk.exists(recording):
        raise StorageFailed(f"{recording} or its manifest is missing or damaged")
    if manifest.receipt != done.receipt:
        seen, expected = str(manifest.receipt), str(done.receipt)
        raise StorageFailed(f"{recording}: receipt", seen=seen, expected=expected)


def _check_recording(disk: PosixDisk, path: Path) -> Finding:
    try:
        with disk.read(path) as file:
            manifest = msgspec.json.decode(file.read(), type=Manifest)
        receipt = manifest.receipt
        digest = digest_recording(path.with_name(manifest.recording), manifest.format)
        _require("frames", digest.units, receipt.frames)
        _require("digest", digest.hexdigest(), manifest.samples or receipt.digest)
        if manifest.original:
            _require("original", _sha256(disk, path.with_name(manifest.original)), receipt.sha256)
    except (OSError, WireError, msgspec.DecodeError) as exc:
        return Finding(path.stem, "recording", fault=str(exc))
    return Finding(manifest.recording, "recording", receipt.frames)


def _sha256(disk: PosixDisk, path: Path) -> str:
    with disk.read(path) as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _require(what: str, seen: object, expected: object) -> None:
    if seen != expected:
        raise StorageFailed(what, seen=seen, expected=expected)
