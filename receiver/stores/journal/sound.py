"""What a recording is made of, whatever came: canonical bytes in a format, and their digest."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

from sonoduct.audio.decoding import DecodeError, Decoder, Means, open_decoder
from sonoduct.wire import Buffer, Digest, Format, Hello, Kind, Receipt, RecordKind, StorageFailed

from .disk import Disk
from .layout import Layout
from .original import assembled
from .reader import canonical_of, read_stream

BLOCK_FRAMES: Final = 65536


@dataclass(frozen=True)
class Work:
    """How recordings are made."""

    go_on: Callable[[], None] = lambda: None
    """Called now and then; may raise StorageFailed to end it."""
    means: Means = field(default_factory=Means)
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
