"""Consoles that print text unchanged, even if a file's name looks like markup or emoji."""

from __future__ import annotations

from typing import Final

from rich.console import Console

PIPED_COLUMNS: Final = 10_000
"""Width without a terminal: wider than any row, so that a row is one line."""


def results_console() -> Console:
    """Return a console for standard output; it folds rows only on a terminal."""
    console = Console(highlight=False, markup=False, emoji=False)
    if not console.is_terminal:
        console.width = PIPED_COLUMNS
    return console


def faults_console(*, force_terminal: bool | None = None) -> Console:
    """Return a console for standard error."""
    return Console(
        stderr=True, force_terminal=force_terminal, highlight=False, markup=False, emoji=False
    )
