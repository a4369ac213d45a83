"""One stream in this receiver, over all the connections that it takes."""

from __future__ import annotations

import time
from concurrent.futures import Executor
from typing import Protocol

from wire import Chunk, Eos, Hello, Level, Receipt, Value, WireError

from .metrics import Traffic
from .pipeline import Pipeline
from .processing import Processing
from .processors import StreamInfo
from .store import Claim
from .unpacking import Unpacking


class Holder(Protocol):
    """The connection that has a stream at the moment."""

    def advanced(self) -> None:
        """`released` may have grown."""

    def found(self, processor: str, offset: int, values: dict[str, Value]) -> None:
        """A processor reported something."""

    def stop(self, error: WireError) -> None:
        """Take nothing more from the peer, and close with *error*."""


class Stream:
    """What joins the store, the processors and whichever connection holds the stream."""

    def __init__(
        self, hello: Hello, claim: Claim, processing: Processing, unpackers: Executor
    ) -> None:
        self.hello = hello
        self.claim = claim
        self.holder: Holder | None = None
        self.last_chunk = 0.0
        """When the last chunk came, by the event loop's clock."""
        self._processing = processing
        self._unpackers = unpackers
        self._pipeline = self._start()
        self._unpacking = self._unpack()
        self._came = claim.offset

    @property
    def released(self) -> int:
        """The unit before which everything is kept and processed."""
        return max(self.claim.offset, min(self.claim.kept, self._pipeline.taken))

    @property
    def facts(self) -> dict[str, object]:
        """What the log says when the stream ends."""
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

    @property
    def pending(self) -> int:
        """Units that came and are not released yet."""
        return self._came - self.released

    def resume(self, claim: Claim) -> None:
        """Continue under *claim*; processors start anew if another receiver got further."""
        self.claim, self._came = claim, claim.offset
        if self._unpacking is not None:
            self._unpacking.drop()
            self._unpacking = self._unpack()
        if self._pipeline.offered != claim.offset:
            self._pipeline.abandon()
            self._pipeline = self._start()

    def append(self, chunk: Chunk, traffic: Traffic, now: float) -> None:
        """Keep and process *chunk*, both later, and count it."""
        traffic.chunks += 1
        traffic.bytes += len(chunk.message)
        traffic.frames += chunk.units
        traffic.seconds += chunk.units / self.hello.pcm.samplerate
        traffic.last = time.time()
        self.last_chunk, self._came = now, chunk.end
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
        """Wait until all that came is on its way to the store and to the processors."""
        if self._unpacking is not None:
            await self._unpacking.settled()

    async def seal(self) -> None:
        """Make safe what came; nothing more will come under this claim."""
        claim = self.claim
        await self.unpacked()
        await claim.seal()

    async def settled(self) -> None:
        """Wait until the processors have seen all that came."""
        await self._pipeline.settled()

    async def commit(self, eos: Eos, level: Level) -> Receipt:
        """
        End the stream and return its receipt.

        Raises:
            BadChecksum: if what came is not what *eos* describes.
            Malformed: if some of it did not hold what it said.
        """
        await self.unpacked()
        if self._unpacking is not None and self._unpacking.failure is not None:
            raise self._unpacking.failure
        reports = await self._pipeline.close()

        def receipt(digest: str) -> Receipt:
            samplerate = self.hello.pcm.samplerate
            return Receipt(
                stream=self.hello.stream,
                units=eos.units,
                digest=digest,
                frames=eos.units,
                samplerate=samplerate,
                channels=self.hello.pcm.channels,
                seconds=eos.units / samplerate,
                durable=level is Level.DURABLE,
                processors=reports,
                failures=self._pipeline.failures,
            )

        return await self.claim.commit(eos, receipt)

    def abandon(self) -> None:
        """Stop processing; nobody waits for the rest."""
        if self._unpacking is not None:
            self._unpacking.drop()
        self._pipeline.abandon()

    def advanced(self) -> None:
        """Pass on that more is kept or processed (called by the store and the pipeline)."""
        if self.holder is not None:
            self.holder.advanced()

    def found(self, processor: str, offset: int, values: dict[str, Value]) -> None:
        """Pass on what a processor reported (called by the pipeline)."""
        if self.holder is not None:
            self.holder.found(processor, offset, values)

    def _unpack(self) -> Unpacking | None:
        hello = self.hello
        return Unpacking(hello.pcm, self._unpackers, self) if hello.compressed else None

    def _start(self) -> Pipeline:
        form = self.hello.pcm
        info = StreamInfo(
            id=self.hello.stream,
            name=self.hello.name,
            samplerate=form.samplerate,
            channels=form.channels,
            metadata=self.hello.metadata,
        )
        return Pipeline(self._processing, info, form, self.claim.offset, self)
