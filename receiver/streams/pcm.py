"""A stream of samples: each chunk goes to the store and to the processors as it comes."""

from __future__ import annotations

import time
from concurrent.futures import Executor

from receiver.metrics import Traffic
from receiver.processing.pipeline import Pipeline
from receiver.processing.processing import Processing
from receiver.stores import Claim
from sonoduct.wire import Chunk, Eos, Hello, Level, Receipt, WireError

from .stream import Stream
from .unpacking import Unpacking


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
