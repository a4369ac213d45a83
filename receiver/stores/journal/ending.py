"""The end of a journal that nobody finishes: given up, and forgotten in time."""

from __future__ import annotations

from pathlib import Path

from .disk import Disk
from .done import Done, State, clear, encode_done, read_done
from .layout import DONE, Part, parts
from .recordings import complete


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
