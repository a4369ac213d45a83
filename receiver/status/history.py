"""From the answers of replicas to rates and states: no I/O and no clock."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable
from dataclasses import dataclass
from math import inf, isfinite
from typing import Final

from .replicas import Answer

POINTS: Final = 30
"""Rates that are remembered of each replica, for its sparkline."""

UNNAMED: Final = "DNS does not name it any more"

FAILURES: Final = (
    "receiver_protocol_errors_total",
    "receiver_decode_errors_total",
    "receiver_processor_failures_total",
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Status:
    """One replica at one moment: a row of `receiver status`. Times and sizes are in base units."""

    replica: str
    address: str
    state: str
    """``ready``, ``draining``, ``full`` or ``gone``."""
    fault: str = ""
    """Why a replica that is gone does not answer."""
    version: str = ""
    streams: int = 0
    """Streams that have a connection."""
    stalled: int = 0
    """Of these, streams without a chunk for some time."""
    audio_rate: float = 0.0
    """Seconds of audio received per second."""
    bytes_rate: float = 0.0
    ack_age: float = 0.0
    """Age of the oldest unit without an acknowledgement."""
    behind: float = 0.0
    """Audio that the worst stream has waiting for the store and the processors."""
    buffered: float = 0.0
    """Share of the memory for audio that is in use."""
    store_free: float = inf
    """Bytes left in the store; infinite without one."""
    store_full_in: float = inf
    """Seconds until it is full, at the pace since the first look; infinite if it does not fill."""
    failures: int = 0
    """Faults of peers, of files and of processors since the replica began."""
    audio_rates: tuple[float, ...] = ()
    """The last rates of audio, the oldest first."""


class History:
    """The last answers of every replica that was seen. A replica is one process at one address."""

    def __init__(self) -> None:
        self._first: dict[str, Answer] = {}
        self._before: dict[str, Answer] = {}
        self._last: dict[str, Answer] = {}
        self._rates: dict[str, deque[float]] = {}

    def add(self, answers: Iterable[Answer]) -> list[Status]:
        """Return a row for each replica that was ever seen, in the order of their names."""
        faults: dict[str, str] = {}
        answered: set[str] = set()
        for answer in answers:
            if answer.fault:
                faults[answer.address] = answer.fault
            else:
                self._note(answer)
                answered.add(answer.address)
        here = {self._last[address].replica for address in answered}
        for address in self._last.keys() - answered:
            if self._last[address].replica in here:  # a new container has its name: a roll
                del self._last[address]
                faults.pop(address, None)
        rows = [
            self._row(address)
            if address in answered
            else _gone(last.replica, address, faults.pop(address, UNNAMED))
            for address, last in self._last.items()
        ]
        rows += [_gone(address, address, fault) for address, fault in faults.items()]
        return sorted(rows, key=lambda row: (row.replica, row.address))

    def _note(self, answer: Answer) -> None:
        address = answer.address
        before = self._last.get(address)
        if before is None or _process(before) != _process(answer):
            self._first[address] = before = answer
            self._rates[address] = deque(maxlen=POINTS)
        self._before[address], self._last[address] = before, answer
        rate = _rate("receiver_audio_seconds_total", before, answer)
        self._rates[address].append(rate)

    def _row(self, address: str) -> Status:
        first, before, last = self._first[address], self._before[address], self._last[address]
        value, rates = last.totals.get, self._rates[address]
        free, limit = value("receiver_store_free_bytes", inf), value("receiver_buffer_limit_bytes")
        filling = -_rate("receiver_store_free_bytes", first, last)
        return Status(
            replica=last.replica,
            address=address,
            state=_state(last, free),
            version=last.labels.get("version", ""),
            streams=int(value("receiver_active_streams", 0)),
            stalled=int(value("receiver_stalled_streams", 0)),
            audio_rate=rates[-1],
            bytes_rate=_rate("receiver_received_bytes_total", before, last),
            ack_age=value("receiver_unacknowledged_age_seconds", 0.0),
            behind=value("receiver_behind_seconds", 0.0),
            buffered=value("receiver_buffered_bytes", 0.0) / limit if limit else 0.0,
            store_free=free,
            store_full_in=free / filling if filling > 0 else inf,
            failures=int(sum(value(each, 0.0) for each in FAILURES)),
            audio_rates=tuple(rates),
        )


def _process(answer: Answer) -> tuple[str, float | None]:
    """Return what tells a process from a later one at the same address."""
    return answer.replica, answer.totals.get("process_start_time_seconds")


def _rate(metric: str, before: Answer, after: Answer) -> float:
    seconds = after.at - before.at
    change = after.totals.get(metric, 0.0) - before.totals.get(metric, 0.0)
    return change / seconds if seconds > 0 and isfinite(change) else 0.0


def _state(answer: Answer, free: float) -> str:
    if answer.totals.get("receiver_draining"):
        return "draining"
    return "full" if free <= 0 else "ready"


def _gone(replica: str, address: str, fault: str) -> Status:
    return Status(replica=replica, address=address, state="gone", fault=fault)
