"""The extent of the fault tests, and the seconds that they measure."""

import os
import statistics

FULL = os.environ.get("FULL", "") not in ("", "0")
"""Run every case, for hours. Without it, a sample of the cases runs for minutes."""


def either(quick, full):
    """Return *quick*, or *full* if every case runs."""
    return full if FULL else quick


def slowness(starting):
    """
    Return how much slower this machine is than one that starts a receiver in 0.8 s, at least 1.

    *starting* has the seconds that the starts of processes took. The limits in seconds are for a
    machine that does nothing else. The longer a receiver is away, the longer its senders wait
    between attempts.
    """
    return max(1, percentiles(starting)[1] / 0.8)


def percentiles(seconds):
    """Return the 50th, the 95th and the 99th percentile of *seconds*."""
    if len(seconds) == 1:
        return seconds * 3
    cuts = statistics.quantiles(seconds, n=100, method="inclusive")
    return cuts[49], cuts[94], cuts[98]


def spread(seconds):
    """Return the distribution of *seconds* in words."""
    half, most, nearly_all = percentiles(seconds)
    return (
        f"{len(seconds)} values, p50 {half:.2f} s, p95 {most:.2f} s, p99 {nearly_all:.2f} s, "
        f"max {max(seconds):.2f} s"
    )
