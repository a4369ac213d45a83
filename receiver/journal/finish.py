"""From a complete journal to a recording. Every step may be done again."""

from __future__ import annotations

import uuid
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path

import msgspec

from receiver.recording import Container, container_for, digest_recording, write_recording
from wire import Buffer, Digest, Format, Hello, Receipt, RecordKind, StorageFailed

from .disk import Disk
from .done import Done, State, clear, read_done, write_done
from .layout import Layout
from .reader import canonical_of, last_segment, read_stream, tail_of


class Manifest(msgspec.Struct, frozen=True, kw_only=True):
    """What lies beside a recording, as ``.json``."""

    recording: str
    """Name of the audio file."""
    name: str
    """What the sender calls the stream."""
    format: Format
    metadata: dict[str, str]
    receipt: Receipt


def complete(disk: Disk, folder: Path) -> tuple[Hello, int, Receipt] | None:
    """Return the hello, the epoch and the receipt of a complete journal; None if it is not."""
    last = last_segment(disk, folder, below=2**63)
    if last is None or (tail := tail_of(disk, last)).receipt is None:
        return None
    return last.hello, last.part.epoch, tail.receipt


def finish(
    disk: Disk,
    layout: Layout,
    folder: Path,
    wanted: Container,
    go_on: Callable[[], None] = lambda: None,
) -> Path | None:
    """
    Make the recording of a complete journal, then remove its segments.

    Returns the recording; None if the journal is not complete, or another receiver is at it.
    *go_on* is called now and then, and may raise StorageFailed to end it.

    Raises:
        StorageFailed: if the disk refuses, or the journal is not what the receipt says.
    """
    try:
        with disk.lock(folder) as mine:
            return _finish(disk, layout, folder, wanted, go_on) if mine else None
    except FileNotFoundError:  # removed meanwhile, by another receiver that shares the store
        return None
    except StorageFailed:
        if read_done(disk, folder) is not None:  # the same, in the middle of reading
            return None
        raise
    except OSError as exc:
        raise StorageFailed(f"{folder.name}: {exc.strerror}") from exc


def digest_of(disk: Disk, folder: Path) -> Digest:
    """
    Return the digest of what a journal holds.

    Raises:
        StorageFailed: if the disk refuses, or audio is missing.
    """
    digest = Digest()
    try:
        if last := last_segment(disk, folder, below=2**63):
            for _ in _payloads(disk, folder, last.hello, digest):
                pass
    except OSError as exc:
        raise StorageFailed(f"{folder.name}: {exc.strerror}") from exc
    return digest


def _finish(
    disk: Disk, layout: Layout, folder: Path, wanted: Container, go_on: Callable[[], None]
) -> Path | None:
    if read_done(disk, folder) is not None:
        clear(disk, folder)
        return None
    found = complete(disk, folder)
    if found is None:
        return None
    hello, epoch, receipt = found
    recording = _record(disk, layout, (hello, receipt), wanted, go_on)
    name = str(recording.relative_to(layout.root))
    done = Done(state=State.COMMITTED, epoch=epoch, receipt=receipt, recording=name)
    write_done(disk, folder, done)
    return recording


def _record(
    disk: Disk,
    layout: Layout,
    made_of: tuple[Hello, Receipt],
    wanted: Container,
    go_on: Callable[[], None],
) -> Path:
    hello, receipt = made_of
    folder = layout.folder(hello.stream)
    container = container_for(hello.pcm, wanted, receipt.frames)
    path = _path(disk, layout, hello, f".{container}")
    draft = path.with_name(f".{path.name}.{uuid.uuid4().hex[:8]}")
    digest = Digest()
    disk.make_folder(layout.audio)
    _require_room(disk, layout, folder, receipt.frames * hello.pcm.frame_bytes)
    try:
        payloads = _payloads(disk, folder, hello, digest, go_on)
        write_recording(draft, hello.pcm, container, receipt.frames, payloads)
        _require(folder, "journal", digest, receipt)
        disk.sync_file(draft)
        # libsndfile does not report that the end of a FLAC file found the disk full.
        _require(folder, "recording", digest_recording(draft, hello.pcm), receipt)
        manifest = Manifest(
            recording=path.name,
            name=hello.name,
            format=hello.pcm,
            metadata=hello.metadata,
            receipt=receipt,
        )
        disk.rename(draft, path)
        disk.replace(path.with_suffix(".json"), msgspec.json.encode(manifest))
    finally:
        with suppress(OSError):
            disk.remove(draft)
    return path


def _require_room(disk: Disk, layout: Layout, folder: Path, size: int) -> None:
    """The reserve may be used: what the recording replaces is removed after it."""
    free = disk.free(layout.audio)
    if free < size:
        what = f"{folder.name}: free bytes for the recording"
        raise StorageFailed(what, seen=free, expected=size)


def _path(disk: Disk, layout: Layout, hello: Hello, suffix: str) -> Path:
    """Streams of one name may have ids that begin alike: the later one gets all of its id."""
    path = layout.recording(hello.name, hello.stream, suffix)
    if _owner(disk, path.with_suffix(".json")) in (None, hello.stream):
        return path
    return layout.recording(hello.name, hello.stream, suffix, len(hello.stream))


def _owner(disk: Disk, manifest: Path) -> str | None:
    try:
        with disk.read(manifest) as file:
            return msgspec.json.decode(file.read(), type=Manifest).receipt.stream
    except FileNotFoundError:
        return None
    except msgspec.DecodeError:
        return ""  # nobody's, and not to be replaced


def _require(folder: Path, what: str, digest: Digest, receipt: Receipt) -> None:
    if digest.hexdigest() != receipt.digest:
        what = f"{folder.name}: digest of the {what}"
        raise StorageFailed(what, seen=digest.hexdigest(), expected=receipt.digest)


def _payloads(
    disk: Disk,
    folder: Path,
    hello: Hello,
    digest: Digest,
    go_on: Callable[[], None] = lambda: None,
) -> Iterator[Buffer]:
    for record in read_stream(disk, folder):
        if record.header.kind == RecordKind.AUDIO:
            go_on()
            payload = canonical_of(record, hello)
            digest.update(record.header.offset, record.header.units, payload)
            yield payload
