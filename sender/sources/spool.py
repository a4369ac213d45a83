"""
The spool: a live source's audio on disk, until a receiver has it; files of records as in a journal.

A spool survives the sender's process. If it is full, the oldest file goes, once its audio is
acknowledged. Until then every file stays, so that the whole stream can be summed again.
"""

from __future__ import annotations

import fcntl
import shutil
import threading
import uuid
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO, Final

from sender.errors import SourceError, SpoolFullError
from sonoduct.wire import (
    HEADER_BYTES,
    Buffer,
    Format,
    Hello,
    RecordKind,
    WireError,
    encode_record,
    records,
)

from . import identity

FILES: Final = 16
"""A spool has about this many files when it is full; a whole file is dropped at a time."""

SUFFIX: Final = ".spool"
LOCK: Final = "lock"
WAIT_S: Final = 0.2
"""Seconds until a waiting thread notices that the spool is closed."""


class Spools:
    """The folder of all spools for one receiver."""

    def __init__(self, root: Path, to: str, limit: int) -> None:
        self._folder = root.expanduser() / identity(to)[:16]
        self._limit = limit

    def create(self, name: str, audio_format: Format) -> Spool:
        """
        Start a spool for a new stream.

        Raises:
            SourceError: if the disk refuses.
        """
        stream = uuid.uuid4().hex
        hello = Hello(stream=stream, instance="spool", name=name, format=audio_format)
        try:
            return Spool(self._folder / stream, hello, self._limit)
        except OSError as exc:
            raise SourceError(f"{self._folder}: {exc.strerror}, expected room to spool") from exc

    def left(self) -> Iterator[Spool]:
        """Yield the spools that killed runs left; skip spools that another process has open."""
        for folder in sorted(self._folder.glob("*/")):
            hello = _hello(folder)
            if hello is None:
                continue
            try:
                spool = Spool(folder, hello, self._limit)
            except OSError:  # another process has it open
                continue
            spool.finish()  # the process that wrote to it has ended
            if spool.end:
                yield spool
            else:
                spool.close()
                spool.remove()


def _hello(folder: Path) -> Hello | None:
    """Return the hello in the first file of a spool, None if it has none."""
    for path in sorted(folder.glob(f"*{SUFFIX}")):
        with path.open("rb") as file:
            record = next(records.read_records(file), None)
        try:
            return records.hello_of(record) if record else None
        except WireError:
            return None
    return None


@dataclass
class _File:
    base: int
    path: Path
    size: int


class Spool:
    """One stream's spool. One thread appends while another thread reads."""

    def __init__(self, folder: Path, hello: Hello, limit: int) -> None:
        """
        Open the spool of the stream *hello* in *folder*, with the audio that is there already.

        *limit* is the most bytes that its files may have.

        Raises:
            BlockingIOError: if another process has it open.
            OSError: if the folder cannot be written to.
        """
        folder.mkdir(parents=True, exist_ok=True)
        self.hello = hello
        self.end = 0
        """The unit after the last one."""
        self.ended = False
        """Whether no more audio will be added."""
        self.full = False
        """Whether `append` waits for room."""
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
        """The first unit that is still in the spool."""
        return self._files[0].base if self._files else 0

    def append(self, payload: Buffer, *, wait: bool) -> bool:
        """
        Add whole frames; return False if the spool was closed while this waited for room.

        Raises:
            SpoolFullError: if there is no room, without *wait*.
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
        """End the stream: no more audio will be added."""
        with self._changed:
            closing = self._files and not (self.ended or self._lock.closed)
            self.ended = True  # readers wait for this, even if the disk refuses the record
            self._changed.notify_all()
            if closing:
                self._write(records.closing(0, self.end))

    def read(self, offset: int, units: int) -> bytes:
        """
        Wait for a frame at *offset*; return up to *units* frames, and no bytes at the end.

        Raises:
            SourceError: if the frames were dropped, or are damaged.
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
        """Allow units before *offset* to be dropped when room is needed: the receiver has them."""
        with self._changed:
            self._released = offset
            self._changed.notify_all()

    def close(self) -> None:
        """Close the files; another process may then open the spool."""
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
                return True  # nothing is written after this
            if len(self._files) == 1 or self._files[1].base > self._released:
                return False
            self._files.pop(0).path.unlink()
        return True

    def _write(self, record: bytes) -> None:
        if self._writing is None or self._files[-1].size * FILES >= self._limit:
            self._roll()
        assert self._writing is not None
        self._writing.write(record)
        self._writing.flush()  # to the kernel, so that it survives this process
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
        """Return the record that holds *offset*, which is in the spool."""
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
        """Find the audio of an earlier process. Its source ended with that process."""
        for path in sorted(self._folder.glob(f"*{SUFFIX}")):
            with path.open("rb") as file:
                for record in records.read_records(file):
                    self.end = record.header.offset + record.header.units
            self._files.append(_File(int(path.stem), path, path.stat().st_size))
            self.ended = True


class Cursor:
    """The position of the reader: the last record, and the file behind it."""

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
