"""Sending streams to one receiver, one after another, over connections that may break."""

from __future__ import annotations

import asyncio
import random
import uuid
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import replace
from importlib.metadata import version
from pathlib import Path

import structlog
from prometheus_client import CollectorRegistry

from sonoduct.runtime.child import Cancellation
from sonoduct.runtime.logs import quiet_by_default
from sonoduct.wire import Hello, Phase, Receipt, WireError

from .errors import OddAnswerError, SourceEndsError, UnreachableError
from .ledger import Ledger
from .metrics import Metrics
from .opening import open_file
from .retry import RetryPolicy
from .settings import Settings
from .sources import Source
from .transfer import OnEvent, Transfer
from .websocket import Link, open_link

log = structlog.get_logger()


@asynccontextmanager
async def connect(
    url: str, settings: Settings | None = None, *, registry: CollectorRegistry | None = None
) -> AsyncIterator[Client]:
    """
    Yield a client for the receiver at *url*. It connects when it sends the first stream.

    Args:
        url: such as ``ws://localhost:8766``.
        settings: everything else; their `to` is not used.
        registry: for its metrics; a new one by default.
    """
    quiet_by_default()
    metrics = Metrics(registry or CollectorRegistry(), version("sonoduct"))
    client = Client(replace(settings or Settings(), to=url), metrics, uuid.uuid4().hex)
    try:
        yield client
    finally:
        await client.close()


class Client:
    """
    A client of one receiver. Streams follow one another on its connection, which it renews.

    *instance* names the sending process: a receiver lets the same one take a stream over at once.
    """

    def __init__(
        self, settings: Settings, metrics: Metrics, instance: str, ledger: Ledger | None = None
    ) -> None:
        self._settings = settings
        self._ledger = ledger
        self._metrics = metrics
        self._instance = instance
        self._link: Link | None = None
        self._turn = 0  # failed attempts to connect
        self._chance = random.Random()  # noqa: S311  # spreads load, keeps no secret
        self._reached = False
        """Whether a receiver has answered at this address before."""

    def __repr__(self) -> str:
        state = "no connection" if self._link is None else "connected"
        return f"<Client {self._instance[:4]}… to {self._settings.to}, {state}>"

    async def send(self, source: Source | str | Path, on_event: OnEvent | None = None) -> Receipt:
        """
        Send all of *source* and return the receipt. A path is opened here, and closed at the end.

        *on_event* gets the findings of the receiver's processors, as they come.

        Raises:
            SourceError: if the source cannot be read to its end.
            UnreachableError: if no receiver took it in time.
            NotAReceiverError: if the server is not a receiver.
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
            ended("sent" if transfer.outbound.chunks else "known")
            return receipt

    def transfer(self, source: Source) -> Transfer:
        """Return the transfer of *source*; `carry` runs it, and others may look at it meanwhile."""
        hello = Hello(
            stream=source.stream,
            instance=self._instance,
            kind=source.kind,
            name=source.name[-255:],
            format=source.format,
            units=source.units,
            ack=self._settings.level,
            batches=True,
        )
        return Transfer(source, hello, self._settings, self._metrics, self._ledger)

    async def carry(self, transfer: Transfer) -> Receipt:
        """Send as `send` does, for a transfer that exists already; metrics do not count its end."""
        self._metrics.active.add(transfer)
        try:
            receipt = await self._persist(transfer)
            await asyncio.to_thread(transfer.settle)
        except asyncio.CancelledError:
            if self._link is not None:  # the receiver keeps the stream open for the next run
                link, self._link = self._link, None
                await link.leave()
            raise
        else:
            return receipt
        finally:
            self._metrics.active.discard(transfer)
            if transfer.outbound.phase is not Phase.DONE:
                await self.close("the stream failed")  # no other stream can follow on it

    async def close(self, why: str = "done") -> None:
        """Close the connection, if there is one; *why* is for the log."""
        link, self._link = self._link, None
        if link is not None:
            await link.close(why)

    def _transfer(self, source: Source, on_event: OnEvent | None) -> Transfer:
        transfer = self.transfer(source)
        transfer.on_event = on_event or transfer.on_event
        return transfer

    async def _open(self, path: Path) -> Source:
        cancellation = Cancellation()
        try:
            return await asyncio.to_thread(open_file, path, self._settings, cancellation)
        except asyncio.CancelledError:
            cancellation.cancel()  # otherwise the thread continues
            raise

    async def _persist(self, transfer: Transfer) -> Receipt:
        """Run *transfer* again and again, until it has its receipt or the policy gives up."""
        now = asyncio.get_running_loop().time
        policy = RetryPolicy(transfer.outbound, self._settings, now(), self._chance)
        while True:
            try:
                link = self._link = self._link or await self._connect()
                self._reached = True
                return await transfer.run(link)
            except (OSError, WireError, SourceEndsError, OddAnswerError) as exc:
                why = str(exc)
                if await transfer.rename(exc):
                    policy = RetryPolicy(transfer.outbound, self._settings, now(), self._chance)
                    await self.close(why)
                    continue
                if isinstance(exc, SourceEndsError):
                    raise
                growing, policy.reached = transfer.source.growing, self._reached
                try:
                    delay, reason = policy.delay_after(
                        exc,
                        now(),
                        growing=growing,
                        working=transfer.working,
                        owed_s=transfer.unacknowledged_s,
                    )
                except UnreachableError:
                    self._reached = False  # the next stream need not wait so long
                    raise
                log.info("retrying", **transfer.facts, delay=round(delay, 2), why=why)
            self._metrics.reconnects.labels(reason).inc()
            transfer.lost()
            await self.close(why)
            await asyncio.sleep(delay)

    async def _connect(self) -> Link:
        turn, self._turn = self._turn, self._turn + 1
        within = min(self._settings.connect_timeout, self._settings.patience)
        access = self._settings.access
        link = await open_link(self._settings.to, within=within, turn=turn, access=access)
        self._turn = turn  # this address answers: begin with it the next time
        return link
