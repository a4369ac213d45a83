"""``done.json``: what is left of a journal once the stream is over."""

from __future__ import annotations

import enum
from pathlib import Path

import msgspec

from wire import Receipt, StorageFailed

from .disk import Disk
from .layout import DONE, parts


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

    Raises:
        StorageFailed: if the file is damaged.
    """
    try:
        with disk.read(folder / DONE) as file:
            return msgspec.json.decode(file.read(), type=Done)
    except FileNotFoundError:
        return None
    except msgspec.DecodeError as exc:
        raise StorageFailed(f"{folder / DONE}: {exc}") from exc


def write_done(disk: Disk, folder: Path, done: Done) -> None:
    """Say how the stream ended, durably; then remove its segments."""
    disk.replace(folder / DONE, encode_done(done))
    clear(disk, folder)


def encode_done(done: Done) -> bytes:
    """Return what the file says."""
    return msgspec.json.encode(done)


def clear(disk: Disk, folder: Path) -> None:
    """Remove the segments of a stream that is over, the oldest first; a crash may leave some."""
    for part in parts(disk, folder):
        disk.remove(folder / part.name)
