"""One stream in this receiver, over all of its connections."""

from __future__ import annotations

import time
from abc import ABC, abstractmethod
from collections.abc import Callable
from dataclasses import dataclass
from math import inf

import structlog

from receiver.metrics import Traffic
from receiver.processing.pipeline import Pipeline, Processing
from receiver.processing.processor import Finding, StreamInfo
from receiver.stores import Claim
from sonoduct.wire import Chunk, Eos, Format, Hello, Kind, Level, Receipt, TooLarge, WireError
from sonoduct.wire.records import Origin

from .probe import Probe

log = structlog.get_logger()


@dataclass(frozen=True, slots=True, eq=False)
class Holder:
    """The connection that holds a stream, as the stream knows it; called on the event loop."""

    traffic: Traffic
    """Where the connection's dialect counts."""
    released: Callable[[int], None]
    """Everything before this unit is stored and processed now."""
    found: Callable[[str, Finding], None]
    """A processor, by its name, found something."""
    stop: Callable[[WireError], None]
    """Take nothing more from the peer, and close the connection with this error."""
    origin: Origin = Origin()  # noqa: RUF009  # it is frozen
    """This receiver, and the peer."""
    client: str = ""
    """Name of the client for fair shares."""
    quota: int | None = None
    """Bytes that the client's token may store; None for no limit."""

    @property
    def facts(self) -> dict[str, str]:
        """The fields of the log that name the peer."""
        facts = {"peer": self.origin.peer}
        if self.origin.token:
            facts["token"] = self.origin.token
        if self.origin.sender_stream:
            facts["sender_stream"] = self.origin.sender_stream
        return facts


