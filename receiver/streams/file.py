"""
A stream that is a file: bytes until its end, then the samples that a decoder makes of them.

Decoders run in child processes with limits, a few at a time.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import AbstractContextManager, asynccontextmanager
from typing import Final, NamedTuple

import structlog
from typing_extensions import override

from receiver.metrics import Metrics
from receiver.processing.pipeline import Pipeline, Processing
from receiver.processing.processor import Finding
from receiver.stores import Claim, Original
from sonoduct.audio.decoding import DecodeError, DecodeOptions, Decoder, open_decoder
from sonoduct.runtime.child import Cancellation
from sonoduct.wire import (
    Buffer,
    Chunk,
    Eos,
    Fenced,
    Format,
    Hello,
    Level,
    Overloaded,
    ProcessingFailed,
    Receipt,
    StorageFailed,
    Value,
    WireError,
)

from .quotas import Growth, Quotas
from .stream import Stream
from .turns import Ticket, Turns

log = structlog.get_logger()

BLOCK_BYTES: Final = 64 * 1024
"""Samples of one block for the processors."""

AHEAD: Final = 4
"""Blocks that may wait for the processors; with more, the decoder waits."""

TOUCH_S: Final = 2.0
"""Between signs of progress while a file is decoded, so that no other receiver takes it over."""

NO_DECODER: Final = "none"
"""What metrics call the decoder of a file that no decoder opens."""

WARNING_CHARACTERS: Final = 500
ERROR_CHARACTERS: Final = 300

Spool = Callable[[], AbstractContextManager[Original]]


class Decoded(NamedTuple):
    """The result of decoding a file."""

    format: Format
    frames: int
    decoder: str
    sha256: str
    reports: dict[str, dict[str, Value]]
    failures: dict[str, str]


class FileStream(Stream):
    """
    A stream whose units are bytes; processors see its samples when all bytes are stored.

    If decoding is interrupted, the next eos starts it again.
    """

    def __init__(
        self,
        hello: Hello,
        claim: Claim,
        processing: Processing,
        decoders: Decoders,
        *,
        durable: bool = True,
    ) -> None:
        super().__init__(hello, claim, processing, durable=durable)
        self._decoders = decoders
        self._decoding: asyncio.Task[Decoded] | None = None
        self._interruption: WireError | None = None
        self._owner = self._token = ""
        self._quota: int | None = None
        self.stored_bytes = 0
        """The client that takes turns with others."""

    @property
    @override
    def released(self) -> int:
        """Bytes are released when they are stored: until the end nothing can be processed."""
        return max(self.claim.offset, self.claim.kept)

    @property
    @override
    def facts(self) -> dict[str, object]:
        return {
            "stream": self.hello.stream,
            "name": self.hello.name,
            "bytes": self.received,
            "epoch": self.claim.epoch,
        }

    @override
    def append(self, chunk: Chunk, now: float) -> None:
        self._count(chunk, now)
        self.claim.append(chunk)

    @override
    def resume(self, claim: Claim) -> None:
        super().resume(claim)
        self._interruption = None

    @override
    def interrupt(self, error: WireError) -> None:
        self._interruption = error
        if self._decoding is not None:
            self._decoding.cancel()

    @override
    async def unpacked(self) -> None:
        """Bytes of a file need no unpacking."""

    @override
    async def settled(self) -> None:
        """Processors see nothing before eos."""

    @override
    def abandon(self) -> None:
        self.interrupt(Fenced("the file is not needed any more"))

    @override
    async def commit(self, eos: Eos, level: Level) -> Receipt:
        """Decode the file once it is stored and its digest is right."""
        assert self.holder is not None  # eos comes from the holder
        traffic, self._owner = self.holder.traffic, self.holder.client
        self._token, self._quota = self.holder.origin.token, self.holder.quota

        async def receipt(digest: str) -> Receipt:
            decoded = await self._decoded(digest)
            seconds = decoded.frames / decoded.format.samplerate
            traffic.frames += decoded.frames
            traffic.seconds += seconds
            return Receipt(
                stream=self.hello.stream,
                units=eos.units,
                digest=digest,
                frames=decoded.frames,
                samplerate=decoded.format.samplerate,
                channels=decoded.format.channels,
                seconds=seconds,
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
        touching = asyncio.create_task(self._touch())
        try:
            return await self._decoding
        except asyncio.CancelledError:
            if self._interruption is None:  # this task is cancelled, not only the decoding
                raise
            raise self._interruption from None
        finally:
            touching.cancel()
            self._decoding = None

    async def _decode(self, digest: str) -> Decoded:
        async with self._decoders.open(
            self.claim.spool, digest, self._owner, self.received
        ) as opened:
            audio_format = opened.decoder.format
            pipeline = self._new_pipeline(audio_format, 0)
            growth = self._decoders.quotas.decoded(
                self._owner, self._token, self._quota, self.received
            )
            kept = False
            try:
                frames = await self._feed(pipeline, opened, growth)
                reports = await pipeline.close()
                kept, self.stored_bytes = True, max(self.received, growth.size)
            finally:
                growth.close(kept=kept)
                pipeline.abandon()
            return Decoded(
                audio_format,
                frames,
                opened.decoder.decoder,
                opened.sha256,
                reports,
                pipeline.failures,
            )

    async def _feed(self, pipeline: Pipeline, opened: OpenFile, growth: Growth) -> int:
        """
        Feed all samples to *pipeline*; return how many frames there were.

        Raises:
            TooLarge: if a recording of them would be larger than the client may store.
            StorageFailed: if the disk has no room for it.
        """
        frames, frame_bytes = 0, opened.decoder.format.frame_bytes
        while data := await self._decoders.read(opened):
            end = frames + len(data) // frame_bytes
            growth.require_fit(end * frame_bytes)
            pipeline.feed(frames, end, data)
            await pipeline.settled(behind=AHEAD * (end - frames))
            frames = end
        if opened.decoder.warning:
            self._warn(frames, opened.decoder.warning)
        return frames

    def _warn(self, frames: int, warning: str) -> None:
        """Tell log and sender that the file is damaged; the rest of it could be decoded."""
        log.warning("file_damaged", **self.facts, warning=warning)
        self.found("decoder", Finding(frames, frames, {"warning": warning[:WARNING_CHARACTERS]}))

    async def _touch(self) -> None:
        """Signal progress while decoding, so that no other receiver takes the stream over."""
        while True:
            self.last_chunk = asyncio.get_running_loop().time()
            await self.claim.touch()
            await asyncio.sleep(TOUCH_S)


class OpenFile(NamedTuple):
    """A file that is being decoded."""

    decoder: Decoder
    sha256: str


class Decoders:
    """Runs decoders for streams; a decoder that fails ends its stream with an error."""

    def __init__(
        self,
        decode_options: DecodeOptions,
        at_once: int,
        most: int,
        quotas: Quotas,
        metrics: Metrics,
    ) -> None:
        """
        Run up to *at_once* decoders, as `Turns` says; *most* other files wait for their turn.

        *quotas* limit the samples of a file.
        """
        self._decode_options = decode_options
        self._metrics = metrics
        self._most = most
        self.quotas = quotas
        """What the samples of a file may take."""
        self._turns = Turns(at_once, most)
        self._granted: dict[Ticket, asyncio.Future[None]] = {}
        self._threads = ThreadPoolExecutor(at_once + 1, "decoding")
        self._loop = asyncio.get_running_loop()

    @asynccontextmanager
    async def open(
        self, spool: Spool, digest: str, owner: str, size: int
    ) -> AsyncIterator[OpenFile]:
        """
        Wait for a turn, then decode the file that *spool* makes; the context's end kills the child.

        The file has *size* bytes and came from *owner*.

        Raises:
            Overloaded: if too many files wait; it has lost nothing, and may come again.
            ProcessingFailed: if the file cannot be decoded.
            StorageFailed: if the disk refuses, or if the file's digest is not *digest*.
        """
        async with self._turn(owner, size):
            cancellation = Cancellation()
            opening = self._loop.run_in_executor(
                self._threads, self._open, spool, digest, cancellation
            )
            try:
                opened = await asyncio.shield(opening)
            except asyncio.CancelledError:  # the thread continues, and its decoder must be closed
                cancellation.cancel()
                opening.add_done_callback(_close)
                raise
            except DecodeError as exc:
                raise self._fault(NO_DECODER, exc) from exc
            try:
                yield opened
            finally:  # in another thread: one of ours may be waiting in read()
                await asyncio.to_thread(opened.decoder.close)

    @asynccontextmanager
    async def _turn(self, owner: str, size: int) -> AsyncIterator[None]:
        ticket = self._turns.take(owner, size)
        granted = self._granted[ticket] = self._loop.create_future()
        if refused := self._turns.crowded_out():
            what, seen = "files that wait for a decoder", self._most + 1
            error = Overloaded(what, seen=seen, expected=f"<= {self._most}")
            waits = self._granted.pop(refused)
            if not waits.done():  # its stream gave up in this moment
                waits.set_exception(error)
        self._start()
        try:
            await granted
            yield
        finally:
            self._granted.pop(ticket, None)
            started = granted.done() and not granted.cancelled() and not granted.exception()
            self._turns.give_back(ticket, started=started)
            self._start()

    def _start(self) -> None:
        """Let every file begin whose turn it is."""
        while ticket := self._turns.next():
            granted = self._granted[ticket]
            if granted.done():  # its stream gave up in this moment
                self._turns.give_back(ticket, started=True)
            else:
                granted.set_result(None)

    async def read(self, opened: OpenFile) -> Buffer:
        """
        Return the canonical bytes of the next block; no bytes at the end.

        Raises:
            ProcessingFailed: if the decoder fails.
            StorageFailed: if the operating system refuses to start the next decoder.
        """
        decoder = opened.decoder
        frames = max(1, BLOCK_BYTES // decoder.format.frame_bytes)
        try:
            return await self._loop.run_in_executor(self._threads, decoder.read, frames)
        except DecodeError as exc:
            raise self._fault(decoder.decoder, exc) from exc
        except OSError as exc:
            raise StorageFailed(f"file to be decoded: {exc.strerror}") from exc

    def close(self) -> None:
        """Start no further decoder."""
        self._threads.shutdown(wait=False, cancel_futures=True)

    def _open(self, spool: Spool, digest: str, cancellation: Cancellation) -> OpenFile:
        """
        Open a decoder (called in a thread).

        The file has no name any more when it is open, so a crash leaves nothing behind.
        """
        try:
            with spool() as original:
                if original.digest != digest:  # the journal was right when it was written
                    what = "digest of the file to be decoded"
                    raise StorageFailed(what, seen=original.digest, expected=digest)
                decoder = open_decoder(
                    original.path, self._decode_options, isolated=True, cancellation=cancellation
                )
        except OSError as exc:
            raise StorageFailed(f"file to be decoded: {exc.strerror}") from exc
        return OpenFile(decoder, original.sha256)

    def _fault(self, decoder: str, error: DecodeError) -> ProcessingFailed:
        self._metrics.decode_errors.labels(decoder).inc()
        return ProcessingFailed(f"file cannot be decoded: {error}"[:ERROR_CHARACTERS])


def _close(opening: asyncio.Future[OpenFile]) -> None:
    if not opening.cancelled() and opening.exception() is None:
        opening.get_loop().run_in_executor(None, opening.result().decoder.close)
