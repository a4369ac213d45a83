"""How a stream ends: committed, cancelled or expired, and in time forgotten."""

from __future__ import annotations

from .journal import Done, Journal, State
from .reader import Part


def is_over(journal: Journal) -> bool:
    """Whether the stream has ended, with or without a recording."""
    return bool(journal.done() or journal.complete())


def give_up(journal: Journal, state: State, epoch: int) -> bool:
    """
    Give the stream up by claiming *epoch*: fence its holder, remove the audio, remember *state*.

    Returns whether that was done: a connection may have claimed the stream before, or ended it.
    """
    with journal.lock() as mine:
        if not mine:
            return False
        try:
            journal.disk.close(journal.disk.create(journal.path(Part(epoch, 0))))
        except FileExistsError:
            return False
        if is_over(journal):
            return False
        journal.write_done(Done(state=state, epoch=epoch))
        if journal.parts()[-1].epoch > epoch:  # a connection claimed it before it could read that
            journal.remove_done()
            return False
        journal.remove_segments()
        return True


def clear_left(journal: Journal) -> None:
    """Remove the segments that a crash has left of a stream that is over."""
    if journal.parts():
        journal.disk.sync_folder(journal.folder)  # the process that crashed may not have done this
        journal.remove_segments()


def forget(journal: Journal) -> None:
    """Remove the folder of a stream that is over; the caller holds its lock."""
    journal.remove_segments()
    journal.remove_done()
    journal.disk.remove_folder(journal.folder)
