"""What a process has cost, seen from outside: CPU seconds and memory."""

import re
import time
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

MIB = 1024 * 1024


@dataclass(frozen=True)
class Cost:
    """What a process spent on one run."""

    cpu_seconds: float
    """Of all its threads, also of those that have ended."""

    peak_mib: float
    """The most memory it had at once."""


class Meter:
    """Measures one process from now on."""

    def __init__(self, pid):
        self.pid = pid
        self.idle_mib = resident_mib(pid)
        # From here on VmHWM is the peak of what follows: proc(5), clear_refs.
        Path(f"/proc/{pid}/clear_refs").write_text("5")
        self._began = cpu_seconds(pid)

    def cost(self):
        """Return the cost so far."""
        return Cost(cpu_seconds(self.pid) - self._began, _status_mib(self.pid, "VmHWM"))


def cpu_seconds(pid):
    """
    Return the CPU seconds of a running process, to the nanosecond.

    /proc/PID/stat counts in ticks of 10 ms; the process's CPU clock does not. Its id is made as
    clock_getcpuclockid(3) makes it on Linux.
    """
    return time.clock_gettime((~pid << 3) | 2)


def family_cpu_seconds(pid):
    """Return the CPU seconds of a process and of its descendants that run."""
    spent = cpu_seconds(pid)
    for task in Path(f"/proc/{pid}/task").glob("*/children"):
        with suppress(FileNotFoundError, ProcessLookupError):  # the thread has ended
            spent += sum(family_cpu_seconds(int(each)) for each in task.read_text().split())
    return spent


def resident_mib(pid):
    """Return the memory that a process has now."""
    return _status_mib(pid, "VmRSS")


def _status_mib(pid, name):
    status = Path(f"/proc/{pid}/status").read_text()
    found = re.search(rf"{name}:\s+(\d+) kB", status)
    assert found is not None
    return int(found[1]) * 1024 / MIB
