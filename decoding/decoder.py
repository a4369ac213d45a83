"""A file's samples, from any frame on, with the fallback to another decoder."""

from __future__ import annotations

import os
import threading
from collections.abc import Callable
from typing import Final, Protocol

import xxhash

from wire import Format

from .errors import DecodeError, GaveUp, LimitReached
from .facts import Facts
from .run import Run

SKIP_FRAMES: Final = 65536

Start = Callable[[int], Run]
"""Starts a run at a frame; only at 0 where a decoder is not seekable."""


class Decoder(Protocol):
    """
    Decodes one file. Blocking: it is called from threads, one at a time, but for `close`.

    The same decoder gives the same samples everywhere, and from every offset.
    """

    format: Format
    decoder: str
    container: str
    codec: str
    subtype: str
    frames: int | None
    seekable: bool

    warning: str
    """What was found wrong with the file without being a reason to stop; known at the end."""

    def read(self, frames: int) -> bytes:
        """
        Return up to *frames* frames in the canonical bytes of `format`; none at the end.

        Raises:
            DecodeError: if the decoder stops before the end, with the frame at which it did.
        """

    def seek(self, offset: int) -> None:
        """
        Go on at frame *offset*; where not `seekable`, by decoding all that is before it.

        Raises:
            DecodeError: if the file has no such frame, or as `read`.
        """

    def close(self) -> None:
        """End what is running, also a `read` of another thread, and free everything."""


class FileDecoder:
    """The Decoder of a file that is open; it closes *descriptor* in the end."""

    def __init__(
        self, descriptor: int, facts: Facts, start: Start, run: Run, most_output: int
    ) -> None:
        self.format = facts.format
        self.decoder = facts.decoder
        self.container = facts.container
        self.codec = facts.codec
        self.subtype = facts.subtype
        self.frames = facts.frames
        self.seekable = facts.seekable
        self.warning = ""
        self._descriptor = descriptor
        self._start = start
        self._run = run
        self._most_output = most_output
        self._position = 0
        self._closed = False
        self._turn = threading.Lock()

    def read(self, frames: int) -> bytes:
        """See Decoder."""
        with self._turn:
            return self._read(frames)

    def seek(self, offset: int) -> None:
        """See Decoder."""
        with self._turn:
            self._run.close()
            self._position = offset if self.seekable else 0
            self._run = self._start(self._position)
            while self._position < offset:
                if not self._read(min(SKIP_FRAMES, offset - self._position)):
                    raise GaveUp(f"ends at frame {self._position}, expected {offset}")

    def close(self) -> None:
        """See Decoder."""
        self._closed = True
        self._run.kill()
        with self._turn:
            self._run.close()
            if self._descriptor >= 0:
                os.close(self._descriptor)
                self._descriptor = -1

    def _read(self, frames: int) -> bytes:
        if self._closed:
            raise GaveUp("closed")
        width = self.format.frame_bytes
        try:
            data = self._run.read(frames * width)
            if len(data) % width:  # killed in the middle of a frame, which the next read tells
                data = data[: len(data) // width * width] or self._run.read(frames * width)
        except DecodeError as exc:
            raise type(exc)(f"{self.decoder} at frame {self._position}: {exc}") from exc
        self._position += len(data) // width
        if self._position * width > self._most_output:
            raise LimitReached(
                f"{self.decoder} at frame {self._position}: "
                f"{self._position * width} bytes of samples, expected at most {self._most_output}"
            )
        if not data:
            self.warning = self._run.warning
        return data
