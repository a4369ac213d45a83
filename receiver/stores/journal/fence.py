"""Claiming: first the fence, then the scan."""

from __future__ import annotations

from contextlib import suppress
from dataclasses import dataclass
from os import SEEK_END
from pathlib import Path
from typing import Final

from sonoduct.wire import (
    HEADER_BYTES,
    Fenced,
    Gone,
    Held,
    Hello,
    Malformed,
    Receipt,
    RecordKind,
    StorageFailed,
    TooLarge,
)
from sonoduct.wire.records import read_records

from .disk import Disk
from .done import Done, State, read_done
from .layout import Part, parts
from .reader import Segment, Tail, last_segment, tail_of
from .writer import Writer

MOST_EPOCHS: Final = 2**32 - 1
"""Claims on one stream: what an epoch on the wire can count."""

THIN_EVERY: Final = 100
"""Claims after which the files of those that brought nothing are removed."""

BURIED: Final = b"buried"
"""Stands in a segment whose claim did not come to open it, once a newer one has seen to that."""

CLOCK_S: Final = 2.0
"""What a file's time may be ahead of the clock that is read a moment later."""

ATTEMPTS: Final = 100
"""Others may claim the same stream at the same moment; one of them wins each time."""


@dataclass(frozen=True, slots=True)
class Granted:
    """A claim that succeeded: either *writer*, or the receipt of a complete stream."""

    epoch: int
    offset: int
    writer: Writer | None = None
    receipt: Receipt | None = None


def claim(disk: Disk, folder: Path, hello: Hello, takeover_s: float) -> Granted:
    """
    Claim the stream whose journal is *folder* for the connection that said *hello*.

    Raises:
        Held: if another sender has made progress within *takeover_s* seconds, on any receiver.
        Fenced: if a newer claim came meanwhile.
        Gone: if the stream was cancelled or has expired.
        Malformed: if the stream exists in another format.
        StorageFailed: if the disk refuses.
    """
    try:
        for _ in range(ATTEMPTS):
            try:
                return _claim(disk, folder, hello, takeover_s)
            except FileNotFoundError:
                # Removed, by whoever has ended the stream at this moment or found its folder empty.
                disk.make_folder(folder.parent)
        return _claim(disk, folder, hello, takeover_s)
    except OSError as exc:
        raise StorageFailed(f"{folder.name}: {exc.strerror}") from exc


def _claim(disk: Disk, folder: Path, hello: Hello, takeover_s: float) -> Granted:
    new = disk.add_folder(folder)
    if not new:
        if done := read_done(disk, folder):
            return _complete(done)
        _require_free(disk, folder, hello, takeover_s)
    writer = _fence(disk, folder, hello, new=new)
    try:
        return _scan(disk, folder, hello, writer)
    except BaseException:
        writer.drop()
        raise


def _require_free(disk: Disk, folder: Path, hello: Hello, takeover_s: float) -> None:
    """Leave a stream alone that another sender is busy with, perhaps by way of another receiver."""
    last = last_segment(disk, folder, MOST_EPOCHS + 1)
    if last is None or last.hello.instance == hello.instance:
        return
    idle = disk.idle(last.path)
    # A time to come is that of a clock that was set back since: nothing was written after that.
    if -CLOCK_S < idle < takeover_s and not tail_of(disk, last).closed:
        expected = f"{takeover_s:g} before another sender may take it over"
        raise Held(
            "stream is held; seconds without progress", seen=round(idle, 1), expected=expected
        )


def _fence(disk: Disk, folder: Path, hello: Hello, *, new: bool) -> Writer:
    """
    From here on, no older claim acknowledges anything that the scan does not see.

    In a *new* folder there is nothing to look for: who was faster has epoch 1, or has ended it.
    """
    for attempt in range(ATTEMPTS):
        known = () if new and not attempt else parts(disk, folder)
        epoch = max((part.epoch for part in known), default=0) + 1
        if epoch > MOST_EPOCHS:
            raise TooLarge("claims on the stream", seen=epoch, expected=f"<= {MOST_EPOCHS}")
        try:
            return Writer(disk, folder, hello, epoch)
        except FileExistsError:
            continue
    raise Fenced("newer connections claim the stream all the time")


