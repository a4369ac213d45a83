"""What is said about each stream at its end: a line of JSON, and a table for people."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Final, Protocol

import msgspec
from rich.console import Console
from rich.table import Table

from sonoduct.wire import Receipt

from .sources.microphone import Device

DIGEST_COLUMNS: Final = 32


@dataclass(frozen=True, kw_only=True)
class Outcome:
    """How one stream, or a path that became none, ended."""

    name: str
    result: str
    """sent, known (the receiver had it already), failed or interrupted."""

    elapsed: float
    """Seconds."""

    stream: str = ""
    """Its id; empty for a path that became none."""

    receipt: Receipt | None = None
    error: str | None = None
    retry: bool = False
    """Whether the same file may fare better later: the receiver, not the file, was the trouble."""
    unreadable: bool = False
    """Whether the operating system did not give the file, for a reason that may pass."""
    sent_bytes: int = 0
    resent_bytes: int = 0
    reconnects: int = 0

    @property
    def good(self) -> bool:
        """Whether all of it has arrived."""
        return self.result in ("sent", "known")


class Unbuffered(Protocol):
    """A file whose `write` leaves nothing for later, when nobody would hear of a failure."""

    def write(self, data: bytes, /) -> object:
        """Write *data*."""


def write_line(outcome: Outcome, file: Unbuffered) -> None:
    """
    Append *outcome* to *file*, which has no buffer, as one line of JSON.

    Raises:
        OSError: if it cannot be written.
    """
    facts = {**asdict(outcome), "receipt": msgspec.to_builtins(outcome.receipt)}
    file.write(json.dumps(facts).encode() + b"\n")


def print_table(outcomes: Sequence[Outcome], console: Console) -> None:
    """Print a row for each outcome; a failed one's error takes the place of its digest."""
    table = Table(box=None, pad_edge=False)
    table.add_column("stream", overflow="fold")
    table.add_column("result")
    for heading in ("frames", "seconds", "x real time"):
        table.add_column(heading, justify="right")
    table.add_column("digest", overflow="fold", min_width=DIGEST_COLUMNS)
    for outcome in outcomes:
        table.add_row(*_cells(outcome))
    console.print(table)


def print_devices(devices: Sequence[Device], console: Console) -> None:
    """Print a row for each device; the default one has a star."""
    table = Table(box=None, pad_edge=False)
    for heading in ("", "index", "channels", "samplerate", "name"):
        table.add_column(heading, overflow="fold")
    for each in devices:
        facts = (str(each.index), str(each.channels), str(each.samplerate), each.name)
        table.add_row("*" if each.default else "", *facts)
    console.print(table)


def _cells(outcome: Outcome) -> list[str]:
    receipt = outcome.receipt
    if receipt is None:
        return [outcome.name, outcome.result, "", "", "", outcome.error or ""]
    speed = receipt.seconds / outcome.elapsed if outcome.result == "sent" else 0.0
    return [
        outcome.name,
        outcome.result,
        str(receipt.frames),
        f"{receipt.seconds:.2f}",
        f"{speed:.0f}" if speed else "-",
        receipt.digest,
    ]
