"""One source from opening to its outcome, success or failure; send and watch share it."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Final

import structlog

from sender.client import Client
from sender.dialects import SendStream
from sender.errors import (
    AccessError,
    NotAReceiverError,
    NoThreadError,
    SenderError,
    SourceError,
    UnreachableError,
)
from sender.metrics import Metrics
from sender.opening import OpenSource
from sender.settings import Settings
from sender.terminal import Outcome, Progress
from sender.transfer import Transfer
from sonoduct.text import clean
from sonoduct.wire import Forbidden, Receipt, Unauthorised, WireError

log = structlog.get_logger()

_MAY_PASS: Final = (
    *(UnreachableError, NotAReceiverError, NoThreadError, OSError),
    *(Unauthorised, Forbidden),
)
"""Errors that are not the source's fault."""


class Deliveries:
    """Delivers sources with the caller's clients, and records the outcome of each."""

    def __init__(
        self,
        settings: Settings,
        metrics: Metrics,
        progress: Progress,
        record: Callable[[Outcome], None],
        *,
        dialect: SendStream | None = None,
        again: bool = False,
    ) -> None:
        """
        Record outcomes with *record*, and show transfers on *progress*.

        *dialect* sends streams to a server of another kind; None for our own receivers. With
        *again*, the caller delivers a source again if the failure was not the source's fault.
        """
        self._settings = settings
        self._metrics = metrics
        self._progress = progress
        self._record = record
        self._dialect = dialect
        self._again = again

    async def deliver(self, client: Client, name: str, open_source: OpenSource) -> Outcome:
        """
        Open a source in a thread, send it with *client*, and return its outcome.

        Failures are outcomes, not exceptions, so that other sources continue. A source that will be
        tried again has not ended, and metrics do not count it.
        """
        attempt = _Attempt(name)
        try:
            await self._carry(client, attempt, open_source)
        except asyncio.CancelledError:
            self._end(attempt.outcome("interrupted"))
            raise
        except (SenderError, WireError, OSError) as exc:
            outcome = attempt.outcome("failed", exc)
        except RuntimeError as exc:
            outcome = attempt.outcome("failed", no_thread(exc))
        else:
            fresh = self._dialect or attempt.outcome("").sent_bytes
            outcome = attempt.outcome("sent" if fresh else "known")
        self._end(outcome)
        return outcome

    def fail(self, name: str, error: Exception) -> None:
        """Record that *name* could not become a source, because of *error*."""
        self._end(_Attempt(name).outcome("failed", error))

    async def _carry(self, client: Client, attempt: _Attempt, open_source: OpenSource) -> None:
        source = await asyncio.to_thread(open_source)
        try:
            if self._dialect is not None:
                log.info("stream_started", name=source.name, stream=source.stream)
                attempt.receipt = await self._dialect(source, self._settings, self._metrics)
                return
            attempt.transfer = client.transfer(source)
            log.info("stream_started", **attempt.transfer.facts)
            with self._progress.row(attempt.transfer):
                attempt.receipt = await client.carry(attempt.transfer)
        finally:
            source.close()

    def _end(self, outcome: Outcome) -> None:
        """Count, log and record *outcome*; a reader of the log finds it counted."""
        if not (self._again and (outcome.retry or outcome.unreadable)):
            self._metrics.end(outcome.result)
        facts: dict[str, object] = {"name": outcome.name, "result": outcome.result}
        for key in ("stream", "instance", "replica", "peer"):
            if value := getattr(outcome, key):
                facts[key] = value
        if outcome.reconnects:
            facts["reconnects"] = outcome.reconnects
        if (receipt := outcome.receipt) is not None:
            facts |= {"frames": receipt.frames, "seconds": round(receipt.seconds, 3)}
            facts["digest"] = receipt.digest
        facts["elapsed"] = round(outcome.elapsed, 3)
        if outcome.good:
            log.info("stream_ended", **facts)
        else:
            log.error("stream_ended", **facts, error=outcome.error)
        self._record(outcome)


@dataclass
class _Attempt:
    """All that is known of a source so far, for its outcome."""

    name: str
    started: float = field(default_factory=time.monotonic)
    transfer: Transfer | None = None
    receipt: Receipt | None = None

    def outcome(self, result: str, error: Exception | None = None) -> Outcome:
        outbound = self.transfer.outbound if self.transfer else None
        via = self.transfer.via if self.transfer else {}
        return Outcome(
            name=clean(self.name),
            result=result,
            stream=outbound.hello.stream if outbound else "",
            instance=outbound.hello.instance if outbound else "",
            replica=via.get("replica", ""),
            peer=via.get("peer", ""),
            elapsed=time.monotonic() - self.started,
            receipt=self.receipt,
            error=None if error is None else clean(error) or type(error).__name__,
            retry=isinstance(error, _MAY_PASS),
            unreadable=isinstance(error, SourceError) and isinstance(error.__cause__, OSError),
            refused=isinstance(error, AccessError | Unauthorised | Forbidden),
            sent_bytes=outbound.sent_bytes if outbound else 0,
            resent_bytes=outbound.resent_bytes if outbound else 0,
            reconnects=self.transfer.reconnects if self.transfer else 0,
        )


def no_thread(error: RuntimeError) -> NoThreadError:
    """Return a NoThreadError if *error* is about starting a thread; otherwise raise *error*."""
    if "thread" not in str(error):  # threading.Thread.start has no class of its own for it
        raise error
    return NoThreadError(str(error))
