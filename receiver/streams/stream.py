"""One stream in this receiver, over all the connections that it takes."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable
from typing import Protocol

from receiver.metrics import Traffic
from receiver.processing.pipeline import Processing
from receiver.processing.processor import Finding, StreamInfo
from receiver.stores import Claim
from sonoduct.wire import Chunk, Eos, Format, Hello, Level, Receipt, WireError


class Holder(Protocol):
    """The connection that has a stream at the moment."""

    def advanced(self) -> None:
        """`released` may have grown."""

    def found(self, processor: str, finding: Finding) -> None:
        """A processor reported something."""

    def stop(self, error: WireError) -> None:
        """Take nothing more from the peer, and close with *error*."""


class Stream(ABC):
    """What joins the store, the processors and whichever connection holds the stream."""

    def __init__(self, hello: Hello, claim: Claim, processing: Processing) -> None:
        self.hello = hello
        self._processing = processing
        self.claim = claim
        self.holder: Holder | None = None
        self.last_chunk = 0.0
        """When there was progress for the last time, by the event loop's clock."""
        self.came = claim.offset
        """The unit after the last one that came."""

    @property
    @abstractmethod
    def released(self) -> int:
        """The unit before which everything is kept and processed."""

    @property
    @abstractmethod
    def facts(self) -> dict[str, object]:
        """What the log says when the stream begins and ends."""

    @property
    def pending(self) -> int:
        """Units that came and are not released yet."""
        return self.came - self.released

    @property
    def exposed(self) -> int:
        """Bytes that came and are not kept yet."""
        return (self.came - self.claim.kept) * self.hello.unit_bytes

    @abstractmethod
    def append(self, chunk: Chunk, traffic: Traffic, now: float) -> None:
        """Keep and process *chunk*, both later, and count it."""

    @abstractmethod
    async def commit(self, eos: Eos, level: Level) -> Receipt:
        """
        End the stream and return its receipt.

        Raises:
            BadChecksum: if what came is not what *eos* describes.
            Malformed, ProcessingFailed: if it is not the audio that it was said to be.
        """

    @abstractmethod
    def abandon(self) -> None:
        """Stop processing; nobody waits for the rest."""

    def resume(self, claim: Claim) -> None:
        """Continue under *claim*."""
        self.claim, self.came = claim, claim.offset

    @abstractmethod
    async def unpacked(self) -> None:
        """Wait until all that came is on its way to the store."""

    @abstractmethod
    async def settled(self) -> None:
        """Wait until the processors have seen all that came."""

    @abstractmethod
    def interrupt(self, error: WireError) -> None:
        """Give up with *error* what may take long and can be done again: others wait."""

    async def seal(self) -> None:
        """Make safe what came; nothing more will come under this claim."""
        claim = self.claim
        await self.unpacked()
        await claim.seal()

    def advanced(self) -> None:
        """Pass on that more is kept or processed (called by the store and the pipeline)."""
        if self.holder is not None:
            self.holder.advanced()

    def found(self, processor: str, finding: Finding) -> None:
        """Pass on what a processor reported (called by the pipeline)."""
        if self.holder is not None:
            self.holder.found(processor, finding)
        else:
            self._processing.dropped(1)

    def info(self, form: Format) -> StreamInfo:
        """Return what processors learn about the stream, whose samples are in *form*."""
        return StreamInfo(
            id=self.hello.stream,
            name=self.hello.name,
            samplerate=form.samplerate,
            channels=form.channels,
            metadata=self.hello.metadata,
        )


Make = Callable[[Hello, Claim], Stream]
"""Makes the stream of a first claim."""
