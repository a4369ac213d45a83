"""
A journal: the folder of one stream on a disk.

The folder holds the stream's segments, and ``done.json`` once the stream is over. This module says
what the folder holds. Other modules decide: `fence` who may append, `done` when a stream is over,
`janitor` when a journal needs work.

The stream is made of the segments with a right opening, in the order of their epochs. Each counts
up to the unit at which a later one starts, and up to its own first bad record. So readers never see
the audio that a paused receiver writes after a newer claim has fenced it.
"""

from __future__ import annotations

import enum
import re
from collections.abc import Iterator, Sequence
from contextlib import AbstractContextManager, suppress
from dataclasses import dataclass
from itertools import accumulate
from math import inf
from pathlib import Path
from typing import Final, NamedTuple

import msgspec

from sonoduct.wire import Hello, Receipt, RecordKind, StorageFailed
from sonoduct.wire.records import Record

from .disk import PosixDisk
from .reader import Part, Segment, read_segment, require_no_record

DONE: Final = "done.json"

ABOVE_ALL: Final = 2**63
"""An epoch that no claim reaches."""

_PART: Final = re.compile(r"\d{20}\.\d{6}\.seg")


class State(enum.StrEnum):
    """How a stream ended."""

    COMMITTED = "committed"
    CANCELLED = "cancelled"
    EXPIRED = "expired"


class Done(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """The content of ``done.json``: the answer to every later claim on the stream."""

    state: State
    epoch: int
    receipt: Receipt | None = None
    recording: str | None = None
    """Path of the audio, relative to the store."""


class Connection(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """One connection that claimed the stream: its line in the manifest."""

    epoch: int
    offset: int
    """The unit at which it continued."""
    instance: str
    """The sending process."""
    replica: str = ""
    peer: str = ""
    token: str = ""
    """Name of the sender's token."""
    sender_stream: str = ""
    """With a token: the id that the sender knows the stream by."""


class Complete(NamedTuple):
    """A journal whose last record is an END."""

    hello: Hello
    epoch: int
    receipt: Receipt


@dataclass(frozen=True, slots=True, repr=False)
class Journal:
    """The folder of one stream on a disk. Methods block, and raise OSError as the disk does."""

    disk: PosixDisk
    folder: Path

    def __repr__(self) -> str:
        return f"<Journal {self.stream}>"

    @property
    def stream(self) -> str:
        """The stream's id, which names the folder."""
        return self.folder.name

    def path(self, part: Part) -> Path:
        """Return the path of the segment *part*."""
        return self.folder / part.name

    def names(self) -> list[str]:
        """Return the names of all segments in order, valid or not; there may be thousands."""
        return sorted(filter(_PART.fullmatch, self.disk.names(self.folder)))

    def parts(self) -> list[Part]:
        """Return all segments in order, valid or not."""
        return [Part.of(name) for name in self.names()]

    def segments(self) -> list[Segment]:
        """Return the segments with a right opening, in order."""
        found = (read_segment(self.disk, self.path(part), part) for part in self.parts())
        return [each for each in found if each is not None]

    def size(self) -> int:
        """Return the bytes that the folder's files take on the disk."""
        return sum(size for _, size in self.disk.sizes(self.folder))

    def connections(self) -> list[Connection]:
        """Return the connections that claimed the stream, as far as their segments are there."""
        found = (read_segment(self.disk, self.path(part), part) for part in self.parts())
        return [
            Connection(
                epoch=each.part.epoch,
                offset=each.base,
                instance=each.hello.instance,
                replica=each.origin.replica,
                peer=each.origin.peer,
                token=each.origin.token,
                sender_stream=each.origin.sender_stream,
            )
            for each in found
            if each is not None and not each.part.number
        ]

    def last_segment(
        self, below: int = ABOVE_ALL, names: Sequence[str] | None = None
    ) -> Segment | None:
        """
        Return the last segment of an epoch below *below*: a claim continues there.

        *names* are the ones of all segments, if the caller has them.

        Raises:
            StorageFailed: if a later segment has audio behind a damaged opening.
        """
        for part in map(Part.of, reversed(self.names() if names is None else names)):
            if part.epoch < below:
                path = self.path(part)
                if found := read_segment(self.disk, path, part):
                    return found
                with suppress(FileNotFoundError):
                    require_no_record(self.disk, path, 0)
        return None

    def records(self) -> Iterator[Record]:
        """
        Yield the chunks of the stream in order, and its END if it has one.

        Raises:
            StorageFailed: if audio is missing between two segments.
        """
        chain = self.segments()
        reached = 0
        for segment, limit in zip(chain, _limits(chain), strict=True):
            if segment.base > reached:
                missing = f"{self.stream}: segment {segment.part.name} starts at unit"
                raise StorageFailed(missing, seen=segment.base, expected=f"at most {reached}")
            for record in segment.records():
                if record.header.offset >= limit:
                    break
                if record.header.kind == RecordKind.AUDIO:
                    reached = record.header.offset + record.header.units
                    yield record
                elif record.header.kind == RecordKind.END:
                    yield record

    def complete(self) -> Complete | None:
        """Return what completes the stream; None if its last segment has no END."""
        last = self.last_segment()
        if last is None or (tail := last.tail()).receipt is None:
            return None
        return Complete(last.hello, last.part.epoch, tail.receipt)

    def done(self) -> Done | None:
        """
        Return how the stream ended; None if it has not.

        A receiver that gives a stream up and then finds a newer claim removes ``done.json`` again.
        If it crashes before that, the newer claim counts, and so does the audio that came under it.

        Raises:
            StorageFailed: if the file is damaged.
        """
        path = self.folder / DONE
        try:
            with self.disk.read(path) as file:
                done = msgspec.json.decode(file.read(), type=Done)
        except FileNotFoundError:
            return None
        except msgspec.DecodeError as exc:
            raise StorageFailed(f"{path}: {exc}") from exc
        outlived = done.state is not State.COMMITTED and self._claimed_after(done.epoch)
        return None if outlived else done

    def write_done(self, done: Done) -> None:
        """Say durably how the stream ended."""
        self.disk.replace(self.folder / DONE, msgspec.json.encode(done))

    def remove_done(self) -> None:
        """Take that back."""
        self.disk.remove(self.folder / DONE)

    def remove_segments(self) -> None:
        """Remove all segments, the oldest first."""
        for part in self.parts():
            self.disk.remove(self.path(part))

    def lock(self) -> AbstractContextManager[bool]:
        """Lock the folder against other processes; gives False if one of them has locked it."""
        return self.disk.lock(self.folder)

    def _claimed_after(self, epoch: int) -> bool:
        last = self.last_segment()
        return last is not None and last.part.epoch > epoch


def _limits(chain: Sequence[Segment]) -> list[float]:
    """Return for each segment the unit at which it is cut off: the lowest of the later bases."""
    bases = [inf, *(segment.base for segment in reversed(chain))]
    return list(accumulate(bases, min))[-2::-1]
