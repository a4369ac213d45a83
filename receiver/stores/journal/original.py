"""Files that were sent as they are: out of the journal, a file again."""

from __future__ import annotations

import hashlib
import uuid
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

from receiver.stores import Original
from sonoduct.audio.decoding import DecodeError, DecodeOptions, Decoder, open_decoder
from sonoduct.wire import Buffer, Digest, Format, Hello, Kind, Receipt, RecordKind, StorageFailed

from .disk import Disk
from .layout import Layout
from .reader import canonical_of, last_segment, read_stream, tail_of


@contextmanager
def assembled(
    disk: Disk, layout: Layout, hello: Hello, go_on: Callable[[], None] = lambda: None
) -> Iterator[Original]:
    """
    Make a file of what the journal of *hello* holds; the end of the context removes it.

    It lies among the recordings as a draft, which a crash may leave for the sweep.

    Raises:
        StorageFailed: if the disk refuses or has no room, or bytes are missing.
    """
    folder = layout.folder(hello.stream)
    path = layout.audio / f".{hello.stream}.{uuid.uuid4().hex[:8]}"
    last = last_segment(disk, folder, below=2**63)
    require_room(disk, layout, folder.name, tail_of(disk, last).offset if last else 0)
    try:
        yield _write(disk, folder, path, go_on)
    except OSError as exc:
        raise StorageFailed(f"{folder.name}: {exc.strerror}") from exc
    finally:
        with suppress(OSError):
            disk.remove(path)


def require_room(disk: Disk, layout: Layout, stream: str, size: int) -> None:
    """
    Check that *size* bytes may be written; the reserve may be used, for they are no more audio.

    Raises:
        StorageFailed: if they may not.
    """
    free = disk.free(layout.audio)
    if free < size:
        raise StorageFailed(f"{stream}: free bytes for the recording", seen=free, expected=size)


def _write(disk: Disk, folder: Path, path: Path, go_on: Callable[[], None]) -> Original:
    digest, sha256, handle = Digest(), hashlib.sha256(), disk.create(path)
    try:
        for record in read_stream(disk, folder):
            if record.header.kind == RecordKind.AUDIO:
                go_on()
                digest.update(record.header.offset, record.header.units, record.payload)
                sha256.update(record.payload)
                disk.write(handle, [record.payload])
    finally:
        disk.close(handle)
    return Original(path, digest.hexdigest(), sha256.hexdigest())


BLOCK_FRAMES: Final = 65536


@dataclass(frozen=True)
class Work:
    """How recordings are made."""

    go_on: Callable[[], None] = lambda: None
    """Called now and then; may raise StorageFailed to end it."""
    means: DecodeOptions = field(default_factory=DecodeOptions)
    """What files are decoded with."""
    keep_original: bool = False
    """Whether a file is kept beside what was decoded from it."""


@dataclass(frozen=True)
class Sound:
    """The samples of a stream."""

    format: Format
    payloads: Iterator[Buffer]
    digest: Digest
    """Of what was taken from `payloads`."""
    original: Path | None = None
    """The file that they are decoded from."""


@contextmanager
def sound_of(
    disk: Disk, layout: Layout, made_of: tuple[Hello, Receipt], work: Work
) -> Iterator[Sound]:
    """
    Yield the samples of a complete journal.

    Raises:
        StorageFailed: if the disk refuses, or the journal is not what the receipt says.
    """
    hello, receipt = made_of
    folder, digest = layout.folder(hello.stream), Digest()
    if hello.kind is Kind.PCM:
        yield Sound(hello.pcm, payloads(disk, folder, hello, digest, work.go_on), digest)
        return
    with assembled(disk, layout, hello, work.go_on) as original:
        _require(folder, original.digest, receipt)
        try:
            decoder = open_decoder(original.path, work.means, isolated=True)
            try:
                blocks = _decoded(decoder, digest, work.go_on)
                yield Sound(decoder.format, blocks, digest, original.path)
            finally:
                decoder.close()
        except DecodeError as exc:
            raise StorageFailed(f"{folder.name}: it was decoded before, and now: {exc}") from exc


def payloads(
    disk: Disk,
    folder: Path,
    hello: Hello,
    digest: Digest,
    go_on: Callable[[], None] = lambda: None,
) -> Iterator[Buffer]:
    """
    Yield the canonical bytes of a journal's units, and sum them into *digest*.

    Raises:
        StorageFailed: if some are missing.
    """
    for record in read_stream(disk, folder):
        if record.header.kind == RecordKind.AUDIO:
            go_on()
            payload = canonical_of(record, hello)
            digest.update(record.header.offset, record.header.units, payload)
            yield payload


def _decoded(decoder: Decoder, digest: Digest, go_on: Callable[[], None]) -> Iterator[Buffer]:
    width = decoder.format.frame_bytes
    while data := decoder.read(BLOCK_FRAMES):
        go_on()
        digest.update(digest.units, len(data) // width, data)
        yield data


def _require(folder: Path, digest: str, receipt: Receipt) -> None:
    if digest != receipt.digest:
        what = f"{folder.name}: digest of the journal"
        raise StorageFailed(what, seen=digest, expected=receipt.digest)
