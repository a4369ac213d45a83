"""Fixtures of the fault tests: a quiet log, lines for the reader, and a seed."""

import os
import random

import pytest
import structlog


@pytest.fixture(autouse=True)
def _quiet():
    """Have senders in the test's own process log warnings and errors, not every attempt."""
    structlog.configure(wrapper_class=structlog.make_filtering_bound_logger("warning"))
    yield
    structlog.reset_defaults()


@pytest.fixture(name="say")
def _say(request, capsys):
    """Print a line, also if the test passes."""

    def say(line):
        with capsys.disabled():
            print(f"\n  {request.node.name}: {line}", end=" ", flush=True)  # noqa: T201

    return say


@pytest.fixture(name="chance")
def _chance(say):
    """Return a random generator for a test's decisions; SEED=… repeats an earlier run."""
    seed = int(os.environ.get("SEED") or random.SystemRandom().randrange(10**6))
    say(f"SEED={seed}")
    return random.Random(seed)
