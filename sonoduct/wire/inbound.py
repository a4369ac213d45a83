"""`Inbound`, the receiver's half of a connection: messages that may come, and acknowledgements."""

from __future__ import annotations

import enum
from typing import Final, TypeAlias

import msgspec

from .chunk import HEADER_BYTES, Chunk
from .credit import Grant
from .errors import Gap, Malformed, Stalled, TooLarge
from .messages import (
    Ack,
    Cancel,
    Cancelled,
    Committed,
    Control,
    Eos,
    Hello,
    Level,
    Opened,
    Receipt,
    State,
)

STEP_BYTES: Final = 1024 * 1024
"""Bytes per commit and per ack in a large window, so that disk, peer and receiver all work."""


class Terms(msgspec.Struct, frozen=True):
    """The receiver's offer for one stream on one connection."""

    window: int
    """The most bytes of messages that it holds for the stream."""
    max_chunk: int
    """Bytes of the largest payload."""
    ack: Level
    """The promise of its acknowledgements."""
    kept: bool
    """Whether released units survive a power cut; if not, `durable` stays 0 in every ack."""
    chunk_cost: int = 0
    """Bytes that a message counts, if it has fewer: it takes memory beside its bytes."""

    @property
    def step(self) -> int:
        """Bytes that are worth a commit or an ack: at most half of the window."""
        return min(self.window // 2, STEP_BYTES)


class Deadlines(msgspec.Struct, frozen=True):
    """Seconds that a peer may be silent."""

    hello: float = 5.0
    """From the connection to the first hello."""
    progress: float = 60.0
    """Between chunks while there is room for them, and from one stream to the next hello."""


class Phase(enum.Enum):
    """The state of a connection. The value says which message may come."""

    GREETING = "a hello"
    CLAIMING = "nothing until opened"
    OPEN = "a chunk, eos or cancel"
    ENDING = "nothing until committed"


Message: TypeAlias = Control | Chunk


class Inbound:
    """
    One connection, seen from the receiver; streams may follow one another on it.

    `feed` it every message, with its time; it accepts the message or raises a WireError. Tell it
    about the stream (`open`, `release`, `commit`); it returns the message to send.
    """

    def __init__(self, deadlines: Deadlines, now: float) -> None:
        self.phase = Phase.GREETING
        self.epoch = 0
        self.received = 0
        """The unit after the last one that was received."""
        self.released = 0
        """The unit before which everything is stored and processed."""
        self.acknowledged = 0
        """The unit before which the last ack has promised what the sender asked for."""
        self.deadline = now + deadlines.hello
        """The time at which silence becomes an error."""
        self._deadlines = deadlines
        self._credit = Grant(0)
        self._unit_bytes, self._compressed = 1, False
        self._terms = Terms(0, 0, Level.DURABLE, kept=False)
        self._told: Ack | None = None

    def __repr__(self) -> str:
        return (
            f"<Inbound epoch {self.epoch} {self.phase.name} at {self.received}, "
            f"{self.held} bytes not released>"
        )

    def feed(self, message: Message, now: float) -> None:
        """
        Advance by one message.

        Raises:
            PeerError: if *message* may not come now; nothing has changed then.
        """
        match message:
            case Chunk():
                if self.phase is not Phase.OPEN:
                    raise self._illegal(message)
                self._take(message)
                self.deadline = now + self._deadlines.progress
            case Hello():
                self._require_phase(message, Phase.GREETING)
                self._unit_bytes, self._compressed = message.unit_bytes, message.compressed
                self.phase = Phase.CLAIMING
            case Eos(units=units):
                self._require_phase(message, Phase.OPEN)
                if units != self.received:
                    raise Gap("eos units", seen=units, expected=self.received)
                self.phase = Phase.ENDING
            case Cancel(epoch=epoch):
                if self.phase is Phase.CLAIMING or not self.epoch:
                    raise self._illegal(message)
                if epoch != self.epoch:
                    raise Malformed("cancel epoch", seen=epoch, expected=self.epoch)
            case _:
                raise self._illegal(message)

    def refuse(self, chunk: Chunk) -> None:
        """Take back the last chunk, which the receiver does not take: no ack counts its units."""
        self.received -= chunk.units

    def open(self, epoch: int, offset: int, terms: Terms, now: float) -> Opened:
        """Accept the claim: the next chunk starts at *offset*."""
        self.phase = Phase.OPEN
        self.epoch, self.received, self.released = epoch, offset, offset
        self.acknowledged = offset
        self.deadline = now + self._deadlines.progress
        self._credit, self._terms = Grant(terms.window), terms
        self._told = self._standing()  # opened says it
        return Opened(
            epoch=epoch,
            offset=offset,
            window=terms.window,
            max_chunk=terms.max_chunk,
            chunk_cost=terms.chunk_cost,
            ack=terms.ack,
        )

    def reopen(self, epoch: int, receipt: Receipt, now: float) -> Opened:
        """Answer a claim on a complete stream with its receipt; the next hello may come."""
        self._rest(epoch, now)
        units = receipt.units
        return Opened(
            epoch=epoch, offset=units, window=0, max_chunk=0, state=State.COMMITTED, receipt=receipt
        )

    def release(self, offset: int, now: float) -> None:
        """Note that all units before *offset* are stored and processed: their memory is free."""
        self.released = offset
        self._credit.settle(offset)
        # A sender without credit was not silent: it waited for this.
        self.deadline = max(self.deadline, now + self._deadlines.progress)

    @property
    def held(self) -> int:
        """Bytes of received messages that are not released."""
        return self._credit.outstanding

    @property
    def is_open(self) -> bool:
        """Whether a stream is under way."""
        return self.phase in (Phase.OPEN, Phase.ENDING)

    @property
    def busy(self) -> bool:
        """Whether the sender waits for the receiver to store, process or commit."""
        return self.held > 0 or self.phase is Phase.ENDING

    @property
    def room(self) -> int:
        """Bytes of messages that may come; the sender may not know all of them yet."""
        return self._credit.edge - self._credit.added

    def cost(self, size: int) -> int:
        """Return the bytes that a message of *size* bytes counts against the window."""
        return max(size, self._terms.chunk_cost)

    @property
    def unannounced(self) -> int:
        """Bytes of credit that the sender was not told of."""
        return self._credit.edge - self._credit.announced

    def ack(self) -> Ack | None:
        """Return the acknowledgement to send; None if nothing has changed since the last one."""
        if not self.is_open:
            return None
        ack = self._standing()
        if ack == self._told:
            return None
        self._told = ack
        self.acknowledged = ack.received if self._terms.ack is Level.RECEIVED else self.released
        self._credit.announce()
        return ack

    def repeat(self) -> None:
        """Let `ack` return an acknowledgement once more, even if nothing has changed."""
        self._told = None

    def commit(self, receipt: Receipt, now: float) -> Committed:
        """End the stream well; the next hello may come."""
        self._rest(self.epoch, now)
        return Committed(epoch=self.epoch, receipt=receipt)

    def cancel(self, now: float) -> Cancelled:
        """End the stream that the sender cancelled; the next hello may come."""
        self._rest(self.epoch, now)
        return Cancelled(epoch=self.epoch)

    def expire(self, now: float) -> None:
        """
        Check the deadline.

        Raises:
            Stalled: if the peer was silent past its deadline although it could have sent.
        """
        smallest = self.cost(HEADER_BYTES + self._unit_bytes)
        could_send = self.phase is Phase.OPEN and self.room >= smallest
        waiting = self.phase is Phase.GREETING or could_send
        if waiting and now >= self.deadline:
            raise Stalled("silence past the deadline", expected=self.phase.value)

    def _standing(self) -> Ack:
        credit, received = self._credit, self._terms.ack is Level.RECEIVED
        return Ack(
            epoch=self.epoch,
            durable=self.released if self._terms.kept else 0,
            received=self.received,
            window=credit.edge - (credit.added if received else credit.settled),
        )

    def _rest(self, epoch: int, now: float) -> None:
        self.phase = Phase.GREETING
        self.epoch = epoch
        self.deadline = now + self._deadlines.progress

    def _illegal(self, message: Message) -> Malformed:
        name = type(message).__name__.lower()
        return Malformed("message", seen=name, expected=self.phase.value)

    def _require_phase(self, message: Message, phase: Phase) -> None:
        if self.phase is not phase:
            raise self._illegal(message)

    def _take(self, chunk: Chunk) -> None:
        """Check everything about *chunk*, then count it."""
        units, offset, terms = chunk.units, chunk.offset, self._terms
        if chunk.epoch != self.epoch:
            raise Malformed("chunk epoch", seen=chunk.epoch, expected=self.epoch)
        if offset != self.received:
            raise Gap("chunk offset", seen=offset, expected=self.received)
        size, limit = len(chunk.message) - HEADER_BYTES, terms.max_chunk
        if size > limit:
            raise TooLarge("payload bytes", seen=size, expected=f"<= {limit}")
        canonical = units * self._unit_bytes
        if self._compressed:  # unpacking finds out whether the header tells the truth
            if not units:
                raise Malformed("units of a chunk", seen=0, expected="one or more")
            if canonical > limit:
                raise TooLarge("unpacked bytes", seen=canonical, expected=f"<= {limit}")
            size = max(size, canonical)
        elif not units or size != canonical:
            what, expected = f"payload bytes of {units} units", f"{self._unit_bytes} for each"
            raise Malformed(what, seen=size, expected=f"{expected} of one or more")
        end = offset + units
        size += HEADER_BYTES
        self._credit.spend(end, max(terms.chunk_cost, size))
        self.received = end
