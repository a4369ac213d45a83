"""Where a stream's chunks are kept: the seam."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from contextlib import AbstractContextManager
from pathlib import Path
from typing import NamedTuple, Protocol

from sonoduct.wire import Chunk, Eos, Hello, Level, Receipt, WireError

Receipting = Callable[[str], Awaitable[Receipt]]


class Original(NamedTuple):
    """A file as its sender has it."""

    path: Path
    digest: str
    sha256: str


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

    def hurry(self) -> None:
        """Have `kept` move soon: the sender will have to wait for it."""

    async def seal(self) -> None:
        """Make safe what came; the connection is gone and nothing more will come."""

    async def commit(self, eos: Eos, receipt: Receipting) -> Receipt:
        """
        End the stream: *receipt* makes its receipt from the digest of what is kept.

        Raises:
            BadChecksum: if *eos* has a digest, and it is another one.
            Fenced: if a newer claim exists.
            WireError: as *receipt*; the stream is kept then.
        """

    def spool(self) -> AbstractContextManager[Original]:
        """
        Make a file of what a stream of bytes has, for as long as the context is open. It blocks.

        Raises:
            StorageFailed: if the disk refuses.
        """

    async def sign(self) -> None:
        """Show others who share the store that somebody is at work on the stream."""

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
