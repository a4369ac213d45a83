"""Where the chunks of a stream are kept: the interface that every store has."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from contextlib import AbstractContextManager
from pathlib import Path
from typing import NamedTuple, Protocol

from sonoduct.wire import Chunk, Eos, Hello, Level, Receipt, WireError

Receipting = Callable[[str], Awaitable[Receipt]]
"""Makes the receipt of a stream from its digest."""


class Store(Protocol):
    """Keeps streams, and decides where a sender continues."""

    level: Level
    """The most that an acknowledgement can promise."""

    @property
    def full(self) -> bool:
        """Whether the store has no room: new streams go elsewhere, open ones wait."""

    @property
    def free_bytes(self) -> float:
        """Bytes that the store can still keep."""

    async def run(self) -> None:
        """Tidy up behind streams, for as long as the receiver runs."""

    def close(self) -> None:
        """Finish the work under way; no stream is claimed after this."""

    async def claim(
        self,
        hello: Hello,
        on_kept: Callable[[], None],
        on_failed: Callable[[WireError], None],
    ) -> Claim:
        """
        Give the stream to the connection that said *hello*.

        The store calls *on_kept* on the event loop when `Claim.kept` has moved, and *on_failed*
        when the claim can keep no more: a newer claim exists, or the disk refuses.

        Raises:
            Malformed: if the stream exists in another format.
            Gone: if it was cancelled or has expired.
            Held: if another sender is at work on it through another receiver.
            StorageFailed: if the disk refuses.
        """


class Claim(Protocol):
    """One connection's right to continue a stream; a later claim on the stream ends it."""

    epoch: int
    """Number of the claim; higher than the epoch of every earlier claim."""

    offset: int
    """The unit to continue at."""

    receipt: Receipt | None
    """The receipt, if the stream was complete already."""

    kept: int
    """The unit before which everything is as safe as this store can make it."""

    def append(self, chunk: Chunk) -> None:
        """Take the next chunk; returns at once, and `kept` moves later."""

    def flush_soon(self) -> None:
        """Move `kept` soon, because the sender will have to wait for it."""

    def spool(self) -> AbstractContextManager[Original]:
        """
        Write the bytes of a file stream to a file, which exists inside the context. It blocks.

        Raises:
            StorageFailed: if the disk refuses.
        """

    async def touch(self) -> None:
        """Show other receivers on the same store that this one is at work on the stream."""

    async def seal(self) -> None:
        """Make safe all chunks that came. The connection is gone, and no more chunks come."""

    async def commit(self, eos: Eos, receipt: Receipting) -> Receipt:
        """
        End the stream: *receipt* makes its receipt from the digest of the kept chunks.

        Raises:
            BadChecksum: if *eos* has a digest, and the digests differ.
            Fenced: if a newer claim exists.
            WireError: as *receipt* raises; the stream is kept then.
        """

    async def discard(self) -> None:
        """Forget the audio, and remember that the sender gave the stream up."""

    async def forget(self) -> None:
        """Let this process forget the stream, because its sender has not come back."""


class Original(NamedTuple):
    """A file with the same bytes as the sender's."""

    path: Path
    digest: str
    sha256: str
