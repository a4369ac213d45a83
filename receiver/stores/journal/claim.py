"""One connection's claim on a journal, on the event loop; its writing happens in threads."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from concurrent.futures import Executor
from contextlib import AbstractContextManager
from typing import Protocol, TypeVar

from receiver.stores import Listener, Original, Receipting
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
    TooLarge,
    WireError,
)

from .committer import Committer, Work
from .disk import DiskFull
from .fence import Granted
from .writer import End, Entry, Writer, ending


class Home(Protocol):
    """The store that a claim belongs to."""

    committer: Committer
    stream_bytes: int

    @property
    def executor(self) -> Executor:
        """Where what blocks is done."""

    def recompute(self, hello: Hello) -> Digest:
        """Return the digest of what the journal holds; blocks."""

    def spool(self, hello: Hello) -> AbstractContextManager[Original]:
        """See Claim."""

    def completed(self, hello: Hello) -> None:
        """The stream has its receipt: a recording can be made of it."""

    def cancelled(self, hello: Hello, epoch: int) -> None:
        """The stream was given up: remove it; blocks."""


T = TypeVar("T")


class JournalClaim:
    """See receiver.stores.Claim."""

    def __init__(self, hello: Hello, granted: Granted, home: Home, listener: Listener) -> None:
        self.epoch = granted.epoch
        self.offset = self.kept = granted.offset
        self.receipt = granted.receipt
        self._hello = hello
        self._home = home
        self._listener = listener
        self._writer = granted.writer
        self._digest = None if granted.offset else Digest()
        self._waiting: list[Entry] = []
        self._under_way = False
        self._sealed = self._complete = False
        self._failure: WireError | None = None
        self._moved = asyncio.Event()
        self._sealing = asyncio.Lock()

    def append(self, chunk: Chunk) -> None:
        """See Claim."""
        size = chunk.end * self._hello.unit_bytes
        if size > self._home.stream_bytes:
            raise TooLarge("stream bytes", seen=size, expected=f"<= {self._home.stream_bytes}")
        if self._digest is not None:  # here, where the chunk is at hand; some 10 µs for 256 KiB
            self._digest.update(chunk.offset, chunk.units, chunk.canonical)
        self._add(chunk)

    def hurry(self) -> None:
        """See Claim."""
        self._home.committer.hurry()

    async def seal(self) -> None:
        """See Claim."""
        async with self._sealing:
            self._sealed = True
            if self._home.committer.full and not self._patient:
                self._waiting.clear()
            try:
                await self._settled()
                await self._in_thread(self._held_writer().close)
            except WireError:
                pass  # the next claim reads what there is
            finally:
                self._held_writer().drop()

    def spool(self) -> AbstractContextManager[Original]:
        """See Claim."""
        return self._home.spool(self._hello)

    async def sign(self) -> None:
        """See Claim."""
        await self._in_thread(self._held_writer().sign)

    async def commit(self, eos: Eos, receipt: Receipting) -> Receipt:
        """See Claim."""
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
            self._add(ending(self.epoch, made))  # so it is durable with what waits before it
        await self._settled()
        if not self._complete:  # it was sealed while the disk was full
            raise Fenced("the claim has ended")
        self._held_writer().drop()
        self._home.completed(self._hello)
        return made

    async def discard(self) -> None:
        """See Claim."""
        self._waiting.clear()
        await self.seal()
        await self._in_thread(lambda: self._home.cancelled(self._hello, self.epoch))

    async def forget(self) -> None:
        """See Claim: the journal stays until it expires."""

    def take(self) -> Work:
        """See Client."""
        entries, self._waiting = self._waiting, []
        self._under_way = True
        return self._held_writer(), entries

    def committed(self, entries: list[Entry]) -> None:
        """See Client."""
        self._under_way = False
        if entries:
            self.kept = entries[-1].end
            self._complete = isinstance(entries[-1], End)
        self._moved.set()
        self._listener.advanced()

    def refused(self, entries: list[Entry], error: WireError) -> None:
        """See Client."""
        self._under_way = False
        self._moved.set()
        if isinstance(error, DiskFull) and self._patient:
            self._waiting[:0] = entries
            self._home.committer.add(self, 0)
        elif self._failure is None:
            self._failure = error
            self._waiting.clear()  # what follows would leave a gap
            if not self._sealed:  # or else the listener stands for the next connection
                self._listener.failed(error)

    @property
    def _patient(self) -> bool:
        """
        Whether to wait while the disk is full.

        Once the connection is gone its sender has what it got no ack for, so it still has what is
        not durable, unless it asked for acks that promise less.
        """
        return not self._sealed or self._hello.ack is Level.RECEIVED

    def _add(self, entry: Entry) -> None:
        self._waiting.append(entry)
        self._home.committer.add(self, len(entry.message))

    async def _summed(self) -> Digest:
        if self._digest is not None:
            return self._digest
        # Some of it came under another claim. It may be removed while it is summed.
        digest = await self._in_thread(lambda: self._home.recompute(self._hello))
        await self._in_thread(self._held_writer().require_latest)
        return digest

    async def _settled(self) -> None:
        """
        Wait until everything that came is durable.

        Raises:
            WireError: if it never will be.
        """
        while (self._waiting or self._under_way) and self._failure is None:
            self._moved.clear()
            self._home.committer.hurry()
            await self._moved.wait()
        if self._failure is not None:
            raise self._failure

    def _held_writer(self) -> Writer:
        assert self._writer is not None  # a complete stream is never leased to a connection
        return self._writer

    async def _in_thread(self, call: Callable[[], T]) -> T:
        return await asyncio.get_running_loop().run_in_executor(self._home.executor, call)
