"""Consoles that print what commands say as it is: a file's name may look like markup, or emoji."""

from __future__ import annotations

from typing import Final

from rich.console import Console

PIPED_COLUMNS: Final = 10_000
"""Width where no terminal folds a table: wider than any row, so a row is a line."""


def results_console() -> Console:
    """Return a console for standard output; only a terminal folds what it prints."""
    console = Console(highlight=False, markup=False, emoji=False)
    if not console.is_terminal:
        console.width = PIPED_COLUMNS
    return console


def faults_console(*, force_terminal: bool | None = None) -> Console:
    """Return a console for standard error."""
    return Console(
        stderr=True, force_terminal=force_terminal, highlight=False, markup=False, emoji=False
    )
