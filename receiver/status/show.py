"""The two commands: look, wait, look again, and print."""

from __future__ import annotations

import json
import math
import time
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict
from typing import Any

from rich.live import Live

from sonoduct.runtime.console import faults_console, results_console
from sonoduct.text import clean

from .history import History
from .replicas import Answer, ask, ask_connections, find, split_address
from .screen import connections_table, replicas_table


def show_status(names: Sequence[str], *, once: bool, interval: float, as_json: bool) -> int:
    """Show replicas until Ctrl-C, or once; return the exit code."""
    history, console = History(), results_console()
    history.add(_look(names))
    if once or as_json or not console.is_terminal:
        time.sleep(interval)
        rows = history.add(_look(names))
        if as_json:
            _print_json(asdict(row) for row in rows)
        else:
            console.print(replicas_table(rows, console))
        return 0 if rows and all(row.state != "gone" for row in rows) else 1
    with Live(console=console, auto_refresh=False) as live:
        while True:
            time.sleep(interval)
            live.update(replicas_table(history.add(_look(names)), console), refresh=True)


def show_streams(names: Sequence[str], *, interval: float, as_json: bool) -> int:
    """Print the connections once; return the exit code, 1 if a replica did not answer."""
    addresses, faults = [], []
    for name in names:
        try:
            addresses += find([split_address(name)])
        except OSError as exc:
            faults.append(str(exc))
    before, _ = ask_connections(addresses)
    began = time.monotonic()
    time.sleep(interval)
    after, silent = ask_connections(addresses)
    rows = with_rates(before, after, time.monotonic() - began)
    if as_json:
        _print_json(rows)
    else:
        results_console().print(connections_table(rows))
    for fault in (*faults, *silent):
        faults_console().print(f"receiver: {clean(fault)}", soft_wrap=True)
    return 1 if faults or silent else 0


def with_rates(
    before: Iterable[Mapping[str, Any]], after: Iterable[Mapping[str, Any]], seconds: float
) -> list[dict[str, Any]]:
    """Return the connections of *after*, with the rates since *before*, *seconds* ago."""
    earlier = {(each["replica"], each["peer"], each["stream"]): each for each in before}
    rows = []
    for each in after:
        past = earlier.get((each["replica"], each["peer"], each["stream"]))
        since = seconds if past else each["connected_s"]
        rates = {
            rate: (each[key] - (past[key] if past else 0)) / since if since > 0 else 0.0
            for rate, key in (("audio_rate", "received_s"), ("bytes_rate", "received_bytes"))
        }
        rows.append({**each, **rates})
    return rows


def _look(names: Sequence[str]) -> list[Answer]:
    """Ask all replicas; a name that DNS does not know is a replica that does not answer."""
    answers: list[Answer] = []
    for name in names:
        try:
            answers += ask(find([split_address(name)]))
        except OSError as exc:
            answers.append(Answer(name, time.monotonic(), fault=str(exc)))
    return answers


def _print_json(rows: Iterable[Mapping[str, Any]] | Iterable[dict[str, Any]]) -> None:
    for row in rows:
        finite = {
            key: None if isinstance(value, float) and not math.isfinite(value) else value
            for key, value in row.items()
        }
        print(json.dumps(finite))  # noqa: T201  # the command's answer