class Stream(ABC):
    """Joins the store, the processors and the connection that holds the stream, if one does."""

    def __init__(
        self, hello: Hello, claim: Claim, processing: Processing, *, durable: bool = True
    ) -> None:
        """*durable* tells whether the store makes chunks durable."""
        self.hello = hello
        self.claim = claim
        self.holder: Holder | None = None
        self.last_chunk = 0.0
        """The event loop's time of the last progress."""
        self.received = claim.offset
        """The unit after the last one received."""
        self.stored_bytes = 0
        """Bytes of the recording, once they are known; by then those that have come, at least."""
        self.most_bytes = inf
        """Canonical bytes that the stream may have."""
        self.unit_bytes = hello.unit_bytes
        self._processing = processing
        metrics = processing.metrics
        self._units = metrics.units[hello.kind]
        self._probe = Probe(
            metrics.array.observe if hello.kind is Kind.PCM else None,
            metrics.durable.observe if durable else None,
        )
        self._told = claim.offset  # the last `released` that a holder knows of
        self._unheard = 0  # events that no connection was there for

    def __repr__(self) -> str:
        held = "held" if self.holder else "without a connection"
        return f"<{type(self).__name__} {self.hello.stream[:8]} at {self.received}, {held}>"

    @property
    @abstractmethod
    def released(self) -> int:
        """The unit before which everything is stored and processed."""

    @property
    def taken(self) -> int:
        """The unit before which every processor has seen everything; bytes wait for none."""
        return self.received

    @property
    def behind_s(self) -> float:
        """Seconds of audio that were received and are not released; a file's bytes are none."""
        return 0.0

    @property
    def waiting_s(self) -> dict[str, float]:
        """Seconds of audio that wait for each processor."""
        return {}

    @property
    @abstractmethod
    def facts(self) -> dict[str, object]:
        """The fields of the log's lines about the beginning and the end of the stream."""

    @property
    def pending(self) -> int:
        """Units that were received and are not released yet."""
        return self.received - self.released

    @property
    def waits(self) -> bool:
        """Whether there may be such units; this costs less than counting them."""
        return self.received != self._told

    @property
    def unsafe_bytes(self) -> int:
        """Bytes that were received and are not as safe as the store can make them yet."""
        return (self.received - self.claim.kept) * self.unit_bytes

    @abstractmethod
    def append(self, chunk: Chunk, now: float) -> None:
        """Store and process *chunk*, both later; count it for the holder's dialect."""

    def _count(self, chunk: Chunk, now: float) -> Traffic:
        """
        Note that *chunk* came; return the counters of the holder's dialect.

        Raises:
            TooLarge: if it is more than the client may store.
        """
        assert self.holder is not None  # a chunk comes from the holder
        end = (chunk.offset + chunk.units) * self.unit_bytes
        if end > self.most_bytes:
            expected = f"<= {int(self.most_bytes)}, with the rest of the token's quota"
            raise TooLarge("stream bytes", seen=end, expected=expected)
        traffic = self.holder.traffic
        traffic.chunks += 1
        traffic.bytes += len(chunk.message)
        traffic.last = time.time()
        self._units.received += chunk.units
        self.last_chunk, self.received = now, chunk.offset + chunk.units
        if now >= self._probe.due:
            self._probe.start(self.received, now)
        return traffic

    @abstractmethod
    async def commit(self, eos: Eos, level: Level) -> Receipt:
        """
        End the stream and return its receipt.

        Raises:
            BadChecksum: if the digest of *eos* differs from the one of the stored audio.
            Malformed, ProcessingFailed: if the audio is not in the format that hello named.
        """

    @abstractmethod
    def abandon(self) -> None:
        """Stop processing: the stream gets no receipt here."""

    def resume(self, claim: Claim) -> None:
        """Continue under *claim*."""
        if self._told < claim.offset <= self.received:
            self._units.acknowledged += claim.offset - self._told
        self.claim = claim
        self.received = self._told = claim.offset
        self._probe.resume(claim.offset)
        self.log_unheard()

    def log_unheard(self) -> None:
        """Say how many events found no connection, when one is there again or the stream ends."""
        if self._unheard:
            log.warning("events_dropped", stream=self.hello.stream, events=self._unheard)
            self._unheard = 0

    @abstractmethod
    async def unpacked(self) -> None:
        """Wait until the store has been given every chunk received."""

    @abstractmethod
    async def settled(self) -> None:
        """Wait until the processors have seen every chunk received."""

    @abstractmethod
    def interrupt(self, error: WireError) -> None:
        """Give up long work that can be done again, with *error*: another connection waits."""

    async def seal(self) -> None:
        """Make everything received safe; nothing more comes under this claim."""
        claim = self.claim
        await self.unpacked()
        await claim.seal()

    def advanced(self) -> None:
        """Tell the holder if `released` has moved (called by the store and the pipeline)."""
        untaken, unkept = self._probe.untaken, self._probe.unkept
        if untaken.first and (taken := self.taken) >= untaken.first:
            untaken.pass_(taken)
        if unkept.first and self.claim.kept >= unkept.first:
            unkept.pass_(self.claim.kept)
        released = self.released
        if released != self._told:
            self._units.acknowledged += released - self._told
            self._told = released
            if self.holder is not None:
                self.holder.released(released)

    def found(self, processor: str, finding: Finding) -> None:
        """Tell the holder what *processor* found (called by the pipeline)."""
        if self.holder is not None:
            self.holder.found(processor, finding)
        else:
            self._processing.dropped(1)
            self._unheard += 1

    def _new_pipeline(self, audio_format: Format, offset: int) -> Pipeline:
        """Open the processors for samples in *audio_format*, from frame *offset* on."""
        hello = self.hello
        info = StreamInfo(
            id=hello.stream,
            name=hello.name,
            samplerate=audio_format.samplerate,
            channels=audio_format.channels,
            metadata=hello.metadata,
        )
        return Pipeline(self._processing, info, audio_format, offset, self.advanced, self.found)


MakeStream = Callable[[Hello, Claim], Stream]
"""Makes the stream of a first claim."""
