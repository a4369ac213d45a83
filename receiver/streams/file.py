"""A stream that is a file: bytes until its end, then what a decoder makes of them."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import AbstractContextManager, asynccontextmanager
from typing import Final, NamedTuple

import structlog

from receiver.metrics import Metrics, Traffic
from receiver.processing.pipeline import Pipeline, Processing
from receiver.processing.processor import Finding
from receiver.stores import Claim, Original
from sonoduct.audio.decoding import DecodeError, DecodeOptions, Decoder, open_decoder
from sonoduct.runtime.child import Cancellation
from sonoduct.wire import (
    Chunk,
    Eos,
    Fenced,
    Format,
    Hello,
    Level,
    ProcessingFailed,
    Receipt,
    StorageFailed,
    Value,
    WireError,
)

from .stream import Stream

BLOCK_BYTES: Final = 64 * 1024
"""Samples of one block for the processors."""

NOBODY: Final = "none"
"""What metrics call the decoder of a file that none knows."""

SENTENCE_CHARACTERS: Final = 300

Spool = Callable[[], AbstractContextManager[Original]]


class Opened(NamedTuple):
    """A file that is being decoded."""

    decoder: Decoder
    sha256: str

    @property
    def format(self) -> Format:
        """How its samples are to be read."""
        return self.decoder.format


class Decoders:
    """Opens files one after another in a few threads; a decoder's fault is its stream's error."""

    def __init__(self, means: DecodeOptions, at_once: int, metrics: Metrics) -> None:
        self._means = means
        self._metrics = metrics
        self._turns = asyncio.Semaphore(at_once)
        self._threads = ThreadPoolExecutor(at_once, "decoding")
        self._loop = asyncio.get_running_loop()

    @asynccontextmanager
    async def open(self, spool: Spool, digest: str) -> AsyncIterator[Opened]:
        """
        Wait for a turn, then yield a decoder of the file that *spool* makes; its end kills it.

        Raises:
            ProcessingFailed: if it cannot be decoded.
            StorageFailed: if the disk refuses to hold it for so long, or it has another *digest*.
        """
        async with self._turns:
            cancellation = Cancellation()
            opening = self._loop.run_in_executor(
                self._threads, self._open, spool, digest, cancellation
            )
            try:
                opened = await asyncio.shield(opening)
            except asyncio.CancelledError:  # the thread goes on, and nobody wants what it gets
                cancellation.cancel()
                opening.add_done_callback(_close)
                raise
            except DecodeError as exc:
                raise self._fault(NOBODY, exc) from exc
            try:
                yield opened
            finally:  # from another thread: one of ours may be waiting for what it reads
                await asyncio.to_thread(opened.decoder.close)

    async def read(self, opened: Opened) -> bytes:
        """
        Return the next block in canonical bytes; none at the end.

        Raises:
            ProcessingFailed: if the decoder gives up before.
            StorageFailed: if the machine has no process left for another one.
        """
        decoder = opened.decoder
        frames = max(1, BLOCK_BYTES // decoder.format.frame_bytes)
        try:
            return await self._loop.run_in_executor(self._threads, decoder.read, frames)
        except DecodeError as exc:
            raise self._fault(decoder.decoder, exc) from exc
        except OSError as exc:
            raise StorageFailed(f"file to be decoded: {exc.strerror}") from exc

    def decoded(self, frames: int, samplerate: int) -> None:
        """Count a file that was decoded to its end."""
        traffic = self._metrics.traffic["sonoduct"]
        traffic.frames += frames
        traffic.seconds += frames / samplerate

    def close(self) -> None:
        """Begin nothing more."""
        self._threads.shutdown(wait=False, cancel_futures=True)

    def _open(self, spool: Spool, digest: str, cancellation: Cancellation) -> Opened:
        """Runs in a thread. An open file needs no name, so nothing is left after a crash."""
        try:
            with spool() as original:
                if original.digest != digest:  # the journal was right when it was written
                    what = "digest of the file to be decoded"
                    raise StorageFailed(what, seen=original.digest, expected=digest)
                decoder = open_decoder(
                    original.path, self._means, isolated=True, cancellation=cancellation
                )
        except OSError as exc:
            raise StorageFailed(f"file to be decoded: {exc.strerror}") from exc
        return Opened(decoder, original.sha256)

    def _fault(self, decoder: str, error: DecodeError) -> ProcessingFailed:
        self._metrics.decode_errors.labels(decoder).inc()
        return ProcessingFailed(f"file cannot be decoded: {error}"[:SENTENCE_CHARACTERS])


def _close(opening: asyncio.Future[Opened]) -> None:
    if not opening.cancelled() and opening.exception() is None:
        opening.get_loop().run_in_executor(None, opening.result().decoder.close)


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
