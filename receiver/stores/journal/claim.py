"""
One connection's claim on a journal, on the event loop; threads do its writing.

Chunks wait in the claim until the committer takes them. Once they are durable, `kept` moves and the
claim's holder hears of it.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from contextlib import AbstractContextManager, suppress
from typing import TYPE_CHECKING, TypeVar

import structlog
from typing_extensions import override

from receiver.stores import Claim, Original, Receipting
from sonoduct.wire import (
    BadChecksum,
    Chunk,
    Digest,
    Eos,
    Fenced,
    Hello,
    Kind,
    Level,
    Receipt,
    StorageFailed,
    TooLarge,
    WireError,
)

from .committer import RETRY_S, Share
from .disk import DiskFull
from .fence import Granted
from .journal import Journal
from .original import assembled, digest_of
from .writer import End, Entry, Writer, ending

if TYPE_CHECKING:
    from .store import JournalStore

T = TypeVar("T")

log = structlog.get_logger()


class JournalClaim(Claim):
    """A claim on a stream whose journal is on disk."""

    def __init__(
        self,
        store: JournalStore,
        journal: Journal,
        hello: Hello,
        granted: Granted,
        begins: Callable[[], Writer],
        on_kept: Callable[[], None],
        on_failed: Callable[[WireError], None],
    ) -> None:
        """If *granted* has no writer, *begins* makes it for the first entry; it blocks."""
        self.epoch = granted.epoch
        self.offset = self.kept = granted.offset
        self.receipt = granted.receipt
        self._store = store
        self._journal = journal
        self._hello = hello
        self._unit_bytes = hello.unit_bytes
        self._writer = granted.writer
        self._begins = begins
        self._beginning: asyncio.Future[Writer] | None = None
        self._on_kept = on_kept
        self._on_failed = on_failed
        self._digest = None if granted.offset else Digest()
        self._waiting: list[Entry] = []
        self._under_way = False
        self._sealed = self._complete = False
        self._failure: WireError | None = None
        self._moved = asyncio.Event()
        self._sealing = asyncio.Lock()

    def __repr__(self) -> str:
        states = {"sealed": self._sealed, "complete": self._complete, "failed": self._failure}
        ended = "".join(f", {state}" for state, reached in states.items() if reached)
        return (
            f"<JournalClaim {self._hello.stream} epoch {self.epoch}, {self.kept} kept, "
            f"{len(self._waiting)} entries wait{ended}>"
        )

    @override
    def append(self, chunk: Chunk) -> None:
        size = (chunk.offset + chunk.units) * self._unit_bytes
        if size > self._store.stream_bytes:
            raise TooLarge("stream bytes", seen=size, expected=f"<= {self._store.stream_bytes}")
        if self._digest is not None:  # here, where the chunk is at hand; some 10 µs for 256 KiB
            self._digest.update(chunk.offset, chunk.units, chunk.canonical)
        if self._writer is None:
            self._enter(chunk)
        else:  # as `_enter` does, without a call for each chunk
            self._waiting.append(chunk)
            self._store.committer.add(self, len(chunk.message))

    @override
    def flush_soon(self) -> None:
        self._store.committer.flush_soon()

    @override
    def spool(self) -> AbstractContextManager[Original]:
        return assembled(self._store.layout, self._journal)

    @override
    async def touch(self) -> None:
        if self._writer is not None:
            await self._in_thread(self._writer.touch)

    @override
    async def seal(self) -> None:
        async with self._sealing:
            again, self._sealed = self._sealed, True
            if self._store.committer.full and not self._patient:
                self._waiting.clear()
            with suppress(WireError):  # the next claim reads the journal
                await self._settled()
                if self._writer is not None:
                    await self._in_thread(self._writer.seal)
            await self._begun()
            if self._writer is not None:
                self._writer.close()
            if not again:
                stream, kept = self._hello.stream, self.kept
                log.debug("claim_sealed", stream=stream, epoch=self.epoch, kept=kept)

    @override
    async def commit(self, eos: Eos, receipt: Receipting) -> Receipt:
        if self._digest is None or self._hello.kind is Kind.FILE:
            await self._settled()  # then the journal is read
        found = (await self._summed()).hexdigest()
        try:
            if eos.digest and found != eos.digest:
                raise BadChecksum("digest of the stream", seen=eos.digest, expected=found)
            made = await receipt(found)
        except WireError:
            await self.seal()
            raise
        if self._failure is None:
            end = ending(self.epoch, made)
            self._enter(end)  # so it is durable together with the last chunks
        await self._settled()
        if not self._complete:  # it was sealed while the disk was full
            raise Fenced("the claim has ended")
        self._held_writer().close()
        self._store.recordings.add(self._journal)
        return made

    @override
    async def discard(self) -> None:
        self._waiting.clear()
        await self.seal()
        if isinstance(self._failure, Fenced):
            raise self._failure
        if self._writer is not None:  # otherwise there is nothing to remember
            await self._in_thread(lambda: self._store.janitor.cancel(self._journal, self.epoch))

    @override
    async def forget(self) -> None:
        pass  # the journal stays until it expires

    def _enter(self, entry: Entry) -> None:
        """Let *entry* wait for the committer; the first one has the stream begun on the disk."""
        self._waiting.append(entry)
        if self._writer is not None:
            self._store.committer.add(self, len(entry.message))
        elif self._beginning is None and self._failure is None:
            self._start()

    def _start(self) -> None:
        self._beginning = self._store.begin(self._begins)
        self._beginning.add_done_callback(self._has_begun)

    def _has_begun(self, beginning: asyncio.Future[Writer]) -> None:
        if beginning.cancelled():
            return
        fault = beginning.exception()
        if fault is None:
            self._writer = beginning.result()
            if size := sum(len(each.message) for each in self._waiting):
                self._store.committer.add(self, size)
        elif isinstance(fault, DiskFull) and self._patient:
            asyncio.get_running_loop().call_later(RETRY_S, self._start)
            return
        else:
            if not isinstance(fault, WireError) or isinstance(fault, DiskFull):
                fault = StorageFailed(f"journal: {fault!r}")
            self.refused([], fault)
        self._moved.set()

    async def _begun(self) -> None:
        """Wait until the disk has begun the stream, or refused to, if that is under way."""
        if self._beginning is not None:
            await asyncio.wait([self._beginning])

    def take(self) -> Share:
        """Return everything that waits to be committed (called by the committer)."""
        entries, self._waiting = self._waiting, []
        self._under_way = True
        return Share(self._held_writer(), entries)

    def committed(self, entries: list[Entry]) -> None:
        """Note that *entries* are durable (called by the committer)."""
        self._under_way = False
        if entries:
            self.kept = entries[-1].end
            self._complete = isinstance(entries[-1], End)
        self._moved.set()
        self._on_kept()

    def refused(self, entries: list[Entry], error: WireError) -> None:
        """Note that *entries* are not durable; while the disk is full, offer them again."""
        self._under_way = False
        self._moved.set()
        if isinstance(error, DiskFull) and self._patient:
            self._waiting[:0] = entries
            self._store.committer.add(self, 0)
        elif self._failure is None:
            self._failure = error
            self._waiting.clear()  # the chunks behind the failed ones would leave a gap
            if not self._sealed:  # once it is sealed, the stream may have another connection
                self._on_failed(error)

    @property
    def _patient(self) -> bool:
        """
        Whether to wait while the disk is full.

        Once the connection is gone there is no need to wait: its sender keeps all audio that was
        not acknowledged, and so all that is not durable. But if it asked for acks that only promise
        that audio was received, it has dropped that audio.
        """
        return not self._sealed or self._hello.ack is Level.RECEIVED

    async def _summed(self) -> Digest:
        if self._digest is not None:
            return self._digest
        # A part came under another claim. The journal may be removed while it is read.
        digest = await self._in_thread(lambda: digest_of(self._journal))
        await self._in_thread(self._held_writer().require_latest)
        return digest

    async def _settled(self) -> None:
        """
        Wait until everything that came is durable.

        Raises:
            WireError: if it never will be.
        """
        await self._begun()
        while (self._waiting or self._under_way) and self._failure is None:
            self._moved.clear()
            self._store.committer.flush_soon()
            await self._moved.wait()
        if self._failure is not None:
            raise self._failure

    def _held_writer(self) -> Writer:
        assert self._writer is not None  # a complete stream is never leased to a connection
        return self._writer

    async def _in_thread(self, call: Callable[[], T]) -> T:
        return await asyncio.get_running_loop().run_in_executor(self._store.executor, call)
