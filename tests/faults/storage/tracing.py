"""Failures of single system calls, by strace."""

import asyncio
import functools
import os
import shutil
import signal
import subprocess
import sys
from contextlib import asynccontextmanager, suppress

import pytest

from tests.support.waits import PATIENCE_S

STRACE = shutil.which("strace")
ATTACHED = b"attached"


@functools.cache
def obstacle():
    """Return why strace cannot run here; empty if it can."""
    if STRACE is None:
        return "strace is not installed"
    idle = (sys.executable, "-c", "import sys; sys.stdin.read()")
    with subprocess.Popen(idle, stdin=subprocess.PIPE) as victim:
        what = ("-e", "inject=fsync:error=EIO:when=1")
        tracer = subprocess.Popen(
            (STRACE, "-p", str(victim.pid), *what),
            stdout=subprocess.DEVNULL,
            stderr=subprocess.PIPE,
        )
        with tracer:
            said = tracer.stderr.readline()
            tracer.terminate()
        victim.stdin.close()
    return "" if ATTACHED in said else f"strace cannot attach: {said.decode().strip()}"


def require_strace():
    """Skip the test if strace cannot make calls fail."""
    if found := obstacle():
        pytest.skip(f"NOT TESTED: {found}")


class Tracer:
    """The output of a strace that makes calls fail."""

    def __init__(self, process):
        self.injected = 0
        """Calls that have failed."""
        self._process = process

    async def attached(self):
        """Wait until strace is attached."""
        async with asyncio.timeout(PATIENCE_S):
            said = await self._process.stderr.readline()

        assert ATTACHED in said, said

    async def read(self):
        """Read until strace ends."""
        async for line in self._process.stderr:
            self.injected += b"(INJECTED)" in line


@asynccontextmanager
async def injecting(pid, *faults, paths=()):
    """
    Make calls of all threads of *pid* fail as *faults* say, in strace's words.

    If there are *paths*, only calls about them count. Each thread has its own count.
    """
    options = [each for fault in faults for each in ("-e", f"inject={fault}")]
    options += [each for path in paths for each in ("-P", str(path))]
    process = await asyncio.create_subprocess_exec(
        *(STRACE, "-f", "-p", str(pid), "-e", "signal=none", *options),
        stdout=asyncio.subprocess.DEVNULL,
        stderr=asyncio.subprocess.PIPE,
    )
    tracer = Tracer(process)
    reading = None
    try:
        await tracer.attached()
        reading = asyncio.create_task(tracer.read())
        yield tracer
    finally:
        with suppress(ProcessLookupError):  # it ends with whom it traces
            os.kill(process.pid, signal.SIGTERM)
        await (reading or process.stderr.read())
        await process.wait()
