"""
Reading one segment: which of its records count, how it ends, and whether that is damage.

A segment counts up to its first bad record. A crash may leave a bad record, but only at the end of
a segment: a right record behind a bad one shows that something changed the file later.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Final, NamedTuple

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
from sonoduct.wire.records import (
    Origin,
    Record,
    hello_of,
    origin_of,
    read_closing,
    read_records,
    receipt_of,
)

from .disk import PosixDisk

_AUDIO: Final = RecordKind.AUDIO.value
_END: Final = RecordKind.END.value
_LAST: Final = frozenset({_END, RecordKind.CLOSING.value})


class Part(NamedTuple):
    """A segment's name. Part 0 is the claim itself; the later parts only keep files small."""

    epoch: int
    number: int

    @property
    def name(self) -> str:
        """The file's name; names sort as parts do."""
        return f"{self.epoch:020d}.{self.number:06d}.seg"

    @classmethod
    def of(cls, name: str) -> Part:
        """Return the part whose file has *name*."""
        return cls(int(name[:20]), int(name[21:27]))


class Tail(NamedTuple):
    """How a segment ends."""

    offset: int
    """The unit after its last one."""
    size: int
    """Bytes of its right records; 0 if only its last record was read."""
    closed: bool
    """Whether the writer said that the segment ends here."""
    receipt: Receipt | None = None
    """The stream's receipt, if the segment completes the stream."""


@dataclass(frozen=True, slots=True)
class Segment:
    """A segment with a right opening."""

    disk: PosixDisk
    part: Part
    path: Path
    base: int
    """The segment's first unit."""
    hello: Hello
    """The hello of the connection that claimed the stream."""
    origin: Origin
    """Where that connection came in."""

    def records(self) -> Iterator[Record]:
        """Yield the records, up to the first that does not follow from the ones before."""
        epoch, expected = self.part.epoch, self.base
        with self.disk.read(self.path) as file:
            for index, record in enumerate(read_records(file)):
                kind, _, units, seen, offset, _ = record.header
                if seen != epoch or offset != expected:
                    return
                if kind != _AUDIO and kind not in _LAST and index:
                    return
                expected += units
                yield record
                if kind in _LAST:
                    return

    def tail(self, within: int | None = None) -> Tail:
        """
        Return how the segment ends, and read all of it only if its last record is no CLOSING.

        If *within* is given, only records in the first *within* bytes count.
        """
        with self.disk.read(self.path) as file:
            header = read_closing(file)
            if header is not None and header.epoch == self.part.epoch:
                return Tail(header.offset, 0, closed=True)
        return self.whole_tail(within)

    def whole_tail(self, within: int | None = None) -> Tail:
        """Read all of the segment, and return how it ends."""
        offset, size, kind = self.base, 0, 0
        receipt: Receipt | None = None
        for record in self.records():
            found, length, units, _, start, _ = record.header
            end = size + HEADER_BYTES + length
            if within is not None and end > within:
                break
            offset, size, kind = start + units, end, found
            if kind == _END:
                receipt = receipt_of(record)
        return Tail(offset, size, kind in _LAST, receipt)


def read_segment(disk: PosixDisk, path: Path, part: Part) -> Segment | None:
    """Return the segment at *path*; None if it is missing, or its opening is not right."""
    try:
        with disk.read(path) as file:
            record = next(read_records(file), None)
    except FileNotFoundError:  # another process completed the stream a moment ago and removed it
        return None
    try:
        hello = hello_of(record) if record else None
    except WireError:
        return None
    if record is None or hello is None or record.header.epoch != part.epoch:
        return None
    return Segment(disk, part, path, record.header.offset, hello, origin_of(record))


def canonical_of(record: Record, hello: Hello) -> Buffer:
    """
    Return the canonical bytes of a chunk's units.

    Raises:
        StorageFailed: if a compressed payload differs from the one that was checked on arrival.
    """
    if not hello.compressed:
        return record.payload
    try:
        return unpack(record.payload, record.header.units, hello.pcm)
    except Malformed as exc:
        what = f"{hello.stream}: chunk at unit {record.header.offset}: {exc}"
        raise StorageFailed(what) from exc


def require_no_record(disk: PosixDisk, path: Path, start: int) -> None:
    """
    Check that no record follows byte *start* of a segment, where its right records end.

    The writer makes an opening durable before it writes anything behind it, and a group of chunks
    before the next group. So a crash leaves no record behind a bad one.

    Raises:
        StorageFailed: if a record follows.
    """
    with disk.read(path) as file:
        file.seek(start)
        rest = file.read()
    at = rest.find(VERSION, 1)  # every header begins with it
    while at >= 0:
        if _is_header(rest[at : at + HEADER_BYTES]):
            what = f"{path}: damaged from byte {start} to"
            raise StorageFailed(what, seen=start + at, expected="no record after a bad one")
        at = rest.find(VERSION, at + 1)


def require_unopened(disk: PosixDisk, path: Path) -> None:
    """
    Check that a segment without a right opening has no whole opening.

    A crash can cut an opening short. Only damage makes a whole opening wrong.

    Raises:
        StorageFailed: if the opening is whole, and wrong.
    """
    with disk.read(path) as file:
        start = file.read(HEADER_BYTES)
        rest = file.read()
    if len(start) < HEADER_BYTES:
        return
    if not _is_header(start) or len(rest) >= decode_header(start).length:
        raise StorageFailed(f"{path}: its opening is damaged, or of another version")


def _is_header(data: bytes) -> bool:
    try:
        decode_header(data)
    except WireError:
        return False
    return True
