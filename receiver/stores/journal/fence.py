"""
Claiming a stream: first the fence, then the scan.

A claim creates the first segment of a new epoch. That is the fence: every writer looks for it
before it lets anything be acknowledged. Then the claim makes the last segment durable and reads it.
So the claim either sees the audio of an older writer, or that writer sees the fence.
docs/decisions/0005 says why each step is needed.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from errno import EEXIST, ENOENT
from os import SEEK_END, strerror
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
from sonoduct.wire.records import Origin, read_records

from .disk import DiskFull, is_full
from .journal import Done, Journal, State
from .reader import Part, Segment, Tail
from .writer import Writer

MOST_EPOCHS: Final = 2**32 - 1
"""Claims on one stream; an epoch has 32 bits on the wire."""

THIN_EVERY: Final = 100
"""Claims after which the segments without audio are removed."""

BURIED: Final = b"buried"
"""Content of a segment that a newer claim found unopened, and closed to its writer."""

CLOCK_S: Final = 2.0
"""Seconds by which a file's time may be ahead of the clock that is read a moment later."""

NEWER: Final = "a newer connection has claimed the stream"

ATTEMPTS: Final = 100
"""Attempts to claim while other connections claim the same stream; each time one of them wins."""


@dataclass(frozen=True, slots=True)
class Granted:
    """A claim that succeeded: *writer*, or the receipt of a complete stream, or a new stream."""

    epoch: int
    offset: int
    writer: Writer | None = None
    receipt: Receipt | None = None


