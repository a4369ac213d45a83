"""
The contenders. Each has a name and two ends, in processes of their own.

`serve(folder)` is a context with a `pid` and a `url`. `send(pipe, url, sounds)` runs in another
process: it says that it is ready, waits for the start, sends, and answers with its results: at
least `seconds`, from its first byte to the receiver's last. `check(answer, sounds, folder)` raises
unless all of the audio is there, as far as the contender can tell.
"""

from dataclasses import dataclass
from typing import Any


class WrongAudioError(Exception):
    """The audio that arrived differs from the audio sent: the only failure of a benchmark."""


class AbsentError(Exception):
    """A contender's program is not on this machine."""


@dataclass(frozen=True)
class Contender:
    """See above."""

    name: str
    serve: Any
    send: Any
    check: Any


def require(what, seen, expected):
    """Raise unless *seen* equals *expected*."""
    if seen != expected:
        raise WrongAudioError(f"{what}: {seen}, expected {expected}")
