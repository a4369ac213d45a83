"""Why a chunk was late: how long an event loop was away, and what else the machine did."""

import asyncio
import os
import time
from pathlib import Path

import numpy as np

TICK_S = 0.01
"""How often a loop says that it is there."""

TICKS_PER_S = os.sysconf("SC_CLK_TCK")
BUSY, STEAL = (0, 1, 2, 5, 6), 7
"""Columns of /proc/stat: proc_stat(5)."""


class Lag:
    """How much later than asked the running loop calls."""

    def __init__(self):
        self.seen = []
        """When a call was due, and how much later it came, in seconds."""
        self._loop = asyncio.get_running_loop()
        self._due = self._loop.time()
        self._call()

    def _call(self):
        now = self._loop.time()
        self.seen.append((self._due, now - self._due))
        self._due = now + TICK_S
        self._loop.call_at(self._due, self._call)


def longest(seen, begin, end):
    """Return the largest lag between two times, in ms."""
    seen = np.array(seen)
    within = (seen[:, 0] > begin) & (seen[:, 0] < end)
    return float(seen[within, 1].max()) * 1000


class Machine:
    """What the machine does from now on, besides two processes."""

    def __init__(self):
        self._began, self._before = time.monotonic(), _cpu_seconds()
        self._stalled = _stalled_seconds()

    def others(self, spent):
        """Return figures so far; *spent* CPU seconds are not those of others."""
        seconds = time.monotonic() - self._began
        busy, stolen = (
            now - before for now, before in zip(_cpu_seconds(), self._before, strict=True)
        )
        return {
            "others' cores": max(0.0, busy - spent) / seconds,
            "stolen cores": stolen / seconds,
            "waiting for disks, %": (_stalled_seconds() - self._stalled) / seconds * 100,
        }


def _cpu_seconds():
    columns = Path("/proc/stat").read_text().split("\n", 1)[0].split()[1:]
    ticks = [int(each) / TICKS_PER_S for each in columns]
    return sum(ticks[each] for each in BUSY), ticks[STEAL]


def _stalled_seconds():
    """Return how long some process has waited for a disk; 0 where the kernel does not say."""
    pressure = Path("/proc/pressure/io")
    if not pressure.exists():
        return 0.0
    return int(pressure.read_text().split("\n", 1)[0].rpartition("total=")[2]) / 1e6
