"""Everything for people's eyes: progress bars, tables, and a report in lines of JSON."""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import PurePath
from typing import Final

import msgspec
from rich.console import Console
from rich.live import Live
from rich.progress_bar import ProgressBar
from rich.table import Table
from rich.text import Text

from sonoduct.text import clean
from sonoduct.wire import Kind, Phase, Receipt

from .sources.microphone import Device
from .transfer import Transfer

REFRESH_HZ: Final = 10
MIB: Final = 1024 * 1024
ROWS: Final = 20
"""Streams that are shown at once; the others are only counted."""

DIGEST_COLUMNS: Final = 32


class Progress:
    """Draws a row for each transfer; without *shown* it draws nothing."""

    def __init__(self, console: Console, *, shown: bool) -> None:
        self._console = console
        self._shown = shown
        self._rows: dict[Transfer, float] = {}  # since when

    @contextmanager
    def drawn(self) -> Iterator[None]:
        """Draw while the context is open; clear the rows at its end."""
        if not self._shown:
            yield
            return
        with Live(
            console=self._console,
            get_renderable=self._draw,
            refresh_per_second=REFRESH_HZ,
            transient=True,
        ):
            yield

    @contextmanager
    def row(self, transfer: Transfer) -> Iterator[None]:
        """Show *transfer* while the context is open."""
        self._rows[transfer] = time.monotonic()
        try:
            yield
        finally:
            del self._rows[transfer]

    def _draw(self) -> Table:
        table = Table(box=None, pad_edge=False, expand=True, show_header=False)
        table.add_column(ratio=2, no_wrap=True, overflow="ellipsis")
        table.add_column(ratio=2)
        for _ in range(3):
            table.add_column(justify="right", no_wrap=True)
        rows = list(self._rows.items())
        for transfer, since in rows[:ROWS]:
            table.add_row(*_progress_cells(transfer, time.monotonic() - since))
        if len(rows) > ROWS:
            table.add_row(f"and {len(rows) - ROWS} more")
        return table


def _progress_cells(transfer: Transfer, elapsed: float) -> tuple[str | Text | ProgressBar, ...]:
    source, outbound = transfer.source, transfer.outbound
    is_file = source.kind is Kind.FILE
    per, shown = (MIB, _mebibytes) if is_file else (source.pcm.samplerate, _clock)
    done = outbound.acknowledged / per
    total = source.units / per if source.units else None
    standing = f"{outbound.unacknowledged / 1024:.0f} KiB to ack"
    return (
        # The table has the folder; here is no room. In a plain string [brackets] would be markup.
        Text(clean(PurePath(source.name).name)),
        ProgressBar(total=total, completed=done, pulse=total is None),
        f"{shown(done)} / {shown(total) if total else '?'}",
        f"{done / elapsed:.1f} {'MiB/s' if is_file else 'x'}" if elapsed else "",
        "no connection" if outbound.phase is Phase.LOST else standing,
    )


def _mebibytes(done: float) -> str:
    return f"{done:.1f} MiB"


def _clock(seconds: float) -> str:
    return f"{int(seconds) // 60}:{int(seconds) % 60:02}"


@dataclass(frozen=True, kw_only=True)
class Outcome:
    """How one stream ended, or a path that became no stream."""

    name: str
    result: str
    """sent, known (the receiver had it already), failed or interrupted."""

    elapsed: float
    """Seconds."""

    stream: str = ""
    """Its id; empty for a path that became no stream."""

    instance: str = ""
    """This sending process, as the receiver knows it."""

    replica: str = ""
    """Name of the receiver of the last connection, if it says it."""

    peer: str = ""
    """Address of the last connection's other end."""

    receipt: Receipt | None = None
    error: str | None = None
    retry: bool = False
    """Whether trying again may help: the receiver, not the file, was the cause."""
    refused: bool = False
    """Whether a token or a certificate was refused, which a person has to mend."""
    unreadable: bool = False
    """Whether the operating system refused to read the file, for a reason that may pass."""
    sent_bytes: int = 0
    resent_bytes: int = 0
    reconnects: int = 0

    @property
    def good(self) -> bool:
        """Whether the whole stream has arrived."""
        return self.result in ("sent", "known")


def write_line(outcome: Outcome, write: Callable[[bytes], object]) -> None:
    """
    Write *outcome* as one line of JSON with *write*, which must not buffer, so that it can fail.

    Raises:
        OSError: if it cannot be written.
    """
    facts = {**asdict(outcome), "receipt": msgspec.to_builtins(outcome.receipt)}
    write(json.dumps(facts).encode() + b"\n")


def print_table(outcomes: Sequence[Outcome], console: Console) -> None:
    """Print a row for each outcome, with its digest, or its error if it failed."""
    table = Table(box=None, pad_edge=False)
    table.add_column("stream", overflow="fold")
    table.add_column("result")
    for heading in ("frames", "seconds", "x real time"):
        table.add_column(heading, justify="right")
    table.add_column("digest", overflow="fold", min_width=DIGEST_COLUMNS)
    for outcome in outcomes:
        table.add_row(*_outcome_cells(outcome))
    console.print(table)


def print_devices(devices: Sequence[Device], console: Console) -> None:
    """Print a row for each device; a star marks the default one."""
    table = Table(box=None, pad_edge=False)
    for heading in ("", "index", "channels", "samplerate", "name"):
        table.add_column(heading, overflow="fold")
    for each in devices:
        facts = (str(each.index), str(each.channels), str(each.samplerate), clean(each.name))
        table.add_row("*" if each.default else "", *facts)
    console.print(table)


def _outcome_cells(outcome: Outcome) -> list[str]:
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
