"""The store that keeps nothing."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable
from contextlib import AbstractContextManager
from dataclasses import dataclass, field

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
)

from . import Listener, Original, Receipting


@dataclass(slots=True)
class _Known:
    hello: Hello
    epoch: int = 0
    units: int = 0
    digest: Digest = field(default_factory=Digest)
    receipt: Receipt | None = None
    cancelled: bool = False


class NoStore:
    """
    Keeps nothing but the place where each stream stands, in memory: acks mean "processed".

    A sender can resume for as long as this process lives. *remembered* bounds how many ended
    streams are known, so that sending one again sends nothing.
    """

    level = Level.RECEIVED
    full = False
    free_bytes = float("inf")

    def __init__(self, remembered: int) -> None:
        self._open: dict[str, _Known] = {}
        self._ended: OrderedDict[str, _Known] = OrderedDict()
        self._remembered = remembered

    async def run(self) -> None:
        """See Store: there is nothing to tidy."""

    def close(self) -> None:
        """See Store."""

    async def claim(self, hello: Hello, listener: Listener) -> _NoClaim:  # noqa: ARG002  # nothing becomes safer later, or fails
        """See Store."""
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
        return _NoClaim(known, self._end)

    def _end(self, known: _Known) -> None:
        stream = known.hello.stream
        self._open.pop(stream, None)
        if known.receipt is not None or known.cancelled:
            self._ended[stream] = known
        while len(self._ended) > self._remembered:
            self._ended.popitem(last=False)


class _NoClaim:
    def __init__(self, known: _Known, end: Callable[[_Known], None]) -> None:
        self.epoch = known.epoch
        self.offset = known.units
        self.receipt = known.receipt
        self._known = known
        self._end = end

    @property
    def kept(self) -> int:
        return self._known.units

    def append(self, chunk: Chunk) -> None:
        self._known.digest.update(chunk.offset, chunk.units, chunk.canonical)
        self._known.units = chunk.end

    def hurry(self) -> None:
        pass  # nothing waits

    async def seal(self) -> None:
        pass  # what came is in the processors' hands

    async def commit(self, eos: Eos, receipt: Receipting) -> Receipt:
        digest = self._known.digest.hexdigest()
        if eos.digest and digest != eos.digest:
            self._end(self._known)
            raise BadChecksum("digest of the stream", seen=eos.digest, expected=digest)
        self._known.receipt = await receipt(digest)
        self._end(self._known)
        return self._known.receipt

    def spool(self) -> AbstractContextManager[Original]:
        raise StorageFailed("nothing is kept")

    async def sign(self) -> None:
        pass  # nobody shares it

    async def discard(self) -> None:
        self._known.cancelled = True
        self._end(self._known)

    async def forget(self) -> None:
        self._end(self._known)
