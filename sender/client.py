"""Sending streams to one receiver, one after another, through whatever happens on the way."""

from __future__ import annotations

import asyncio
import uuid
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import replace
from importlib.metadata import version
from pathlib import Path

import structlog
from prometheus_client import CollectorRegistry

from sonoduct.runtime.child import Cancellation
from sonoduct.wire import Hello, Kind, Phase, Receipt, WireError

from .errors import OddAnswerError, SourceEndsError, UnreachableError
from .ledger import Ledger
from .metrics import Metrics
from .opening import open_file
from .retry import Persistence
from .settings import Settings
from .sources.whole import Sendable
from .transfer import OnEvent, Transfer
from .websocket import Link, open_link

log = structlog.get_logger()


class Client:
    """
    One receiver's client: a connection that streams follow one another on, renewed when needed.

    *instance* names the sending process: the same one may take its streams over at once.
    """

    def __init__(
        self, settings: Settings, metrics: Metrics, instance: str, ledger: Ledger | None = None
    ) -> None:
        self._settings = settings
        self._ledger = ledger
        self._metrics = metrics
        self._instance = instance
        self._link: Link | None = None
        self._turn = 0  # attempts to connect that failed
        self._reached = False
        """Whether a receiver has answered at this address before."""

    def transfer(self, source: Sendable) -> Transfer:
        """Return the transfer of *source*, to look at while `carry` carries it."""
        hello = Hello(
            stream=source.stream,
            instance=self._instance,
            kind=Kind.FILE if source.format is None else Kind.PCM,
            name=source.name[-255:],
            format=source.format,
            units=source.units,
            ack=self._settings.level,
        )
        return Transfer(source, hello, self._settings, self._metrics, self._ledger)

    async def send(self, source: Sendable | str | Path, on_event: OnEvent | None = None) -> Receipt:
        """
        Send all of *source* and return the receipt; a path is opened, and closed at the end.

        *on_event* gets what the receiver's processors find, as it comes.

        Raises:
            SourceError: if the source cannot be read to its end.
            UnreachableError: if no receiver took it in time.
            NotAReceiverError: if something else answers.
            WireError: if the receiver refuses the stream.
        """
        with self._metrics.stream() as ended:
            if isinstance(source, str | Path):
                opened = await self._open(Path(source))
                try:
                    transfer = self._transfer(opened, on_event)
                    receipt = await self.carry(transfer)
                finally:
                    await asyncio.to_thread(opened.close)
            else:
                transfer = self._transfer(source, on_event)
                receipt = await self.carry(transfer)
            ended("sent" if transfer.outbound.chunks else "known", receipt)
            return receipt

    async def carry(self, transfer: Transfer) -> Receipt:
        """As `send`, for a transfer that was made before, and without counting how it ends."""
        self._metrics.active.add(transfer)
        try:
            receipt = await self._persist(transfer)
            await asyncio.to_thread(transfer.settle)
        except asyncio.CancelledError:
            if self._link is not None:  # the stream stays, for the next time
                link, self._link = self._link, None
                await link.leave()
            raise
        else:
            return receipt
        finally:
            self._metrics.active.discard(transfer)
            if transfer.outbound.phase is not Phase.DONE:
                await self.close()  # nothing else can follow on this connection

    def _transfer(self, source: Sendable, on_event: OnEvent | None) -> Transfer:
        transfer = self.transfer(source)
        transfer.on_event = on_event or transfer.on_event
        return transfer

    async def close(self, code: int = 1000, reason: str = "") -> None:
        """Close the connection, if there is one."""
        link, self._link = self._link, None
        if link is not None:
            await link.close(code, reason)

    async def _open(self, path: Path) -> Sendable:
        cancellation = Cancellation()
        try:
            return await asyncio.to_thread(open_file, path, self._settings, cancellation)
        except asyncio.CancelledError:
            cancellation.cancel()  # its thread goes on otherwise
            raise

    async def _persist(self, transfer: Transfer) -> Receipt:
        now = asyncio.get_running_loop().time
        persistence = Persistence(transfer.outbound, self._settings, now())
        while True:
            try:
                link = self._link = self._link or await self._connect()
                self._reached = True
                return await transfer.run(link)
            except (OSError, WireError, SourceEndsError, OddAnswerError) as exc:
                if await transfer.rename(exc):
                    persistence = Persistence(transfer.outbound, self._settings, now())
                    await self.close()
                    continue
                if isinstance(exc, SourceEndsError):
                    raise
                growing, persistence.reached = transfer.source.growing, self._reached
                try:
                    wait, reason = persistence.judge(exc, now(), growing=growing)
                except UnreachableError:
                    self._reached = False  # the next stream need not wait for so long
                    raise
                log.info("retrying", **transfer.facts, seconds=round(wait, 2), why=str(exc))
            self._metrics.reconnects.labels(reason).inc()
            transfer.lost()
            await self.close()
            await asyncio.sleep(wait)

    async def _connect(self) -> Link:
        turn, self._turn = self._turn, self._turn + 1
        link = await open_link(self._settings.to, within=self._settings.connect_timeout, turn=turn)
        self._turn = turn  # this address answers
        return link


@asynccontextmanager
async def connect(
    url: str, settings: Settings | None = None, *, registry: CollectorRegistry | None = None
) -> AsyncIterator[Client]:
    """
    Yield a client for the receiver at *url*, which it connects to when there is something to send.

    Args:
        url: such as ``ws://localhost:8766``.
        settings: everything else; their `to` is not used.
        registry: where its metrics go; its own by default.
    """
    metrics = Metrics(registry or CollectorRegistry(), version("sonoduct"))
    client = Client(replace(settings or Settings(), to=url), metrics, uuid.uuid4().hex)
    try:
        yield client
    finally:
        await client.close()
