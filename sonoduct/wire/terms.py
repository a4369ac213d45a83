"""What a receiver offers to a stream and expects of a peer, and when."""

from __future__ import annotations

import enum
from typing import Final

import msgspec

from .messages import Level

STEP_BYTES: Final = 1024 * 1024
"""What a large window is committed and acknowledged in: disk, peer and we are busy together."""


class Terms(msgspec.Struct, frozen=True):
    """What the receiver offers for one stream on one connection."""

    window: int
    """Bytes of messages that it holds for the stream at most."""
    max_chunk: int
    """Bytes of the largest payload."""
    ack: Level
    """What its acknowledgements promise."""
    kept: bool
    """Whether what is released survives a power cut; if not, `durable` stays 0 in every ack."""

    @property
    def step(self) -> int:
        """Bytes that are worth a commit, or an ack, at once: half of the window at most."""
        return min(self.window // 2, STEP_BYTES)


class Deadlines(msgspec.Struct, frozen=True):
    """How long a peer may be silent, in seconds."""

    hello: float = 5.0
    """From the connection to the first hello."""
    progress: float = 60.0
    """Between chunks while there is room for them, and from one stream to the next hello."""


class Phase(enum.Enum):
    """Where a connection stands."""

    GREETING = "a hello"
    CLAIMING = "nothing until opened"
    OPEN = "a chunk, eos or cancel"
    ENDING = "nothing until committed"
