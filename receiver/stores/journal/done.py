"""``done.json``: what is left of a journal once the stream is over."""

from __future__ import annotations

import enum
from pathlib import Path

import msgspec

from sonoduct.wire import Receipt, StorageFailed

from .disk import Disk
from .layout import DONE, parts
from .reader import last_segment


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
