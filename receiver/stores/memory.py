"""The store that keeps no audio: only how far each stream has come, in memory."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable
from contextlib import AbstractContextManager
from dataclasses import dataclass, field

import structlog
from typing_extensions import override

from sonoduct.wire import (
    BadChecksum,
    Chunk,
    Digest,
    Eos,
    Gone,
    Hello,
    Kind,
    Level,
    Malformed,
    Receipt,
    StorageFailed,
    WireError,
)
from sonoduct.wire.records import Origin

from . import Claim, Original, Receipting, Store, Usage

log = structlog.get_logger()


@dataclass(slots=True)
class _Known:
    hello: Hello
    epoch: int = 0
    units: int = 0
    digest: Digest = field(default_factory=Digest)
    receipt: Receipt | None = None
    cancelled: bool = False


class MemoryStore(Store):
    """
    Keeps the position of each stream in memory, and no audio: an ack means "processed".

    A sender can resume for as long as this process lives. *remembered* limits how many ended
    streams are known, so that sending one again sends nothing.
    """

    level = Level.RECEIVED
    counted_at = 0.0
    full = False
    free_bytes = float("inf")

    def __init__(self, remembered: int) -> None:
        self._open: dict[str, _Known] = {}
        self._ended: OrderedDict[str, _Known] = OrderedDict()
        self._remembered = remembered

    @override
    def stored_bytes(self, token: str) -> tuple[int, int]:
        return 0, 0

    @override
    def usage(self) -> Usage:
        return Usage()

    @override
    async def run(self) -> None:
        pass  # it has nothing to tidy

    @override
    def close(self) -> None:
        pass  # it has no resources

    @override
    async def claim(
        self,
        hello: Hello,
        on_kept: Callable[[], None],
        on_failed: Callable[[WireError], None],
        origin: Origin | None = None,
    ) -> MemoryClaim:
        # Neither callback is ever called: a chunk is kept at once, and nothing can fail later.
        if hello.kind is not Kind.PCM:
            expected = f"{Kind.PCM}: without a store there is nowhere to keep a file"
            raise Malformed("kind", seen=hello.kind, expected=expected)
        known = self._ended.get(hello.stream) or self._open.get(hello.stream) or _Known(hello)
        if known.cancelled:
            raise Gone(f"stream {hello.stream} was cancelled")
        if known.hello.format != hello.format:
            raise Malformed("format", seen=hello.format, expected=known.hello.format)
        known.epoch += 1
        if known.receipt is None:
            self._open[hello.stream] = known
        claim = MemoryClaim(known, self._end)
        log.debug(
            "stream_claimed",
            stream=hello.stream,
            epoch=claim.epoch,
            offset=claim.offset,
            complete=claim.receipt is not None,
        )
        return claim

    def _end(self, known: _Known) -> None:
        stream = known.hello.stream
        self._open.pop(stream, None)
        if known.receipt is not None or known.cancelled:
            self._ended[stream] = known
        while len(self._ended) > self._remembered:
            self._ended.popitem(last=False)


class MemoryClaim(Claim):
    """A claim on a stream whose position is in memory."""

    def __init__(self, known: _Known, end: Callable[[_Known], None]) -> None:
        self.epoch = known.epoch
        self.offset = self.kept = known.units
        self.receipt = known.receipt
        self._known = known
        self._end = end

    def __repr__(self) -> str:
        return f"<MemoryClaim {self._known.hello.stream} epoch {self.epoch}, {self.kept} kept>"

    @override
    def append(self, chunk: Chunk) -> None:
        self._known.digest.update(chunk.offset, chunk.units, chunk.canonical)
        self._known.units = self.kept = chunk.end

    @override
    def flush_soon(self) -> None:
        pass  # nothing waits

    @override
    def spool(self) -> AbstractContextManager[Original]:
        raise StorageFailed("nothing is kept")

    @override
    async def touch(self) -> None:
        pass  # no other receiver shares it

    @override
    async def seal(self) -> None:
        pass  # the processors have all chunks already

    @override
    async def commit(self, eos: Eos, receipt: Receipting) -> Receipt:
        digest = self._known.digest.hexdigest()
        if eos.digest and digest != eos.digest:
            self._end(self._known)
            raise BadChecksum("digest of the stream", seen=eos.digest, expected=digest)
        self._known.receipt = await receipt(digest)
        self._end(self._known)
        return self._known.receipt

    @override
    async def discard(self) -> None:
        self._known.cancelled = True
        self._end(self._known)

    @override
    async def forget(self) -> None:
        self._end(self._known)
