"""Checking a store: every record's sums, every journal's continuity, every recording's digest."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import msgspec

from sonoduct.audio.recording import digest_recording
from sonoduct.wire import Kind, StorageFailed, WireError

from .disk import Disk
from .done import Done, State, read_done
from .layout import Layout, parts
from .reader import (
    read_stream,
    require_no_record,
    require_unopened,
    segments,
    tail_of,
    whole_tail_of,
)
from .recordings import Manifest, digest_of, read_manifest

BLOCK_BYTES: Final = 1024 * 1024


@dataclass(frozen=True)
class Finding:
    """One journal or recording."""

    what: str
    state: str
    """``open``, ``complete`` or ``recording``."""
    frames: int = 0
    fault: str | None = None
    """What is wrong with it."""


def verify(disk: Disk, layout: Layout) -> Iterator[Finding]:
    """Yield a finding for each journal and each recording; nothing is changed."""
    for folder in layout.folders(disk):
        try:
            if finding := _journal(disk, layout, folder):
                yield finding
        except (OSError, WireError) as exc:
            yield Finding(folder.name, "open", fault=str(exc))
    for name in sorted(disk.names(layout.audio)):
        if name.endswith(".json") and not name.startswith("."):
            yield _recording(disk, layout.audio / name)


def _journal(disk: Disk, layout: Layout, folder: Path) -> Finding | None:
    done = read_done(disk, folder)
    if done is not None:
        if done.state is State.COMMITTED and done.recording:
            _require_own(disk, layout.root / done.recording, done)
        return None  # what it became is checked as a recording
    chain = segments(disk, folder)
    for segment in chain:
        require_no_record(disk, segment.path, whole_tail_of(disk, segment).size)
    for part in set(parts(disk, folder)) - {segment.part for segment in chain}:
        require_unopened(disk, folder / part.name)
    frames = 0
    for record in read_stream(disk, folder):
        frames = record.header.offset + record.header.units
    receipt = tail_of(disk, chain[-1]).receipt if chain else None
    if chain and chain[-1].hello.kind is Kind.FILE:  # which has frames once it is decoded
        frames = receipt.frames if receipt else 0
    if receipt is None:
        return Finding(folder.name, "open", frames)
    digest = digest_of(disk, folder).hexdigest()
    _require("digest", digest, receipt.digest)
    return Finding(folder.name, "complete", frames)


def _require_own(disk: Disk, recording: Path, done: Done) -> None:
    """Check that the recording of a stream that has its receipt is there, and is its own."""
    manifest = read_manifest(disk, recording.with_suffix(".json"))
    if manifest is None or not disk.exists(recording):
        raise StorageFailed(f"{recording} or its manifest is missing or damaged")
    if manifest.receipt != done.receipt:
        seen, expected = str(manifest.receipt), str(done.receipt)
        raise StorageFailed(f"{recording}: receipt", seen=seen, expected=expected)


def _recording(disk: Disk, path: Path) -> Finding:
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


def _sha256(disk: Disk, path: Path) -> str:
    sha256 = hashlib.sha256()
    with disk.read(path) as file:
        while data := file.read(BLOCK_BYTES):
            sha256.update(data)
    return sha256.hexdigest()


def _require(what: str, seen: object, expected: object) -> None:
    if seen != expected:
        raise StorageFailed(what, seen=seen, expected=expected)