def _scan(disk: Disk, folder: Path, hello: Hello, writer: Writer) -> Granted:
    tail = _count(disk, folder, hello, writer)
    if done := read_done(disk, folder):  # what was counted may have been removed meanwhile
        disk.remove(folder / Part(writer.epoch, 0).name)
        writer.drop()
        return _complete(done)
    writer.require_latest()
    if tail is not None and tail.receipt is not None:
        writer.drop()
        return Granted(writer.epoch, tail.offset, receipt=tail.receipt)
    offset = tail.offset if tail else 0
    writer.open(offset)
    if writer.epoch % THIN_EVERY == 0:
        with suppress(OSError):  # the next time will do
            _thin(disk, folder, writer.epoch)
    return Granted(writer.epoch, offset, writer)


def _thin(disk: Disk, folder: Path, epoch: int) -> None:
    """
    Remove the segments before *epoch*, which is open, that hold no audio.

    A writer that sleeps is fenced by the name of the next epoch, or by the loss of its own file.
    So the lowest go first, and behind a segment that stays one name stays: of a new file, in which
    nobody writes.
    """
    found = parts(disk, folder)
    audible = {part.epoch for part in found if part.number or _is_audible(disk, folder / part.name)}
    follows = False  # a segment that stays
    for part in found:
        path = folder / part.name
        if part.epoch >= epoch:
            return
        if part.epoch in audible:
            follows = True
        elif not follows:
            disk.remove(path)
        else:
            follows = False
            if not _buried(disk, path):
                disk.replace(path, BURIED)


def _is_audible(disk: Disk, path: Path) -> bool:
    """Whether a segment holds more than its opening and its closing, be it right or torn."""
    with disk.read(path) as file:
        known = sum(
            HEADER_BYTES + record.header.length
            for record in read_records(file)
            if record.header.kind in (RecordKind.OPENING, RecordKind.CLOSING)
        )
        return file.seek(0, SEEK_END) > known and not _buried(disk, path)


def _count(disk: Disk, folder: Path, hello: Hello, writer: Writer) -> Tail | None:
    """Return how the last segment ends as far as it is durable; None if there is none."""
    if writer.epoch == 1:
        return None
    last = last_segment(disk, folder, writer.epoch)
    _bury(disk, folder, last, writer.epoch)
    if last is None:
        return None
    _require_same_format(last, hello)
    return tail_of(disk, last, within=disk.sync_file(last.path))


def _bury(disk: Disk, folder: Path, last: Segment | None, epoch: int) -> None:
    """
    Have the claims before *epoch* that did not open their segments never do so.

    An opening that comes late says a unit to start with that was counted before. What it is written
    to then has no name any more; the name stays, for others to see that they are fenced. Later
    parts are left alone: they start where the one before ended, and a newer claim may count them.
    """
    begun = last.part.epoch if last else 0
    for part in parts(disk, folder):
        path = folder / part.name
        if begun < part.epoch < epoch and not part.number and not _buried(disk, path):
            disk.replace(path, BURIED)


def _buried(disk: Disk, path: Path) -> bool:
    with disk.read(path) as file:
        return file.read(len(BURIED) + 1) == BURIED


def _complete(done: Done) -> Granted:
    if done.state is not State.COMMITTED or done.receipt is None:
        raise Gone(f"stream was {done.state}")
    return Granted(done.epoch, done.receipt.units, receipt=done.receipt)


def _require_same_format(last: Segment, hello: Hello) -> None:
    if (last.hello.kind, last.hello.format) != (hello.kind, hello.format):
        raise Malformed("format", seen=hello.format, expected=last.hello.format)
