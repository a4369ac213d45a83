"""Where a stream's chunks are kept: the seam, and the store that keeps nothing."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Protocol

from wire import BadChecksum, Chunk, Digest, Eos, Gone, Hello, Level, Malformed, Receipt, WireError


class Claim(Protocol):
    """One connection's right to continue a stream; a later claim on the stream ends it."""

    epoch: int
    """Higher than that of every earlier claim."""

    offset: int
    """The unit to continue at."""

    receipt: Receipt | None
    """Of a stream that is complete already."""

    @property
    def kept(self) -> int:
        """The unit before which everything is as safe as this store can make it."""

    def append(self, chunk: Chunk) -> None:
        """Take the next chunk; returns at once, `kept` moves later."""

    async def seal(self) -> None:
        """Make safe what came; the connection is gone and nothing more will come."""

    async def commit(self, eos: Eos, receipt: Callable[[str], Receipt]) -> Receipt:
        """
        End the stream: *receipt* makes its receipt from the digest of what is kept.

        Raises:
            BadChecksum: if *eos* has a digest, and it is another one.
            Fenced: if a newer claim exists.
        """

    async def discard(self) -> None:
        """Forget the audio, and remember that the stream was given up."""

    async def forget(self) -> None:
        """Nobody came back for the stream; this process need not know it any longer."""


class Listener(Protocol):
    """Whoever holds a claim; called on the event loop."""

    def advanced(self) -> None:
        """`kept` has moved."""

    def failed(self, error: WireError) -> None:
        """The claim is of no use any more: fenced, or the disk refused."""


class Store(Protocol):
    """Keeps streams, and decides where a sender continues."""

    level: Level
    """The most that an acknowledgement can promise."""

    @property
    def full(self) -> bool:
        """Whether there is no room for more: new streams go elsewhere, open ones wait."""

    @property
    def free_bytes(self) -> float:
        """Bytes that may still be kept."""

    async def run(self) -> None:
        """Tidy up behind streams, for as long as the receiver runs."""

    def close(self) -> None:
        """Finish what is under way; nothing is claimed any more."""

    async def claim(self, hello: Hello, listener: Listener) -> Claim:
        """
        Give the stream to a new connection, which *listener* stands for.

        Raises:
            Malformed: if the stream exists in another format.
            Gone: if it was cancelled or has expired.
            Held: if a sender is busy with it by way of another receiver.
            StorageFailed: if the disk refuses.
        """


@dataclass
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
    streams are known, so that sending one again costs nothing.
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

    async def seal(self) -> None:
        pass  # what came is in the processors' hands

    async def commit(self, eos: Eos, receipt: Callable[[str], Receipt]) -> Receipt:
        digest = self._known.digest.hexdigest()
        if eos.digest and digest != eos.digest:
            self._end(self._known)
            raise BadChecksum("digest of the stream", seen=eos.digest, expected=digest)
        self._known.receipt = receipt(digest)
        self._end(self._known)
        return self._known.receipt

    async def discard(self) -> None:
        self._known.cancelled = True
        self._end(self._known)

    async def forget(self) -> None:
        self._end(self._known)
