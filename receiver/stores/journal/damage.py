"""Telling a crash from damage: a crash leaves a tail that is cut short, and nothing behind it."""

from __future__ import annotations

from pathlib import Path

from sonoduct.wire import HEADER_BYTES, VERSION, StorageFailed, WireError, decode_header

from .disk import Disk


def require_no_record(disk: Disk, path: Path, start: int) -> None:
    """
    Check that no record follows byte *start* of a segment, where the records that are right end.

    An opening is durable before anything is written behind it, and so is a chunk before the next
    group of them; a record behind one that is not right shows that something changed it later.

    Raises:
        StorageFailed: if there is one.
    """
    with disk.read(path) as file:
        file.seek(start)
        rest = file.read()
    at = rest.find(VERSION, 1)  # every header begins with it
    while at >= 0:
        if is_header(rest[at : at + HEADER_BYTES]):
            what = f"{path}: damaged from byte {start} to"
            raise StorageFailed(what, seen=start + at, expected="no record after a bad one")
        at = rest.find(VERSION, at + 1)


def require_unopened(disk: Disk, path: Path) -> None:
    """
    Tell a segment whose opening was cut short, as by a crash, from one whose opening is damaged.

    Raises:
        StorageFailed: if there is a whole opening, and it is not right.
    """
    with disk.read(path) as file:
        start = file.read(HEADER_BYTES)
        rest = file.read()
    if len(start) < HEADER_BYTES:
        return
    if not is_header(start) or len(rest) >= decode_header(start).length:
        raise StorageFailed(f"{path}: its opening is damaged, or of another version")


def is_header(data: bytes) -> bool:
    """Whether *data* is the header of a record."""
    try:
        decode_header(data)
    except WireError:
        return False
    return True
