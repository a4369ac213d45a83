"""``done.json``: what is left of a journal once the stream is over."""

from __future__ import annotations

import enum
from pathlib import Path

import msgspec

from sonoduct.wire import Receipt, StorageFailed

from .disk import Disk
from .layout import DONE, Part, parts
from .reader import complete, last_segment


class State(enum.StrEnum):
    """How a stream ended."""

    COMMITTED = "committed"
    CANCELLED = "cancelled"
    EXPIRED = "expired"


class Done(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """The end of a stream; whoever claims it again gets this for an answer."""

    state: State
    epoch: int
    receipt: Receipt | None = None
    recording: str | None = None
    """Path of the audio, relative to the store."""


def read_done(disk: Disk, folder: Path) -> Done | None:
    """
    Return how the stream ended; None if it has not.

    Whoever gives a stream up and then finds a newer claim takes that back. If it crashes between,
    the newer claim counts, and whatever came under it.

    Raises:
        StorageFailed: if the file is damaged.
    """
    try:
        with disk.read(folder / DONE) as file:
            done = msgspec.json.decode(file.read(), type=Done)
    except FileNotFoundError:
        return None
    except msgspec.DecodeError as exc:
        raise StorageFailed(f"{folder / DONE}: {exc}") from exc
    outlived = done.state is not State.COMMITTED and _claimed_after(disk, folder, done.epoch)
    return None if outlived else done


def write_done(disk: Disk, folder: Path, done: Done) -> None:
    """Say how the stream ended, durably; then remove its segments."""
    disk.replace(folder / DONE, encode_done(done))
    clear(disk, folder)


def encode_done(done: Done) -> bytes:
    """Return what the file says."""
    return msgspec.json.encode(done)


def _claimed_after(disk: Disk, folder: Path, epoch: int) -> bool:
    last = last_segment(disk, folder, below=2**63)
    return last is not None and last.part.epoch > epoch


def clear_left(disk: Disk, folder: Path) -> None:
    """Remove the segments that a crash has left of a stream that is over."""
    if parts(disk, folder):
        disk.sync_folder(folder)  # whoever said that it is over may not have come to that
        clear(disk, folder)


def clear(disk: Disk, folder: Path) -> None:
    """Remove the segments of a stream that is durably over, the oldest first."""
    for part in parts(disk, folder):
        disk.remove(folder / part.name)


def is_over(disk: Disk, folder: Path) -> bool:
    """Whether the stream has ended, perhaps without a recording so far."""
    return bool(read_done(disk, folder) or complete(disk, folder))


def give_up(disk: Disk, folder: Path, state: State, epoch: int) -> bool:
    """
    Fence whoever may still hold the stream with *epoch*, then remove its audio, and remember that.

    Returns whether that was done: somebody may have claimed or ended it before.
    """
    with disk.lock(folder) as mine:
        return mine and _give_up(disk, folder, state, epoch)


def forget(disk: Disk, folder: Path) -> None:
    """Remove all there is of a stream that is over, whose lock the caller has."""
    clear(disk, folder)
    disk.remove(folder / DONE)
    disk.remove_folder(folder)


def _give_up(disk: Disk, folder: Path, state: State, epoch: int) -> bool:
    try:
        disk.close(disk.create(folder / Part(epoch, 0).name))
    except FileExistsError:
        return False
    if is_over(disk, folder):
        return False
    disk.replace(folder / DONE, encode_done(Done(state=state, epoch=epoch)))
    if parts(disk, folder)[-1].epoch > epoch:  # claimed before that could be read
        disk.remove(folder / DONE)
        return False
    clear(disk, folder)
    return True
