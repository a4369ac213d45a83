"""
A stream of samples: each chunk goes to the store and to the processors as it comes.

Compressed chunks are unpacked in threads first, in their order.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Callable, Sequence
from concurrent.futures import Executor
from functools import partial
from typing import Final

from msgspec.structs import replace
from typing_extensions import override

from receiver.processing.pipeline import Processing
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
"""Chunks that a thread unpacks at once."""

Unpacked = tuple[list[Chunk], Malformed | None]


class PcmStream(Stream):
    """A stream whose units are frames."""

    def __init__(
        self,
        hello: Hello,
        claim: Claim,
        processing: Processing,
        unpackers: Executor,
        *,
        durable: bool = True,
    ) -> None:
        super().__init__(hello, claim, processing, durable=durable)
        self._format = hello.pcm
        self._samplerate = self._format.samplerate
        self._unpackers = unpackers
        self._pipeline = self._new_pipeline(self._format, claim.offset)
        self._unpacking = self._new_unpacking()

    @property
    @override
    def released(self) -> int:
        return max(self.claim.offset, min(self.claim.kept, self._pipeline.taken))

    @property
    @override
    def taken(self) -> int:
        return self._pipeline.taken

    @property
    @override
    def behind_s(self) -> float:
        return max(0, self.pending) / self._samplerate

    @property
    @override
    def waiting_s(self) -> dict[str, float]:
        return {name: n / self._samplerate for name, n in self._pipeline.waiting.items()}

    @property
    @override
    def facts(self) -> dict[str, object]:
        return {
            "stream": self.hello.stream,
            "name": self.hello.name,
            "frames": self._pipeline.offered,
            "seconds": round(self._pipeline.offered / self._samplerate, 3),
            "samplerate": self._samplerate,
            "channels": self._format.channels,
            "epoch": self.claim.epoch,
            "failures": self._pipeline.failures,
        }

    @override
    def resume(self, claim: Claim) -> None:
        """Processors start anew if another receiver has stored more than they have seen."""
        super().resume(claim)
        if self._unpacking is not None:
            self._unpacking.drop()
            self._unpacking = self._new_unpacking()
        if self._pipeline.offered != claim.offset:
            self._pipeline.abandon()
            self._pipeline = self._new_pipeline(self._format, claim.offset)

    @override
    def append(self, chunk: Chunk, now: float) -> None:
        traffic = self._count(chunk, now)
        traffic.frames += chunk.units
        traffic.seconds += chunk.units / self._samplerate
        if self._unpacking is None:
            self._accept(chunk)
        else:
            self._unpacking.put(chunk)

    @override
    async def unpacked(self) -> None:
        if self._unpacking is not None:
            await self._unpacking.settled()

    @override
    async def settled(self) -> None:
        await self._pipeline.settled()

    @override
    def interrupt(self, error: WireError) -> None:
        """Nothing is given up: processors see every chunk received in any case."""

    @override
    async def commit(self, eos: Eos, level: Level) -> Receipt:
        await self.unpacked()
        if self._unpacking is not None and self._unpacking.failure is not None:
            raise self._unpacking.failure
        reports = await self._pipeline.close()

        async def receipt(digest: str) -> Receipt:
            return Receipt(
                stream=self.hello.stream,
                units=eos.units,
                digest=digest,
                frames=eos.units,
                samplerate=self._samplerate,
                channels=self._format.channels,
                seconds=eos.units / self._samplerate,
                durable=level is Level.DURABLE,
                processors=reports,
                failures=self._pipeline.failures,
            )

        return await self.claim.commit(eos, receipt)

    @override
    def abandon(self) -> None:
        if self._unpacking is not None:
            self._unpacking.drop()
        self._pipeline.abandon()

    def _accept(self, chunk: Chunk) -> None:
        """Store and process *chunk*, which is not compressed, or is unpacked."""
        self.claim.append(chunk)
        self._pipeline.feed(chunk.offset, chunk.offset + chunk.units, chunk.canonical)

    def _refuse(self, error: WireError) -> None:
        """Take nothing more: a compressed chunk is not what its header says."""
        if self.holder is not None:
            self.holder.stop(error)

    def _new_unpacking(self) -> Unpacking | None:
        if not self.hello.compressed:
            return None
        return Unpacking(self._format, self._unpackers, self._accept, self._refuse)


class Unpacking:
    """
    Unpacks the compressed chunks of one claim; a bad chunk is refused before it is stored.

    At most one batch is in a thread. The credit of the stream's sender bounds how much waits.
    """

    def __init__(
        self,
        audio_format: Format,
        executor: Executor,
        accept: Callable[[Chunk], None],
        refuse: Callable[[WireError], None],
    ) -> None:
        """
        Both callables are called on the event loop.

        *accept* gets each chunk once it is unpacked; a WireError that it raises is a failure.
        *refuse* gets the first failure; no chunk after it is accepted.
        """
        self.failure: WireError | None = None
        """Why no further chunk is accepted."""
        self._format = audio_format
        self._executor = executor
        self._accept = accept
        self._refuse = refuse
        self._loop = asyncio.get_running_loop()
        self._waiting: deque[Chunk] = deque()
        self._busy = False
        self._moved = asyncio.Event()
        self._dropped = False

    def put(self, chunk: Chunk) -> None:
        """Unpack *chunk* after the chunks before it."""
        if self.failure is None:
            self._waiting.append(chunk)
            self._continue()

    async def settled(self) -> None:
        """Wait until every chunk is accepted, or one is refused."""
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
        future = self._loop.run_in_executor(self._executor, partial(_unpack, chunks, self._format))
        future.add_done_callback(self._finish)

    def _finish(self, done: asyncio.Future[Unpacked]) -> None:
        self._busy = False
        if not self._dropped:
            self._take(done)
        self._continue()
        self._moved.set()

    def _take(self, done: asyncio.Future[Unpacked]) -> None:
        if fault := done.exception():  # a fault of ours; the stream must not wait for ever
            self._fail(ProcessingFailed(f"unpacking: {fault!r}"))
            return
        chunks, error = done.result()
        try:
            for chunk in chunks:
                self._accept(chunk)
        except WireError as exc:
            self._fail(exc)
            return
        if error is not None:
            self._fail(error)

    def _fail(self, error: WireError) -> None:
        self.failure = error
        self._waiting.clear()
        self._refuse(error)


def _unpack(chunks: Sequence[Chunk], audio_format: Format) -> Unpacked:
    """Unpack *chunks* up to the first bad one (called in a thread)."""
    good: list[Chunk] = []
    for chunk in chunks:
        try:
            samples = unpack(chunk.payload, chunk.units, audio_format)
        except Malformed as exc:
            return good, exc
        good.append(replace(chunk, unpacked=samples))
    return good, None
