"""A segment's file, as its writer has it."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path

from sonoduct.wire import Buffer

from .buffers import after
from .disk import Disk


class SegmentFile:
    """A file to append to. Every method but `close` raises OSError if the disk refuses."""

    def __init__(self, disk: Disk, path: Path) -> None:
        """
        Create the file.

        Raises:
            FileExistsError: if there is one: of several that try, one succeeds.
        """
        self.size = 0
        """Bytes that were appended."""
        self.torn = 0
        """Bytes behind them, of an append that failed in the middle."""
        self._disk = disk
        self._path = path
        self._handle = disk.create(path)

    @property
    def linked(self) -> bool:
        """Whether the file still has a name."""
        return self._disk.linked(self._handle)

    def append(self, buffers: Sequence[Buffer]) -> None:
        """
        Write *buffers*; after an error, the same call writes what is missing of them.

        What is there is not taken back: a newer claim may have read it, and rely on it.
        """
        try:
            self._disk.write(self._handle, after(buffers, self.torn))
        except OSError:
            with self._disk.read(self._path) as file:
                self.torn = file.seek(0, 2) - self.size
            raise
        self.size += sum(len(each) for each in buffers)
        self.torn = 0

    def sync(self) -> None:
        """Make durable what was appended. An error is final."""
        self._disk.sync(self._handle)

    def close(self) -> None:
        """Let go of the file."""
        with suppress(OSError):  # it is closed all the same, and what matters was synced
            self._disk.close(self._handle)
