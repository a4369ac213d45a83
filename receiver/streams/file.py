"""A stream that is a file: bytes until its end, then what a decoder makes of them."""

from __future__ import annotations

import asyncio
import time
from typing import Final, NamedTuple

import structlog

from receiver.metrics import Traffic
from receiver.processing.pipeline import Pipeline
from receiver.processing.processing import Processing
from receiver.processing.processor import Finding
from receiver.stores import Claim
from sonoduct.wire import Chunk, Eos, Fenced, Format, Hello, Level, Receipt, Value, WireError

from .decoders import Decoders, Opened
from .stream import Stream

log = structlog.get_logger()

AHEAD: Final = 4
"""Blocks that may wait for the processors: the decoder waits, too, then."""

WARNING_CHARACTERS: Final = 500

SIGN_S: Final = 2.0
"""Between signs of life while it decodes, for those who would take the stream over."""


class Decoded(NamedTuple):
    """What came out of a file."""

    format: Format
    frames: int
    decoder: str
    sha256: str
    reports: dict[str, dict[str, Value]]
    failures: dict[str, str]


class FileStream(Stream):
    """
    See Stream. Its units are bytes; processors see it when all of it has come.

    Decoding may be done again: whatever ends it, the next eos starts it anew.
    """

    def __init__(
        self, hello: Hello, claim: Claim, processing: Processing, decoders: Decoders
    ) -> None:
        super().__init__(hello, claim, processing)
        self._decoders = decoders
        self._decoding: asyncio.Task[Decoded] | None = None
        self._interruption: WireError | None = None

    @property
    def released(self) -> int:
        """See Stream: until it is decoded, kept is all that it can be."""
        return max(self.claim.offset, self.claim.kept)

    @property
    def facts(self) -> dict[str, object]:
        """See Stream."""
        return {
            "stream": self.hello.stream,
            "name": self.hello.name,
            "bytes": self.came,
            "epoch": self.claim.epoch,
        }

    def append(self, chunk: Chunk, traffic: Traffic, now: float) -> None:
        """See Stream."""
        traffic.chunks += 1
        traffic.bytes += len(chunk.message)
        traffic.last = time.time()
        self.last_chunk, self.came = now, chunk.end
        self.claim.append(chunk)

    def resume(self, claim: Claim) -> None:
        """See Stream."""
        super().resume(claim)
        self._interruption = None

    def interrupt(self, error: WireError) -> None:
        """See Stream."""
        self._interruption = error
        if self._decoding is not None:
            self._decoding.cancel()

    async def unpacked(self) -> None:
        """See Stream: bytes are what they are."""

    async def settled(self) -> None:
        """See Stream: processors see it after eos."""

    def abandon(self) -> None:
        """See Stream."""
        self.interrupt(Fenced("nobody waits for the file any more"))

    async def commit(self, eos: Eos, level: Level) -> Receipt:
        """See Stream: it is decoded when all of it is kept and its digest agrees."""

        async def receipt(digest: str) -> Receipt:
            decoded = await self._decoded(digest)
            return Receipt(
                stream=self.hello.stream,
                units=eos.units,
                digest=digest,
                frames=decoded.frames,
                samplerate=decoded.format.samplerate,
                channels=decoded.format.channels,
                seconds=decoded.frames / decoded.format.samplerate,
                durable=level is Level.DURABLE,
                processors=decoded.reports,
                failures=decoded.failures,
                sha256=decoded.sha256,
                decoder=decoded.decoder,
            )

        return await self.claim.commit(eos, receipt)

    async def _decoded(self, digest: str) -> Decoded:
        if self._interruption is not None:
            raise self._interruption
        self._decoding = asyncio.create_task(self._decode(digest))
        signing = asyncio.create_task(self._sign())
        try:
            return await self._decoding
        except asyncio.CancelledError:
            if self._interruption is None:  # it is whoever waits for it that is cancelled
                raise
            raise self._interruption from None
        finally:
            signing.cancel()
            self._decoding = None

    async def _decode(self, digest: str) -> Decoded:
        async with self._decoders.open(self.claim.spool, digest) as opened:
            pipeline = Pipeline(self._processing, self.info(opened.format), opened.format, 0, self)
            try:
                frames = await self._feed(pipeline, opened)
                reports = await pipeline.close()
            finally:
                pipeline.abandon()
            self._decoders.decoded(frames, opened.format.samplerate)
            return Decoded(
                opened.format,
                frames,
                opened.decoder.decoder,
                opened.sha256,
                reports,
                pipeline.failures,
            )

    async def _feed(self, pipeline: Pipeline, opened: Opened) -> int:
        frames, width = 0, opened.format.frame_bytes
        while data := await self._decoders.read(opened):
            end = frames + len(data) // width
            pipeline.feed(frames, end, data)
            await pipeline.settled(behind=AHEAD * (end - frames))
            frames = end
        if opened.decoder.warning:
            self._warn(frames, opened.decoder.warning)
        return frames

    def _warn(self, frames: int, warning: str) -> None:
        """What could be decoded of a damaged file is all that anybody can have of it."""
        log.warning("file_damaged", **self.facts, warning=warning)
        self.found("decoder", Finding(frames, frames, {"warning": warning[:WARNING_CHARACTERS]}))

    async def _sign(self) -> None:
        """Nobody is to take for dead what is at work."""
        while True:
            self.last_chunk = asyncio.get_running_loop().time()
            await self.claim.sign()
            await asyncio.sleep(SIGN_S)
