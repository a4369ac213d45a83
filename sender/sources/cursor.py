"""Reading a spool: one file, record by record, while it may still be growing."""

from __future__ import annotations

from typing import BinaryIO

from sonoduct.wire import RecordKind, records


class Cursor:
    """Where reading stands: the record last read, and the file behind it."""

    def __init__(self, file: BinaryIO, base: int) -> None:
        self._file = file
        self.base = base
        """The first unit that can be read without going back."""
        self._record: records.Record | None = None

    def close(self) -> None:
        """Free the file."""
        self._file.close()

    def advance_to(self, offset: int) -> records.Record | None:
        """Return the record that holds *offset*; None if the file ends before it."""
        while (record := self._record) is None or not _holds(record, offset):
            position = self._file.tell()
            self._record = next(records.read_records(self._file), None)
            if self._record is None:
                self._file.seek(position)
                return None
            self.base = self._record.header.offset
        return record


def _holds(record: records.Record, offset: int) -> bool:
    start = record.header.offset
    return record.header.kind == RecordKind.AUDIO and start <= offset < start + record.header.units
