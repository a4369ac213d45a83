"""Files that have come as they are, decoded in child processes: a few at a time, and bounded."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import AbstractContextManager, asynccontextmanager
from typing import Final, NamedTuple

from receiver.metrics import Metrics
from receiver.stores import Original
from sonoduct.audio.decoding import DecodeError, Decoder, Means, open_decoder
from sonoduct.runtime.child import Cancellation
from sonoduct.wire import Format, ProcessingFailed, StorageFailed

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

    def __init__(self, means: Means, at_once: int, metrics: Metrics) -> None:
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
