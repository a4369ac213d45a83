"""Where the chunks of a stream are kept: the interface that every store has."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from contextlib import AbstractContextManager
from dataclasses import dataclass
from math import inf
from pathlib import Path
from typing import NamedTuple, Protocol

from sonoduct.wire import Chunk, Eos, Hello, Level, Receipt, WireError
from sonoduct.wire.records import Origin

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

    counted_at: float
    """When `stored_bytes` were counted, by the steady clock."""

    def stored_bytes(self, token: str) -> tuple[int, int]:
        """Return the bytes of the recordings, and of the journals, of *token*'s streams."""

    def usage(self) -> Usage:
        """Return what the store holds and has done, for metrics; called by any thread."""

    async def run(self) -> None:
        """Tidy up behind streams, for as long as the receiver runs."""

    def close(self) -> None:
        """Finish the work under way; no stream is claimed after this."""

    async def claim(
        self,
        hello: Hello,
        on_kept: Callable[[], None],
        on_failed: Callable[[WireError], None],
        origin: Origin | None = None,
    ) -> Claim:
        """
        Give the stream to the connection that said *hello*, and came in at *origin*.

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


@dataclass(frozen=True, slots=True, kw_only=True)
class Usage:
    """What a store holds, and what this process has done in it."""

    total_bytes: float = inf
    """Bytes of audio for which there would be room in the empty store."""
    free_bytes: float = inf
    total_inodes: float = inf
    free_inodes: float = inf
    recordings: int = 0
    recordings_bytes: int = 0
    """Recordings and their bytes on the disk, as measured a short while ago."""
    journals: int = 0
    journals_bytes: int = 0
    """Journals of streams that are open or wait for their recording, and their bytes."""
    written: int = 0
    written_bytes: int = 0
    """Recordings that this process has written."""
    failed: int = 0
    """Attempts of this process at a recording that failed."""
    waiting: int = 0
    """Complete streams of this process that have no recording yet."""
    oldest_s: float = 0.0
    """Seconds for which the oldest of them has waited."""


class Original(NamedTuple):
    """A file with the same bytes as the sender's."""

    path: Path
    digest: str
    sha256: str
