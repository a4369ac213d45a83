"""Files that were sent as they are: out of the journal, a file again."""

from __future__ import annotations

import hashlib
import uuid
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from receiver.stores import Original
from sonoduct.wire import Digest, Hello, RecordKind, StorageFailed

from .disk import Disk
from .layout import Layout
from .reader import last_segment, read_stream, tail_of


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
