"""A stream of samples: each chunk goes to the store and to the processors as it comes."""

from __future__ import annotations

import asyncio
import time
from collections import deque
from collections.abc import Sequence
from concurrent.futures import Executor
from functools import partial
from typing import Final, Protocol

from msgspec.structs import replace

from receiver.metrics import Traffic
from receiver.processing.pipeline import Pipeline, Processing
from receiver.stores import Claim
from sonoduct.audio.flac import unpack
from sonoduct.wire import (
    Chunk,
    Eos,
    Format,
    Hello,
    Level,
    Malformed,
    ProcessingFailed,
    Receipt,
    WireError,
)

from .stream import Stream

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


class SampleStream(Stream):
    """See Stream. Its units are frames; compressed ones are unpacked before anything else."""

    def __init__(
        self, hello: Hello, claim: Claim, processing: Processing, unpackers: Executor
    ) -> None:
        super().__init__(hello, claim, processing)
        self._unpackers = unpackers
        self._pipeline = self._start()
        self._unpacking = self._unpack()

    @property
    def released(self) -> int:
        """See Stream."""
        kept, taken = self.claim.kept, self._pipeline.taken
        return max(self.claim.offset, min(kept, taken))

    @property
    def facts(self) -> dict[str, object]:
        """See Stream."""
        samplerate = self.hello.pcm.samplerate
        return {
            "stream": self.hello.stream,
            "name": self.hello.name,
            "frames": self._pipeline.offered,
            "seconds": round(self._pipeline.offered / samplerate, 3),
            "samplerate": samplerate,
            "channels": self.hello.pcm.channels,
            "epoch": self.claim.epoch,
            "failures": self._pipeline.failures,
        }

    def resume(self, claim: Claim) -> None:
        """See Stream; processors start anew if another receiver got further."""
        super().resume(claim)
        if self._unpacking is not None:
            self._unpacking.drop()
            self._unpacking = self._unpack()
        if self._pipeline.offered != claim.offset:
            self._pipeline.abandon()
            self._pipeline = self._start()

    def append(self, chunk: Chunk, traffic: Traffic, now: float) -> None:
        """See Stream."""
        traffic.chunks += 1
        traffic.bytes += len(chunk.message)
        traffic.frames += chunk.units
        traffic.seconds += chunk.units / self.hello.pcm.samplerate
        traffic.last = time.time()
        self.last_chunk, self.came = now, chunk.end
        if self._unpacking is None:
            self.accept(chunk)
        else:
            self._unpacking.put(chunk)

    def accept(self, chunk: Chunk) -> None:
        """Keep and process *chunk*, which holds what it says (called by what unpacks it, too)."""
        self.claim.append(chunk)
        self._pipeline.offer(chunk)

    def refuse(self, error: WireError) -> None:
        """Take nothing more: a compressed chunk is not what it says (called by what unpacks it)."""
        if self.holder is not None:
            self.holder.stop(error)

    async def unpacked(self) -> None:
        """See Stream."""
        if self._unpacking is not None:
            await self._unpacking.settled()

    async def settled(self) -> None:
        """See Stream."""
        await self._pipeline.settled()

    def interrupt(self, error: WireError) -> None:
        """See Stream: what has come is processed in any case."""

    async def commit(self, eos: Eos, level: Level) -> Receipt:
        """See Stream."""
        await self.unpacked()
        if self._unpacking is not None and self._unpacking.failure is not None:
            raise self._unpacking.failure
        reports = await self._pipeline.close()
        form = self.hello.pcm

        async def receipt(digest: str) -> Receipt:
            return Receipt(
                stream=self.hello.stream,
                units=eos.units,
                digest=digest,
                frames=eos.units,
                samplerate=form.samplerate,
                channels=form.channels,
                seconds=eos.units / form.samplerate,
                durable=level is Level.DURABLE,
                processors=reports,
                failures=self._pipeline.failures,
            )

        return await self.claim.commit(eos, receipt)

    def abandon(self) -> None:
        """See Stream."""
        if self._unpacking is not None:
            self._unpacking.drop()
        self._pipeline.abandon()

    def _unpack(self) -> Unpacking | None:
        hello = self.hello
        return Unpacking(hello.pcm, self._unpackers, self) if hello.compressed else None

    def _start(self) -> Pipeline:
        form = self.hello.pcm
        return Pipeline(self._processing, self.info(form), form, self.claim.offset, self)
