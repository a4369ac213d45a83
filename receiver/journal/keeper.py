"""What happens to journals that nobody is connected to: recordings, expiry, forgetting."""

from __future__ import annotations

from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import structlog

from receiver.recording import Container
from wire import Hello, StorageFailed

from .disk import Disk
from .done import Done, State, clear, read_done, write_done
from .finish import finish
from .layout import DONE, Layout, Part, parts

log = structlog.get_logger()

QUIET_S: Final = 10.0
"""A complete journal that is older was left by a receiver that did not come to finish it."""

STALE_S: Final = 600.0
"""A draft that nobody has written to for so long has lost its writer."""


@dataclass(frozen=True)
class Keeping:
    """How long things are kept, and in which form."""

    container: Container
    expiry_s: float
    """Of a stream whose sender does not come back."""
    memory_s: float
    """Of the answer to a sender that sends a finished stream again."""


class Keeper:
    """Looks after the journals of a store. It blocks; call it in a thread."""

    def __init__(self, disk: Disk, layout: Layout, keeping: Keeping) -> None:
        self._disk = disk
        self._layout = layout
        self._keeping = keeping

    def finish(self, folder: Path) -> None:
        """Make the recording of a journal, if it is complete; what fails is tried again later."""
        try:
            recording = finish(self._disk, self._layout, folder, self._keeping.container)
        except StorageFailed as exc:
            log.error("recording_failed", stream=folder.name, reason=str(exc))
            return
        if recording is not None:
            log.info("recording_written", stream=folder.name, path=str(recording))

    def tend(self) -> None:
        """Look at every journal once: finish, expire or forget what is due."""
        try:
            self._sweep(self._layout.audio)
            for folder in self._layout.folders(self._disk):
                self._look_at(folder)
        except OSError as exc:  # of the store itself; the next time may do better
            log.error("store_failed", reason=str(exc))

    def cancel(self, hello: Hello, epoch: int) -> None:
        """Remove the audio of a stream that its sender gave up, and remember that."""
        folder = self._layout.folder(hello.stream)
        write_done(self._disk, folder, Done(state=State.CANCELLED, epoch=epoch))

    def _look_at(self, folder: Path) -> None:
        try:
            self._tend(folder)
        except FileNotFoundError:
            pass  # another receiver that shares the store was faster
        except (OSError, StorageFailed) as exc:
            log.error("journal_failed", stream=folder.name, reason=str(exc))

    def _tend(self, folder: Path) -> None:
        disk = self._disk
        if read_done(disk, folder) is not None:
            clear(disk, folder)
            self._sweep(folder)
            if disk.idle(folder / DONE) > self._keeping.memory_s:
                self._forget(folder)
            return
        found = parts(disk, folder)
        if not found:
            disk.remove_folder(folder)
            return
        idle = disk.idle(folder / found[-1].name)
        if idle > self._keeping.expiry_s:
            self._expire(folder)
        elif idle > QUIET_S:
            self.finish(folder)

    def _sweep(self, folder: Path) -> None:
        """Remove the drafts that a crash has left in *folder*."""
        for name in self._disk.names(folder):
            with suppress(FileNotFoundError):
                if name.startswith(".") and self._disk.idle(folder / name) > STALE_S:
                    self._disk.remove(folder / name)

    def _expire(self, folder: Path) -> None:
        """Fence whoever may still hold the stream, then let it go."""
        self.finish(folder)  # it may be complete after all
        if read_done(self._disk, folder) is not None:
            return
        epoch = parts(self._disk, folder)[-1].epoch + 1
        try:
            self._disk.close(self._disk.create(folder / Part(epoch, 0).name))
        except FileExistsError:
            return  # claimed at this very moment
        write_done(self._disk, folder, Done(state=State.EXPIRED, epoch=epoch))
        log.warning("stream_expired", stream=folder.name)

    def _forget(self, folder: Path) -> None:
        for part in parts(self._disk, folder):
            self._disk.remove(folder / part.name)
        self._disk.remove(folder / DONE)
        self._disk.remove_folder(folder)
