"""Compressed chunks on their way to being samples: in order, and outside the event loop."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Sequence
from concurrent.futures import Executor
from functools import partial
from typing import Final, Protocol

from msgspec.structs import replace

from sonoduct.audio.flac import unpack
from sonoduct.wire import Chunk, Format, Malformed, ProcessingFailed, WireError

BATCH: Final = 16
"""Chunks handed to a thread at once."""

Unpacked = tuple[list[Chunk], Malformed | None]


class Listener(Protocol):
    """The stream whose chunks they are; called on the event loop."""

    def accept(self, chunk: Chunk) -> None:
        """*chunk* is what it says, and has been unpacked; what this raises is a failure, too."""

    def refuse(self, error: WireError) -> None:
        """A chunk is not; nothing that follows it is accepted."""


class Unpacking:
    """
    One claim's compressed chunks. A bad one is noticed before anybody relies on it.

    At most one batch is under way. What waits is bounded by the credit of the stream's sender.
    """

    def __init__(self, form: Format, executor: Executor, listener: Listener) -> None:
        self.failure: WireError | None = None
        """Why nothing more is accepted."""
        self._form = form
        self._executor = executor
        self._listener = listener
        self._loop = asyncio.get_running_loop()
        self._waiting: deque[Chunk] = deque()
        self._busy = False
        self._moved = asyncio.Event()
        self._dropped = False

    def put(self, chunk: Chunk) -> None:
        """Have *chunk* unpacked after those before it."""
        if self.failure is None:
            self._waiting.append(chunk)
            self._continue()

    async def settled(self) -> None:
        """Wait until everything that was put is accepted, or something refused."""
        while self._busy or self._waiting:
            self._moved.clear()
            await self._moved.wait()

    def drop(self) -> None:
        """Accept nothing more: another claim has taken over."""
        self._dropped = True
        self._waiting.clear()

    def _continue(self) -> None:
        if self._busy or not self._waiting:
            return
        self._busy = True
        chunks = [self._waiting.popleft() for _ in range(min(BATCH, len(self._waiting)))]
        future = self._loop.run_in_executor(self._executor, partial(_unpack, chunks, self._form))
        future.add_done_callback(self._finish)

    def _finish(self, done: asyncio.Future[Unpacked]) -> None:
        self._busy = False
        if not self._dropped:
            self._take(done)
        self._continue()
        self._moved.set()

    def _take(self, done: asyncio.Future[Unpacked]) -> None:
        if fault := done.exception():  # of ours; this stream is not to wait for ever
            self._fail(ProcessingFailed(f"unpacking: {fault!r}"))
            return
        chunks, error = done.result()
        try:
            for chunk in chunks:
                self._listener.accept(chunk)
        except WireError as exc:
            self._fail(exc)
            return
        if error is not None:
            self._fail(error)

    def _fail(self, error: WireError) -> None:
        self.failure = error
        self._waiting.clear()
        self._listener.refuse(error)


def _unpack(chunks: Sequence[Chunk], form: Format) -> Unpacked:
    """Runs in a thread."""
    good: list[Chunk] = []
    for chunk in chunks:
        try:
            samples = unpack(chunk.payload, chunk.units, form)
        except Malformed as exc:
            return good, exc
        good.append(replace(chunk, unpacked=samples))
    return good, None
