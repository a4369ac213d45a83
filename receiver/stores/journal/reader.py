"""
Reading journals: which bytes of which segments are the stream.

The rule: segments with a valid opening, in the order of epochs; each counts up to where a later one
starts, and up to its first bad record. So what a paused receiver writes after it was fenced is
never read.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from sonoduct.audio.flac import unpack
from sonoduct.wire import (
    HEADER_BYTES,
    VERSION,
    Buffer,
    Hello,
    Malformed,
    Receipt,
    RecordKind,
    StorageFailed,
    WireError,
    decode_header,
)
from sonoduct.wire.records import Record, hello_of, read_closing, read_records, receipt_of

from .disk import Disk
from .layout import Part, parts


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


@dataclass(frozen=True, slots=True)
class Segment:
    """A segment whose opening is right."""

    part: Part
    path: Path
    base: int
    """The unit that it starts with."""
    hello: Hello
    """What it was claimed with."""


@dataclass(frozen=True, slots=True)
class Tail:
    """How a segment ends."""

    offset: int
    """The unit after its last one."""
    size: int
    """Bytes of its records that are right; 0 if they were not looked at."""
    closed: bool
    """Whether its writer had time to say that it ends here."""
    receipt: Receipt | None = None
    """If the stream is complete."""


def segments(disk: Disk, folder: Path) -> list[Segment]:
    """Return every segment of a journal that has a right opening, in order."""
    found = (_segment(disk, folder, part) for part in parts(disk, folder))
    return [each for each in found if each is not None]


def last_segment(disk: Disk, folder: Path, below: int) -> Segment | None:
    """
    Return the last one of an epoch under *below*: where a claim continues.

    Raises:
        StorageFailed: if one behind it has audio, and an opening that was damaged.
    """
    for part in reversed(parts(disk, folder)):
        if part.epoch < below:
            if found := _segment(disk, folder, part):
                return found
            with suppress(FileNotFoundError):
                require_no_record(disk, folder / part.name, 0)
    return None


def tail_of(disk: Disk, segment: Segment, within: int | None = None) -> Tail:
    """
    Return how *segment* ends; it is read unless its last record is a CLOSING.

    Only the records *within* so many bytes count, if that is given.
    """
    with disk.read(segment.path) as file:
        header = read_closing(file)
        if header is not None and header.epoch == segment.part.epoch:
            return Tail(header.offset, 0, closed=True)
    return whole_tail_of(disk, segment, within)


def whole_tail_of(disk: Disk, segment: Segment, within: int | None = None) -> Tail:
    """Return how *segment* ends, having read all of it."""
    offset, size, receipt, closed = segment.base, 0, None, False
    for record in records_of(disk, segment):
        end = size + HEADER_BYTES + record.header.length
        if within is not None and end > within:
            break
        offset, size = record.header.offset + record.header.units, end
        closed = record.header.kind in (RecordKind.CLOSING, RecordKind.END)
        if record.header.kind == RecordKind.END:
            receipt = receipt_of(record)
    return Tail(offset, size, closed, receipt)


def records_of(disk: Disk, segment: Segment) -> Iterator[Record]:
    """Yield the records of *segment*, up to the first that does not follow from those before."""
    expected = segment.base
    with disk.read(segment.path) as file:
        for index, record in enumerate(read_records(file)):
            kind, header = record.header.kind, record.header
            known = kind in (RecordKind.AUDIO, RecordKind.END, RecordKind.CLOSING) or not index
            if not known or (header.epoch, header.offset) != (segment.part.epoch, expected):
                return
            expected += header.units
            yield record
            if kind in (RecordKind.END, RecordKind.CLOSING):
                return


def read_stream(disk: Disk, folder: Path) -> Iterator[Record]:
    """
    Yield the chunks of a stream in order, and its END if it has one.

    Raises:
        StorageFailed: if audio is missing between two segments.
    """
    chain = segments(disk, folder)
    reached = 0
    for index, segment in enumerate(chain):
        limit = min((later.base for later in chain[index + 1 :]), default=None)
        if segment.base > reached:
            missing = f"{folder.name}: segment {segment.part.name} starts at unit"
            raise StorageFailed(missing, seen=segment.base, expected=f"at most {reached}")
        for record in records_of(disk, segment):
            if limit is not None and record.header.offset >= limit:
                break
            if record.header.kind == RecordKind.AUDIO:
                reached = record.header.offset + record.header.units
                yield record
            elif record.header.kind == RecordKind.END:
                yield record


def canonical_of(record: Record, hello: Hello) -> Buffer:
    """
    Return the canonical bytes of a chunk's units.

    Raises:
        StorageFailed: if a compressed payload is not what was checked when it came.
    """
    if not hello.compressed:
        return record.payload
    try:
        return unpack(record.payload, record.header.units, hello.pcm)
    except Malformed as exc:
        what = f"{hello.stream}: chunk at unit {record.header.offset}: {exc}"
        raise StorageFailed(what) from exc


def _segment(disk: Disk, folder: Path, part: Part) -> Segment | None:
    path = folder / part.name
    try:
        with disk.read(path) as file:
            record = next(read_records(file), None)
    except FileNotFoundError:  # removed a moment ago, by whoever completed the stream
        return None
    try:
        hello = hello_of(record) if record else None
    except WireError:
        return None
    if record is None or hello is None or record.header.epoch != part.epoch:
        return None
    return Segment(part, path, record.header.offset, hello)


def complete(disk: Disk, folder: Path) -> tuple[Hello, int, Receipt] | None:
    """Return the hello, the epoch and the receipt of a complete journal; None if it is not."""
    last = last_segment(disk, folder, below=2**63)
    if last is None or (tail := tail_of(disk, last)).receipt is None:
        return None
    return last.hello, last.part.epoch, tail.receipt
