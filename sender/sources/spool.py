"""
A live source's audio on disk, until a receiver has it: files of records, as in a journal.

It survives the sender's process. Files whose audio is acknowledged make room for what comes, the
oldest first; as long as there is room they stay, so that the whole stream can be summed again.
"""

from __future__ import annotations

import fcntl
import shutil
import threading
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO, Final

from sender.errors import SourceError, SpoolFullError
from sonoduct.wire import HEADER_BYTES, Hello, RecordKind, encode_record, records

from .cursor import Cursor

FILES: Final = 16
"""A spool's limit is spread over so many files; one is the least that can be let go of."""

SUFFIX: Final = ".spool"
LOCK: Final = "lock"
WAIT_S: Final = 0.2
"""How soon a waiting thread notices that the spool is closed."""


@dataclass
class _File:
    base: int
    path: Path
    size: int


class Spool:
    """One stream's spool. One thread appends while another one reads."""

    def __init__(self, folder: Path, hello: Hello, limit: int) -> None:
        """
        Open the spool of the stream *hello* in *folder*, which may hold some of it already.

        Raises:
            BlockingIOError: if another process has it open.
            OSError: if the folder cannot be written to.
        """
        folder.mkdir(parents=True, exist_ok=True)
        self.hello = hello
        self.end = 0
        """The unit after the last one."""
        self.ended = False
        """Whether no more will come."""
        self.full = False
        """Whether somebody waits for room."""
        self._folder = folder
        self._limit = limit
        self._width = hello.unit_bytes
        self._overhead = HEADER_BYTES + len(records.opening(0, 0, hello))
        self._lock = (folder / LOCK).open("w")
        self._files: list[_File] = []
        self._writing: BinaryIO | None = None
        self._cursor: Cursor | None = None
        self._released = 0
        self._changed = threading.Condition()
        try:
            fcntl.flock(self._lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            self._load()
        except OSError:
            self._lock.close()
            raise

    @property
    def first(self) -> int:
        """The first unit that is still there."""
        return self._files[0].base if self._files else 0

    def append(self, payload: bytes, *, wait: bool) -> bool:
        """
        Add whole frames; False if the spool was closed while it waited for room.

        Raises:
            SpoolFullError: if there is no room, and it is not to *wait* for the receiver.
            OSError: if the disk refuses.
        """
        with self._changed:
            while not self._has_room(len(payload) + self._overhead):
                if not wait:
                    what = f"{self.hello.name}: the receiver lags by more bytes than the spool has"
                    raise SpoolFullError(f"{what}, expected at most {self._limit}")
                self.full = True
                self._changed.wait(WAIT_S)
            self.full = False
            if self._lock.closed:
                return False
            units = len(payload) // self._width
            self._write(encode_record(RecordKind.AUDIO, 0, self.end, units, payload))
            self.end += units
            self._changed.notify_all()
            return True

    def finish(self) -> None:
        """Say that no more will come."""
        with self._changed:
            closing = self._files and not (self.ended or self._lock.closed)
            self.ended = True  # whether or not the disk takes the record: readers wait for this
            self._changed.notify_all()
            if closing:
                self._write(records.closing(0, self.end))

    def read(self, offset: int, units: int) -> bytes:
        """
        Return up to *units* frames from *offset*; waits for one, and returns none at the end.

        Raises:
            SourceError: if they are gone.
        """
        with self._changed:
            if offset < self.first:
                what = f"{self.hello.name}: frame {offset} is gone"
                raise SourceError(f"{what}, expected {self.first} or more")
            while offset >= self.end and not (self.ended or self._lock.closed):
                self._changed.wait(WAIT_S)
            if offset >= self.end or self._lock.closed:
                return b""
            record = self._record_at(offset)
            start = (offset - record.header.offset) * self._width
            return record.payload[start : start + units * self._width]

    def release(self, offset: int) -> None:
        """Units before *offset* are safe elsewhere; they go when their room is needed."""
        with self._changed:
            self._released = offset
            self._changed.notify_all()

    def close(self) -> None:
        """Let go of the files; another process may go on with them."""
        with self._changed:
            if self._writing is not None:
                self._writing.close()
            if self._cursor is not None:
                self._cursor.close()
            self._lock.close()
            self._changed.notify_all()

    def remove(self) -> None:
        """Remove the files: the stream has its receipt."""
        shutil.rmtree(self._folder)

    def _has_room(self, size: int) -> bool:
        while sum(file.size for file in self._files) + size > self._limit and self._files:
            if self._lock.closed:
                return True  # and nothing is written any more
            if len(self._files) == 1 or self._files[1].base > self._released:
                return False
            self._files.pop(0).path.unlink()
        return True

    def _write(self, record: bytes) -> None:
        if self._writing is None or self._files[-1].size * FILES >= self._limit:
            self._roll()
        assert self._writing is not None
        self._writing.write(record)
        self._writing.flush()  # to the kernel: it survives this process
        self._files[-1].size += len(record)

    def _roll(self) -> None:
        if self._writing is not None:
            self._writing.close()
        path = self._folder / f"{self.end:020d}{SUFFIX}"
        record = records.opening(0, self.end, self.hello)
        self._writing = path.open("wb")
        self._writing.write(record)
        self._files.append(_File(self.end, path, len(record)))

    def _record_at(self, offset: int) -> records.Record:
        """The record that holds *offset*, which the spool has."""
        cursor = self._cursor
        record = cursor.advance_to(offset) if cursor and cursor.base <= offset else None
        if record is None:  # it is in another file
            record = self._seek(offset).advance_to(offset)
        if record is None:
            raise SourceError(f"{self.hello.name}: the spool is damaged at frame {offset}")
        return record

    def _seek(self, offset: int) -> Cursor:
        if self._cursor is not None:
            self._cursor.close()
        file = next(file for file in reversed(self._files) if file.base <= offset)
        self._cursor = Cursor(file.path.open("rb"), file.base)
        return self._cursor

    def _load(self) -> None:
        """Find what an earlier process left. Nothing more will come: its source is gone, too."""
        for path in sorted(self._folder.glob(f"*{SUFFIX}")):
            with path.open("rb") as file:
                for record in records.read_records(file):
                    self.end = record.header.offset + record.header.units
            self._files.append(_File(int(path.stem), path, path.stat().st_size))
            self.ended = True
