"""Progress bars on a terminal: one for each stream, read from where the stream stands."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import PurePath
from typing import Final

from rich.console import Console
from rich.live import Live
from rich.progress_bar import ProgressBar
from rich.table import Table
from rich.text import Text

from sonoduct.wire import Phase

from .transfer import Transfer

REFRESH_HZ: Final = 10
MIB: Final = 1024 * 1024
ROWS: Final = 20
"""Streams shown at once; the rest is counted."""


class Board:
    """Draws the transfers that are on it; hidden, it draws nothing."""

    def __init__(self, console: Console, *, shown: bool) -> None:
        self._console = console
        self._shown = shown
        self._rows: dict[Transfer, float] = {}  # since when

    @contextmanager
    def drawn(self) -> Iterator[None]:
        """Draw while the context is open, and leave nothing behind."""
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
            table.add_row(*_cells(transfer, time.monotonic() - since))
        if len(rows) > ROWS:
            table.add_row(f"and {len(rows) - ROWS} more")
        return table


def _cells(transfer: Transfer, elapsed: float) -> tuple[str | Text | ProgressBar, ...]:
    source, outbound = transfer.source, transfer.outbound
    form = source.format
    per, shown = (MIB, _mebibytes) if form is None else (form.samplerate, _clock)
    done = outbound.acknowledged / per
    total = source.units / per if source.units else None
    standing = f"{outbound.unacknowledged / 1024:.0f} KiB to ack"
    return (
        # The folder is in the table, here there is no room; a string's [brackets] would be markup.
        Text(PurePath(source.name).name),
        ProgressBar(total=total, completed=done, pulse=total is None),
        f"{shown(done)} / {shown(total) if total else '?'}",
        f"{done / elapsed:.1f} {'MiB/s' if form is None else 'x'}" if elapsed else "",
        "no connection" if outbound.phase is Phase.LOST else standing,
    )


def _mebibytes(done: float) -> str:
    return f"{done:.1f} MiB"


def _clock(seconds: float) -> str:
    return f"{int(seconds) // 60}:{int(seconds) % 60:02}"
