"""`Outbound`, the sender's half of a stream: the next message, over any number of connections."""

from __future__ import annotations

import enum
import re
from math import isclose
from typing import Final

from sonoduct.text import clean

from .chunk import HEADER_BYTES, RecordKind, encode_header
from .credit import Ledger
from .digest import Digest
from .errors import BadChecksum, Draining, Malformed, error_for
from .format import CHANNELS, SAMPLERATES, Buffer
from .messages import (
    Ack,
    Cancel,
    Cancelled,
    Committed,
    Control,
    Drain,
    Eos,
    Error,
    Event,
    Events,
    Hello,
    Level,
    Opened,
    Receipt,
)

MOST_CHUNK: Final = 4 * 1024 * 1024
MOST_WINDOW: Final = 256 * 1024 * 1024
MOST_MESSAGES: Final = 65_536
"""
The most bytes of a payload, bytes in flight and messages in flight of a sender, even if a receiver
offers more: they take the sender's memory.
"""

_STREAM: Final = re.compile(r"[0-9a-f]{32}")
_SECONDS_OFF: Final = 1e-6
"""The most by which the seconds of a receipt may differ from its frames, as a share of them."""


class Phase(enum.Enum):
    """The state of a stream. The value says which message may come."""

    LOST = "no connection"
    GREETING = "opened"
    OPEN = "ack, event or drain"
    ENDING = "committed"
    PROVING = "nothing, until the receipt is compared with the source"
    DONE = "nothing"


