"""
What recordings are made of: the audio in a journal.

A stream of samples has it in its chunks. A file that was sent as it is becomes a file again first,
and is decoded.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from receiver.stores import Original
from sonoduct.audio.decoding import DecodeError, DecodeOptions, Decoder, open_decoder
from sonoduct.wire import Buffer, Digest, Format, Hello, Kind, RecordKind, StorageFailed

from .journal import Complete, Journal
from .layout import Layout
from .reader import canonical_of

BLOCK_FRAMES: Final = 65536


@dataclass(frozen=True)
class AudioToRecord:
    """The samples of a stream."""

    format: Format
    payloads: Iterator[Buffer]
    digest: Digest
    """Digest of the payloads that were taken so far."""
    original: Path | None = None
    """The file that they are decoded from, if the sender sent a file."""


@contextmanager
def audio_of(
    layout: Layout,
    journal: Journal,
    complete: Complete,
    decode_options: DecodeOptions,
    require_running: Callable[[], None] = lambda: None,
) -> Iterator[AudioToRecord]:
    """
    Yield the samples of a complete journal; *require_running* may raise between two blocks.

    Raises:
        StorageFailed: if the disk refuses, or the journal differs from the receipt.
    """
    hello, digest = complete.hello, Digest()
    if hello.kind is Kind.PCM:
        yield AudioToRecord(hello.pcm, payloads(journal, hello, digest, require_running), digest)
        return
    with assembled(layout, journal, require_running) as original:
        if original.digest != complete.receipt.digest:
            what = f"{journal.stream}: digest of the journal"
            expected = complete.receipt.digest
            raise StorageFailed(what, seen=original.digest, expected=expected)
        try:
            with closing(open_decoder(original.path, decode_options, isolated=True)) as decoder:
                blocks = _decoded(decoder, digest, require_running)
                yield AudioToRecord(decoder.format, blocks, digest, original.path)
        except DecodeError as exc:
            what = f"{journal.stream}: it was decoded before, and now: {exc}"
            raise StorageFailed(what) from exc


@contextmanager
def assembled(
    layout: Layout, journal: Journal, require_running: Callable[[], None] = lambda: None
) -> Iterator[Original]:
    """
    Write the bytes of a journal to a file; the end of the context removes it.

    The file is a draft in the folder of the recordings. If a crash leaves it, the janitor removes
    it.

    Raises:
        StorageFailed: if the disk refuses or has no room, or bytes are missing.
    """
    path = layout.draft(journal.stream)
    last = journal.last_segment()
    layout.require_room(journal.stream, last.tail().offset if last else 0)
    try:
        yield _write(layout, journal, path, require_running)
    except OSError as exc:
        raise StorageFailed(f"{journal.stream}: {exc.strerror}") from exc
    finally:
        with suppress(OSError):
            layout.disk.remove(path)


def digest_of(journal: Journal) -> Digest:
    """
    Return the digest of a journal's units.

    Raises:
        StorageFailed: if the disk refuses, or audio is missing.
    """
    digest = Digest()
    try:
        if last := journal.last_segment():
            for _ in payloads(journal, last.hello, digest):
                pass
    except OSError as exc:
        raise StorageFailed(f"{journal.stream}: {exc.strerror}") from exc
    return digest


def payloads(
    journal: Journal,
    hello: Hello,
    digest: Digest,
    require_running: Callable[[], None] = lambda: None,
) -> Iterator[Buffer]:
    """
    Yield the canonical bytes of a journal's units, and add them to *digest*.

    Raises:
        StorageFailed: if some are missing.
    """
    for record in journal.records():
        if record.header.kind == RecordKind.AUDIO:
            require_running()
            payload = canonical_of(record, hello)
            digest.update(record.header.offset, record.header.units, payload)
            yield payload


def _write(
    layout: Layout, journal: Journal, path: Path, require_running: Callable[[], None]
) -> Original:
    digest, sha256, handle = Digest(), hashlib.sha256(), layout.disk.create(path)
    try:
        for record in journal.records():
            if record.header.kind == RecordKind.AUDIO:
                require_running()
                digest.update(record.header.offset, record.header.units, record.payload)
                sha256.update(record.payload)
                layout.disk.write(handle, [record.payload])
    finally:
        layout.disk.close(handle)
    return Original(path, digest.hexdigest(), sha256.hexdigest())


def _decoded(
    decoder: Decoder, digest: Digest, require_running: Callable[[], None]
) -> Iterator[Buffer]:
    width = decoder.format.frame_bytes
    while data := decoder.read(BLOCK_FRAMES):
        require_running()
        digest.update(digest.units, len(data) // width, data)
        yield data
