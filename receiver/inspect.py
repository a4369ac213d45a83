"""The commands ``receiver export`` and ``receiver verify``: looking into a store from outside."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from rich.progress import BarColumn, Progress, TaskProgressColumn, TextColumn, TimeElapsedColumn

from sonoduct.runtime.console import faults_console, results_console
from sonoduct.text import clean

from .stores.journal.export import export, find_journal
from .stores.journal.layout import Layout
from .stores.journal.verify import verify


def export_stream(layout: Layout, stream: str, output: Path | None) -> int:
    """
    Write the audio of *stream* to a file; return the exit code, 1 if some of it is damaged.

    Raises:
        StorageFailed: if there is no such stream, or the file cannot be written.
    """
    journal = find_journal(layout, stream)
    with _progress("written") as progress:
        task = progress.add_task(journal.stream, total=None)
        made = export(
            layout,
            journal,
            output,
            lambda done, total: progress.update(task, completed=done, total=total),
        )
    results_console().print(f"{made.path}: {made.length} {made.unit}", soft_wrap=True)
    if made.fault is not None:
        faults_console().print(f"it ends early: {clean(made.fault)}", soft_wrap=True)
    return int(made.fault is not None)


def verify_store(layout: Layout) -> int:
    """Check every journal and recording; print the faults, and return 1 if there are any."""
    results, faults = results_console(), faults_console()
    counts = {"open": 0, "complete": 0, "recording": 0}
    bad = frames = 0
    with _progress("checked") as progress:
        task = progress.add_task(str(layout.root), total=None)
        for finding in verify(layout):
            counts[finding.state] += 1
            frames += finding.frames
            progress.update(task, advance=1)
            if finding.fault is not None:
                bad += 1
                fault = clean(f"{finding.what}: {finding.fault}")
                faults.print(f"{finding.state} {fault}", soft_wrap=True)
    results.print(
        f"{counts['recording']} recordings, {counts['complete']} complete journals, "
        f"{counts['open']} open ones, {frames} frames: {bad} damaged",
        soft_wrap=True,
    )
    return int(bad > 0)


@contextmanager
def _progress(unit: str) -> Iterator[Progress]:
    """A bar on a terminal, and nothing anywhere else."""
    console = faults_console()
    columns = (
        TextColumn("{task.description}", markup=False),
        BarColumn(),
        TaskProgressColumn(show_speed=False),
        TextColumn(f"{{task.completed:.0f}} {unit}"),
        TimeElapsedColumn(),
    )
    with Progress(
        *columns, console=console, disable=not console.is_terminal, transient=True
    ) as shown:
        yield shown