def claim(
    journal: Journal,
    hello: Hello,
    takeover_s: float,
    origin: Origin | None = None,
    steady: Callable[[float], float] = float,
) -> Granted:
    """
    Claim the stream for the connection that said *hello*, and came in at *origin*.

    *steady* takes jumps of the clock out of a file's age: `Ages.steady`.

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
                return _claim(journal, hello, takeover_s, origin, steady)
            except FileNotFoundError:
                # Another process removed the folder: it ended the stream, or found no segment.
                journal.disk.make_folder(journal.folder.parent)
        return _claim(journal, hello, takeover_s, origin, steady)
    except OSError as exc:
        raise StorageFailed(f"{journal.stream}: {exc.strerror}") from exc


def is_new(journal: Journal) -> bool:
    """
    Whether nothing is stored of the stream: its sender may begin, and `begin` claims it.

    Raises:
        StorageFailed: if the disk refuses.
    """
    try:
        return not journal.disk.exists(journal.folder)
    except OSError as exc:
        raise StorageFailed(f"{journal.stream}: {exc.strerror}") from exc


def begin(journal: Journal, hello: Hello, origin: Origin | None = None) -> Writer:
    """
    Claim a stream that was new when its sender was told so, now that its first chunk is there.

    So a sender without audio leaves nothing on the disk. The folder itself is the first fence: if
    another claim has made it, that one may have audio already.

    Raises:
        Fenced: if the stream was claimed meanwhile.
        StorageFailed: if the disk refuses.
    """
    try:
        writer = _begin(journal, hello, origin)
    except FileExistsError:
        raise Fenced(NEWER) from None
    except OSError as exc:
        refusal = DiskFull if is_full(exc) else StorageFailed
        raise refusal(f"{journal.stream}: {exc.strerror}") from exc
    try:
        writer.open(0)
    except BaseException as exc:
        writer.close()
        if isinstance(exc, DiskFull):  # so that the same can be tried again
            with suppress(OSError):
                journal.disk.remove(journal.path(Part(1, 0)))
                journal.disk.remove_folder(journal.folder)
        raise
    return writer


def _begin(journal: Journal, hello: Hello, origin: Origin | None) -> Writer:
    """Make the folder and the first segment; FileExistsError says that another claim has."""
    for _ in range(ATTEMPTS):
        try:
            if not journal.disk.add_folder(journal.folder):
                raise FileExistsError(EEXIST, strerror(EEXIST))
            try:
                return Writer(journal, hello, 1, origin)
            except OSError as exc:
                if is_full(exc):  # so that the same can be tried again
                    journal.disk.remove_folder(journal.folder)
                raise
        except FileNotFoundError:
            # Another process has removed the empty folder, or a person its parent.
            journal.disk.make_folder(journal.folder.parent)
    raise FileNotFoundError(ENOENT, strerror(ENOENT))


def _claim(
    journal: Journal,
    hello: Hello,
    takeover_s: float,
    origin: Origin | None,
    steady: Callable[[float], float],
) -> Granted:
    known: Sequence[str] = ()
    if not journal.disk.add_folder(journal.folder):
        if done := journal.done():
            return _complete(done)
        known = journal.names()
        _require_free(journal, known, hello, takeover_s, steady)
    writer = _fence(journal, known, hello, origin)
    try:
        return _scan(journal, hello, writer)
    except BaseException:
        writer.close()
        raise


def _require_free(
    journal: Journal,
    names: Sequence[str],
    hello: Hello,
    takeover_s: float,
    steady: Callable[[float], float],
) -> None:
    """Refuse the claim if another sender is at work on the stream, here or on another receiver."""
    last = journal.last_segment(MOST_EPOCHS + 1, names)
    if last is None or last.hello.instance == hello.instance:
        return
    idle = steady(journal.disk.idle(last.path))
    # If the file's time lies in the future, the clock was set back after the file was written.
    if -CLOCK_S < idle < takeover_s and not last.tail().closed:
        expected = f"{takeover_s:g} before another sender may take it over"
        raise Held(
            "stream is held; seconds without progress", seen=round(idle, 1), expected=expected
        )


def _fence(journal: Journal, known: Sequence[str], hello: Hello, origin: Origin | None) -> Writer:
    """
    Create the first segment of a new epoch, the one after the last of the *known* segments.

    From here on, no older claim acknowledges anything that the scan does not see. If another claim
    was faster, it has that epoch, or the scan finds it.
    """
    for _ in range(ATTEMPTS):
        epoch = Part.of(known[-1]).epoch + 1 if known else 1
        if epoch > MOST_EPOCHS:
            raise TooLarge("claims on the stream", seen=epoch, expected=f"<= {MOST_EPOCHS}")
        try:
            return Writer(journal, hello, epoch, origin)
        except FileExistsError:
            known = journal.names()
    raise Fenced("newer connections claim the stream all the time")


def _scan(journal: Journal, hello: Hello, writer: Writer) -> Granted:
    tail = _count(journal, hello, writer)
    if done := journal.done():  # then the segments may have been removed while they were counted
        journal.disk.remove(journal.path(Part(writer.epoch, 0)))
        writer.close()
        return _complete(done)
    writer.require_latest()
    if tail is not None and tail.receipt is not None:
        writer.close()
        return Granted(writer.epoch, tail.offset, receipt=tail.receipt)
    offset = tail.offset if tail else 0
    writer.open(offset)
    if writer.epoch % THIN_EVERY == 0:
        with suppress(OSError):  # a later claim tries again
            _thin(journal, writer.epoch)
    return Granted(writer.epoch, offset, writer)


def _count(journal: Journal, hello: Hello, writer: Writer) -> Tail | None:
    """Return how the last segment ends as far as it is durable; None without a segment."""
    names = journal.names()
    _require_newest(names, writer.epoch)
    last = journal.last_segment(writer.epoch, names)
    _bury(journal, names, last, writer.epoch)
    if last is None:
        return None
    if (last.hello.kind, last.hello.format) != (hello.kind, hello.format):
        raise Malformed("format", seen=hello.format, expected=last.hello.format)
    return last.tail(within=journal.disk.sync_file(last.path))


def _require_newest(names: Sequence[str], epoch: int) -> None:
    """
    Check that the fence of *epoch* is the highest one.

    If it came late, newer claims may have removed this epoch's name and the next one's meanwhile.
    Then no name would fence this claim.
    """
    newest = Part.of(names[-1]).epoch if names else 0
    if newest > epoch:
        raise Fenced("a newer connection has claimed the stream")


def _bury(journal: Journal, names: Sequence[str], last: Segment | None, epoch: int) -> None:
    """
    Keep the claims before *epoch* that have not opened their segments from ever doing so.

    A late opening would state a first unit that was counted too early. So each of these segments is
    replaced by another file. A late opening then goes to a file without a name, and the name still
    fences other writers. Later parts of a claim stay: each starts where the one before ended, and a
    newer claim may count them.
    """
    begun = last.part.epoch if last else 0
    for part in map(Part.of, reversed(names)):
        if part.epoch <= begun:
            return
        if part.epoch < epoch and not part.number and not _is_buried(journal, part):
            journal.disk.replace(journal.path(part), BURIED)


def _is_buried(journal: Journal, part: Part) -> bool:
    with journal.disk.read(journal.path(part)) as file:
        return file.read(len(BURIED) + 1) == BURIED


def _thin(journal: Journal, epoch: int) -> None:
    """
    Remove the segments before *epoch*, which is open, that hold no audio.

    A paused writer is fenced by the name of the next epoch, or by the loss of its own file. So the
    lowest segments go first, and behind a segment that stays, one name stays. That name gets a new
    file, to which no writer appends.
    """
    found = journal.parts()
    audible = {part.epoch for part in found if part.number or _is_audible(journal, part)}
    follows = False  # whether the segment before this one stays
    for part in found:
        if part.epoch >= epoch:
            return
        if part.epoch in audible:
            follows = True
        elif not follows:
            journal.disk.remove(journal.path(part))
        else:
            follows = False
            if not _is_buried(journal, part):
                journal.disk.replace(journal.path(part), BURIED)


def _is_audible(journal: Journal, part: Part) -> bool:
    """Whether a segment holds more than its opening and its closing, be it right or torn."""
    with journal.disk.read(journal.path(part)) as file:
        known = sum(
            HEADER_BYTES + record.header.length
            for record in read_records(file)
            if record.header.kind in (RecordKind.OPENING, RecordKind.CLOSING)
        )
        return file.seek(0, SEEK_END) > known and not _is_buried(journal, part)


def _complete(done: Done) -> Granted:
    if done.state is not State.COMMITTED or done.receipt is None:
        raise Gone(f"stream was {done.state}")
    return Granted(done.epoch, done.receipt.units, receipt=done.receipt)
