"""Tables for people's eyes: replicas with sparklines and colours, and connections."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from math import inf, isfinite
from typing import Any, Final

from rich.console import Console
from rich.filesize import decimal
from rich.table import Table
from rich.text import Text

from sonoduct.text import clean

from .history import Status

BARS: Final = "▁▂▃▄▅▆▇█"
ASCII_BARS: Final = "_.-=+*#@"
STATES: Final = {"ready": "green", "draining": "yellow", "full": "red", "gone": "bold red"}
SLOW_ACK_S: Final = 5.0
SOON_S: Final = 24 * 3600.0
NEARLY: Final = 0.8
MINUTE_S: Final = 60.0
HOUR_S: Final = 3600.0
FEW: Final = 100
"""Below so many of a unit, the next smaller one is not needed."""


def replicas_table(rows: Sequence[Status], console: Console) -> Table:
    """Return a table with a row for each replica, and their sum."""
    table = Table(box=None, pad_edge=False)
    table.add_column("replica", no_wrap=True)
    table.add_column("state")
    table.add_column("streams", justify="right")
    table.add_column("x real time", justify="right")
    table.add_column("", no_wrap=True)
    for heading in ("bytes/s", "ack age", "behind", "buffers", "store left", "full in", "failures"):
        table.add_column(heading, justify="right", no_wrap=True)
    bars = ASCII_BARS if console.options.ascii_only else BARS
    for row in rows:
        table.add_row(*_cells(row, bars))
    if len(rows) > 1:
        here = [row for row in rows if row.state != "gone"]
        table.add_row(
            Text(f"{len(here)} of {len(rows)}", style="bold"),
            "",
            str(sum(row.streams for row in here)),
            f"{sum(row.audio_rate for row in here):.1f}",
            "",
            f"{decimal(int(sum(row.bytes_rate for row in here)))}/s",
        )
    return table


def connections_table(connections: Iterable[Mapping[str, Any]]) -> Table:
    """Return a table with a row for each connection, those that are furthest behind first."""
    table = Table(box=None, pad_edge=False)
    table.add_column("name", overflow="ellipsis", no_wrap=True)
    for heading in ("sender", "peer", "replica", "format"):
        table.add_column(heading, no_wrap=True)
    for heading in ("seconds", "x real time", "bytes/s", "behind", "ack age", "idle"):
        table.add_column(heading, justify="right", no_wrap=True)
    for each in sorted(connections, key=_urgency, reverse=True):
        table.add_row(
            _clean(each["name"] or "-"),
            _clean(each["instance"][:8]),
            _clean(each["peer"]),
            _clean(each["replica"]),
            _clean(each["format"] or each["dialect"]),
            f"{each['received_s']:.1f}",
            f"{each['audio_rate']:.1f}",
            f"{decimal(int(each['bytes_rate']))}/s",
            _coloured(duration(each["behind_s"]), each["behind_s"] > SLOW_ACK_S),
            _coloured(duration(each["unacknowledged_s"]), each["unacknowledged_s"] > SLOW_ACK_S),
            duration(each["idle_s"]),
        )
    return table


def _urgency(connection: Mapping[str, Any]) -> tuple[float, float]:
    return max(connection["behind_s"], connection["unacknowledged_s"]), connection["idle_s"]


def _cells(row: Status, bars: str) -> list[str | Text]:
    state = Text(row.state, style=STATES[row.state])
    if row.state == "gone":
        return [_clean(row.replica), state, "", "", Text(clean(row.fault), style="red")]
    streams = str(row.streams) + (f" ({row.stalled} stalled)" if row.stalled else "")
    return [
        _clean(row.replica),
        state,
        _coloured(streams, row.stalled > 0),
        f"{row.audio_rate:.1f}",
        sparkline(row.audio_rates, bars),
        f"{decimal(int(row.bytes_rate))}/s",
        _coloured(duration(row.ack_age), row.ack_age > SLOW_ACK_S),
        _coloured(duration(row.behind), row.behind > SLOW_ACK_S),
        _coloured(f"{row.buffered:.0%}", row.buffered > NEARLY),
        "-" if row.store_free == inf else decimal(int(row.store_free)),
        "-"
        if row.store_full_in == inf
        else _coloured(duration(row.store_full_in), row.store_full_in < SOON_S),
        _coloured(str(row.failures), row.failures > 0),
    ]


def _clean(text: str) -> Text:
    """Return *text*, which a peer chose, so that a terminal can show it."""
    return Text(clean(text))


def _coloured(text: str, bad: bool) -> Text:
    return Text(text, style="red" if bad else "")


def sparkline(values: Sequence[float], bars: str = BARS) -> str:
    """Return a bar for each of *values*; the highest one has the highest bar."""
    most = max(values, default=0.0)
    if most <= 0:
        return bars[0] * len(values)
    return "".join(bars[round(max(0.0, value) / most * (len(bars) - 1))] for value in values)


def duration(seconds: float) -> str:
    """Return *seconds* in the unit that people would use."""
    if not isfinite(seconds):
        return "-"
    if seconds < FEW:
        return f"{seconds:.1f} s"
    if seconds < FEW * MINUTE_S:
        return f"{seconds / MINUTE_S:.0f} min"
    return f"{seconds / HOUR_S:.0f} h" if seconds < FEW * HOUR_S else f"{seconds / SOON_S:.0f} days"