class Outbound:
    """
    One stream, seen from the sender, from its first hello to its receipt.

    On every connection: send the hello that `greet` returns, and `feed` each message that arrives.
    When the phase is OPEN, read the source from `read_from` on. Give units before `position` to
    `skip`, and the others to `chunk`, as far as credit (`room`) allows. Then send `eos`.

    If the receiver has a receipt already, the phase is PROVING, since the receipt may belong to
    other audio with this id. Read the rest of the source into `sum`, then call `prove`.
    """

    def __init__(self, hello: Hello, first: int = 0) -> None:
        """If the source has dropped its *first* units, it has no digest to compare."""
        self.hello = hello
        self.phase = Phase.LOST
        self.receipt: Receipt | None = None
        self.epoch = 0
        self.max_chunk = 0
        """Bytes of the largest payload that the receiver takes."""
        self.position = 0
        """The next unit to send."""
        self.durable = 0
        self.received = 0
        """Units that the receiver has acknowledged."""
        self.chunks = self.sent_bytes = self.resent_bytes = 0
        """Messages and their bytes so far, on all connections."""
        self.level = Level.RECEIVED
        self.adopted = False
        """Whether the receiver has units that this sender has not sent."""
        self.summed = not first
        """Whether the digest covers the source from its first unit on."""
        self._furthest = 0
        self._ledger = Ledger()
        self._window = self._chunk_cost = 0
        self._digest = Digest()
        self._offered: Receipt | None = None

    def __repr__(self) -> str:
        return (
            f"<Outbound {self.hello.stream[:4]}… {self.phase.name} at {self.position}, "
            f"{self.unacknowledged} bytes unacknowledged>"
        )

    @property
    def read_from(self) -> int:
        """The unit from which to read the source, so that the digest misses none."""
        return min(self._digest.units, self.position) if self.summed else self.position

    @property
    def content(self) -> tuple[int, str]:
        """The number of units in the digest, and the digest in hexadecimal digits."""
        return self._digest.units, self._digest.hexdigest()

    @property
    def room(self) -> int:
        """Bytes of payload that the next chunk may have; 0 or less if it has to wait."""
        if self._ledger.messages >= MOST_MESSAGES:
            return 0
        credit = self._ledger.settled + self._window - self._ledger.added
        return min(credit - HEADER_BYTES, self.max_chunk) if credit >= self._chunk_cost else 0

    @property
    def unacknowledged(self) -> int:
        """Bytes of messages that the receiver has not acknowledged."""
        return self._ledger.outstanding

    @property
    def acknowledged(self) -> int:
        """Units that need not be sent again, at the level that the receiver granted."""
        return self.received if self.level is Level.RECEIVED else self.durable

    def greet(self) -> Hello:
        """Begin a connection; return its first message."""
        if self.phase is not Phase.DONE:
            self.phase = Phase.GREETING
        return self.hello

    def lose(self) -> None:
        """Forget the connection; the next one sends again the units that were not acknowledged."""
        if self.phase is not Phase.DONE:
            self.phase = Phase.LOST
            self._ledger, self._window = Ledger(), 0

    def feed(self, message: Control) -> None:
        """
        Advance by one message of the receiver.

        Raises:
            WireError: the receiver's error, or an error in its message.
        """
        match message, self.phase:
            case Opened(receipt=Receipt() as receipt), Phase.GREETING:
                self.phase, self.adopted, self._offered = Phase.PROVING, True, receipt
            case Opened(), Phase.GREETING:
                self._open(message)
            case Ack(epoch=epoch), Phase.OPEN | Phase.ENDING if epoch == self.epoch:
                self._acknowledge(message)
            case Committed(epoch=epoch, receipt=receipt), Phase.ENDING if epoch == self.epoch:
                sent = self.content if self.summed else (self.position, receipt.digest)
                self._compare(receipt, sent)
                self._finish(receipt)
            case Cancelled(epoch=epoch), Phase.OPEN | Phase.ENDING if epoch == self.epoch:
                self.phase = Phase.DONE
            case Drain(retry_ms=retry_ms), _:
                raise Draining("receiver stops", expected=f"another one in {retry_ms} ms")
            case Error(), _:
                raise error_for(message.code, message.message, message.seen, message.expected)
            case Event() | Events() | Ack(), _:
                pass  # an event changes nothing; an ack of an older epoch is late
            case Committed(epoch=epoch) | Cancelled(epoch=epoch), Phase.OPEN | Phase.ENDING if (
                epoch != self.epoch
            ):
                raise Malformed("epoch", seen=epoch, expected=self.epoch)
            case _:
                seen = type(message).__name__.lower()
                raise Malformed("message", seen=seen, expected=self.phase.value)

    def sum(self, offset: int, units: int, payload: Buffer) -> None:
        """Add *units* units at *offset* to the digest, and send nothing."""
        self._digest.update(offset, units, payload)

    def count(self, before: Outbound) -> None:
        """Continue the counters of *before*, which sent the same source under another id."""
        self.chunks, self.sent_bytes = before.chunks, before.sent_bytes
        self.resent_bytes = before.resent_bytes

    def skip(self, units: int, payload: Buffer) -> None:
        """Add *units* units at `read_from`, which the receiver has, to the digest."""
        self._digest.update(self.read_from, units, payload)

    def chunk(
        self, units: int, payload: Buffer, packed: Buffer | None = None
    ) -> tuple[bytes, Buffer]:
        """
        Return the message of the next *units* units, in two parts that are not joined.

        They are its header, and *payload*, or *packed* in its place.
        """
        carried = payload if packed is None else packed
        size = max(len(payload), len(carried))
        if self.phase is not Phase.OPEN or size > self.room:
            raise ValueError(f"{size} bytes in phase {self.phase}, room is {self.room}")
        header = encode_header(RecordKind.AUDIO, self.epoch, self.position, units, carried)
        if self.summed:
            self._digest.update(self.position, units, payload)
        self._account(units, HEADER_BYTES + len(carried))
        self.position += units
        self._furthest = max(self._furthest, self.position)
        self._ledger.add(self.position, max(HEADER_BYTES + size, self._chunk_cost))
        return header, carried

    def eos(self) -> Eos:
        """Return the message that ends the stream after the units sent so far."""
        if self.phase is not Phase.OPEN or (self.summed and self._digest.units != self.position):
            raise ValueError(f"eos at {self.position} in phase {self.phase}")
        self.phase = Phase.ENDING
        return Eos(units=self.position, digest=self._digest.hexdigest() if self.summed else "")

    def prove(self, content: tuple[int, str]) -> None:
        """
        Accept the receipt that came with `opened`; *content* is the source's units and digest.

        Raises:
            BadChecksum: if the receipt belongs to other audio.
        """
        assert self._offered is not None  # the phase is PROVING
        self._compare(self._offered, content)
        self._finish(self._offered)

    def trust(self) -> None:
        """
        Accept the receipt that came with `opened` without proof.

        Raises:
            BadChecksum: if it cannot be this stream's.
        """
        assert self._offered is not None  # the phase is PROVING
        self._require_possible(self._offered)
        self._finish(self._offered)

    def cancel(self) -> Cancel:
        """Return the message that cancels the stream."""
        return Cancel(epoch=self.epoch)

    def _open(self, opened: Opened) -> None:
        if not opened.epoch:
            raise Malformed("epoch", seen=opened.epoch, expected="at least 1")
        kept = opened.ack is Level.DURABLE
        if kept and opened.offset < self.durable:
            raise Malformed("offset", seen=opened.offset, expected=f"at least {self.durable}")
        fits = self.hello.units_in(opened.max_chunk) > 0
        if not fits or opened.max_chunk > opened.window - HEADER_BYTES:
            expected = f"{self.hello.unit_bytes}, one unit, to below the window"
            raise Malformed("max_chunk", seen=opened.max_chunk, expected=expected)
        if opened.chunk_cost > opened.window:
            raise Malformed("chunk_cost", seen=opened.chunk_cost, expected="at most the window")
        self._chunk_cost = opened.chunk_cost
        self.phase = Phase.OPEN
        # Another sender may have claimed the stream in between.
        others = opened.epoch > self.epoch + 1 and self.epoch > 0
        self.adopted = self.adopted or others or opened.offset > self._furthest
        self.epoch, self.position, self.level = opened.epoch, opened.offset, opened.ack
        self.max_chunk = min(opened.max_chunk, MOST_CHUNK)
        self._window, self._ledger = min(opened.window, MOST_WINDOW), Ledger()
        self.received = opened.offset
        self.durable = opened.offset if kept else 0

    def _acknowledge(self, ack: Ack) -> None:
        ordered = self.durable <= ack.durable <= ack.received <= self.position
        if not ordered or ack.received < self.received:
            seen = f"durable {ack.durable}, received {ack.received}"
            raise Malformed("ack", seen=seen, expected=f"{self.durable} to {self.position}")
        self.received, self.durable = ack.received, ack.durable
        self._window = min(ack.window, MOST_WINDOW)
        self._ledger.settle(self.acknowledged)

    def _account(self, units: int, size: int) -> None:
        self.chunks += 1
        self.sent_bytes += size
        if self.position + units <= self._furthest:
            self.resent_bytes += size

    def _compare(self, receipt: Receipt, content: tuple[int, str]) -> None:
        if (receipt.units, receipt.digest) != content:
            seen = f"{receipt.units} units, digest {clean(receipt.digest, len(content[1]))}"
            raise BadChecksum("receipt", seen=seen, expected=f"{content[0]} units, {content[1]}")
        self._require_possible(receipt)

    def _require_possible(self, receipt: Receipt) -> None:
        """
        Check what else *receipt* says of the stream.

        Raises:
            BadChecksum: if it cannot be this stream's.
        """
        form = self.hello.format
        rates = SAMPLERATES if form is None else (form.samplerate,)
        channels = CHANNELS if form is None else (form.channels,)
        seconds = receipt.frames / receipt.samplerate if receipt.samplerate > 0 else 0.0
        for what, good, seen in (
            ("stream", _STREAM.fullmatch(receipt.stream), clean(receipt.stream, 40)),
            ("samplerate", receipt.samplerate in rates, receipt.samplerate),
            ("channels", receipt.channels in channels, receipt.channels),
            ("frames", form is None or receipt.frames == receipt.units, receipt.frames),
            ("seconds", isclose(receipt.seconds, seconds, rel_tol=_SECONDS_OFF), receipt.seconds),
        ):
            if not good:
                raise BadChecksum(f"receipt with {what}", seen=seen, expected="the stream's own")

    def _finish(self, receipt: Receipt) -> None:
        self.phase = Phase.DONE
        self.receipt = receipt
        self.position = self.received = receipt.units
        self.durable = receipt.units if receipt.durable else 0
