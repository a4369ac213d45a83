"""How much of the fault matrix is run, by which seed, and what it measured."""

import os
import random
import statistics

import pytest
import structlog

FULL = os.environ.get("FULL", "") not in ("", "0")
"""Every case, for hours, instead of a sample of them, for minutes."""


def either(quick, full):
    """*quick*, or *full* if everything is to be run."""
    return full if FULL else quick


@pytest.fixture(autouse=True)
def _quiet():
    """Have senders in the test's own process log what is wrong, not each of their attempts."""
    structlog.configure(wrapper_class=structlog.make_filtering_bound_logger("warning"))
    yield
    structlog.reset_defaults()


@pytest.fixture(name="say")
def _say(request, capsys):
    """Print a line that is seen although the test passes."""

    def say(line):
        with capsys.disabled():
            print(f"\n  {request.node.name}: {line}", end=" ", flush=True)  # noqa: T201

    return say


@pytest.fixture(name="chance")
def _chance(say):
    """The random decisions of a test; SEED=… makes them those of an earlier run."""
    seed = int(os.environ.get("SEED") or random.SystemRandom().randrange(10**6))
    say(f"SEED={seed}")
    return random.Random(seed)


def slowness(starting):
    """
    How much slower this machine is than one that starts a receiver in 0.8 s, at least 1.

    *starting* has the seconds that it took to start processes. All limits in seconds are for a
    machine that has nothing else to do; and the longer a receiver is away, the longer its senders
    wait between attempts.
    """
    return max(1, percentiles(starting)[1] / 0.8)


def percentiles(seconds):
    """What half of *seconds* stay below, what 95 and what 99 of 100 do."""
    if len(seconds) == 1:
        return seconds * 3
    cuts = statistics.quantiles(seconds, n=100, method="inclusive")
    return cuts[49], cuts[94], cuts[98]


def spread(seconds):
    """*seconds* in words."""
    half, most, nearly_all = percentiles(seconds)
    return (
        f"{len(seconds)} values, p50 {half:.2f} s, p95 {most:.2f} s, p99 {nearly_all:.2f} s, "
        f"max {max(seconds):.2f} s"
    )
