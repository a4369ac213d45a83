"""
The control messages, as immutable values; control.py writes and reads them.

A peer ignores fields that it does not know, so that a later minor version can add some.
"""

from __future__ import annotations

import enum
import re
from collections.abc import Mapping
from typing import Annotated, Final, TypeAlias

import msgspec

from .format import Compression, Format, Kind

Value: TypeAlias = int | float | str | bool | None
"""A value that a processor may report."""
Values: TypeAlias = Mapping[str, Value]
Count: TypeAlias = Annotated[int, msgspec.Meta(ge=0, le=2**63 - 1)]
"""Units, bytes or milliseconds."""


class Receipt(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """The receiver's final word on a stream."""

    stream: str
    units: Count
    digest: str
    """xxh3-128 over the canonical bytes, 32 hexadecimal digits."""
    frames: Count
    samplerate: int
    channels: int
    seconds: float
    """frames / samplerate."""
    durable: bool
    """Whether the stream survives a power cut of the receiver's machine."""
    processors: dict[str, dict[str, Value]] = {}
    """The report of each processor at the end."""
    failures: dict[str, str] = {}
    """The processors that did not see the whole stream, and why."""
    sha256: str = ""
    """The digest by which other tools know a file; 64 hexadecimal digits."""
    decoder: str = ""
    """The decoder that turned a file into frames."""


SUBPROTOCOL: Final = "sonoduct.v1"

REPLICA_HEADER: Final = "Sonoduct-Replica"
"""The receiver's name, in its answer to the handshake: for logs only."""

Epoch: TypeAlias = Annotated[int, msgspec.Meta(ge=0, le=2**32 - 1)]
"""A chunk's header has 32 bits for it."""

_STREAM_ID: Final = re.compile(r"[0-9a-f]{32}")
_NAME_CHARACTERS: Final = 255


class Level(enum.StrEnum):
    """The promise of an acknowledgement."""

    RECEIVED = "received"
    """The unit is in the receiver's process; it survives a lost connection."""

    DURABLE = "durable"
    """The unit survives a power cut of the receiver's machine."""


class _Message(msgspec.Struct, frozen=True, omit_defaults=True, tag_field="type"):
    """Base of all control messages; fields that have their default value are not sent."""


class Hello(_Message, frozen=True, kw_only=True, tag="hello"):
    """Sender: claims a stream."""

    stream: str
    """32 hexadecimal digits, chosen by the sender; the same for every attempt."""
    instance: str
    """Which sender process this is."""
    kind: Kind = Kind.PCM
    format: Format | None = None
    """How to read the samples of a ``pcm`` stream; a file describes itself."""
    name: str = ""
    """For people; never a key."""
    units: Count | None = None
    """The number of units, if the source claims to know. Informative."""
    ack: Level = Level.DURABLE
    metadata: dict[str, str] = {}
    batches: bool = False
    """Whether the sender takes `Events`."""

    def __post_init__(self) -> None:
        if not _STREAM_ID.fullmatch(self.stream):
            raise ValueError(f"stream {self.stream[:40]!r}, expected 32 hexadecimal digits")
        for field in ("instance", "name"):
            length = len(getattr(self, field))
            if length > _NAME_CHARACTERS:
                raise ValueError(f"{field} of {length} characters, expected <= {_NAME_CHARACTERS}")
        if (self.kind is Kind.PCM) != (self.format is not None):
            seen, expected = ("no", "one") if self.format is None else ("a", "none")
            raise ValueError(f"{seen} format in a hello of kind {self.kind}, expected {expected}")

    @property
    def pcm(self) -> Format:
        """How to read the samples of a ``pcm`` stream; only for such a stream."""
        assert self.format is not None  # the kind is PCM
        return self.format

    @property
    def unit_bytes(self) -> int:
        """Canonical bytes of a unit: of a frame, or 1 in a file."""
        return 1 if self.format is None else self.format.frame_bytes

    @property
    def compressed(self) -> bool:
        """Whether payloads differ from the canonical bytes."""
        return self.format is not None and self.format.compression is not Compression.NONE

    def units_in(self, size: int) -> int:
        """Return how many units fit into a payload of *size* bytes, for any samples."""
        return size if self.format is None else self.format.frames_in(size)


class State(enum.StrEnum):
    """The state of a stream when a sender claims it."""

    OPEN = "open"
    COMMITTED = "committed"


class Opened(_Message, frozen=True, kw_only=True, tag="opened"):
    """Receiver: the claim is accepted; continue at *offset*."""

    epoch: Epoch
    offset: Count
    window: Count
    """Bytes of messages that may be sent beyond the acknowledged ones."""
    max_chunk: Count
    """Bytes of the largest payload."""
    chunk_cost: Count = 0
    """Bytes that a chunk counts against the window, if its message has fewer."""
    ack: Level = Level.DURABLE
    """The promise of this receiver's acknowledgements; never more than the sender requested."""
    state: State = State.OPEN
    receipt: Receipt | None = None
    """With the state ``committed``."""


class Ack(_Message, frozen=True, kw_only=True, tag="ack"):
    """Receiver: cumulative; *window* counts from *durable*, or *received* with that level."""

    epoch: Epoch
    durable: Count
    received: Count
    window: Count


class Eos(_Message, frozen=True, kw_only=True, tag="eos"):
    """Sender: the stream ends after *units*."""

    units: Count
    digest: str = ""
    """Empty, and not compared, if the sender no longer has the beginning of a live stream."""


class Committed(_Message, frozen=True, kw_only=True, tag="committed"):
    """Receiver: the stream is complete. Only now may the sender report success."""

    epoch: Epoch
    receipt: Receipt


class Event(_Message, frozen=True, kw_only=True, tag="event"):
    """Receiver: a finding of a processor at *offset*."""

    processor: str
    offset: Count
    values: dict[str, Value]
    end: Count | None = None
    """The frame after the last one that the finding concerns."""


class Events(_Message, frozen=True, kw_only=True, tag="events"):
    """Receiver: several findings in one message, for senders that take such messages."""

    events: list[Event]


class Cancel(_Message, frozen=True, kw_only=True, tag="cancel"):
    """Sender: cancels the stream for good."""

    epoch: Epoch


class Cancelled(_Message, frozen=True, kw_only=True, tag="cancelled"):
    """Receiver: the stream is cancelled."""

    epoch: Epoch


class Drain(_Message, frozen=True, kw_only=True, tag="drain"):
    """Receiver: stops soon; connect again after *retry_ms*. Followed by close 1012."""

    retry_ms: Count


class Error(_Message, frozen=True, kw_only=True, tag="error"):
    """Receiver: an error. Followed by the close code."""

    code: int
    message: str
    seen: str | None = None
    expected: str | None = None


FromSender: TypeAlias = Hello | Eos | Cancel
FromReceiver: TypeAlias = Opened | Ack | Committed | Event | Events | Cancelled | Drain | Error
Control: TypeAlias = FromSender | FromReceiver
