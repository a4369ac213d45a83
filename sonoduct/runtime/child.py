"""A child process whose output is read: limited, without environment, gone when it is closed."""

from __future__ import annotations

import math
import os
import selectors
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass
from typing import Final, Protocol

from . import launch


class Killable(Protocol):
    """What can be ended from any thread."""

    def kill(self) -> None:
        """End it soon; more than once is no harm."""


class Cancellation:
    """
    Kills what was started under it, and at once whatever is started after that.

    A thread cannot be cancelled; the child that it waits for can be killed, and the wait ends.
    """

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._running: set[Killable] = set()
        self._cancelled = False

    def cover(self, started: Killable) -> None:
        """Have `cancel` kill *started*, until it is released."""
        with self._lock:
            self._running.add(started)
            late = self._cancelled
        if late:
            started.kill()

    def release(self, ended: Killable) -> None:
        """Forget about *ended*; more than once is no harm."""
        with self._lock:
            self._running.discard(ended)

    def cancel(self) -> None:
        """Kill everything; more than once is no harm."""
        with self._lock:
            self._cancelled = True
            running = list(self._running)
        for each in running:
            each.kill()


KEPT_BYTES: Final = 4096
"""What is kept of the end of standard error."""

PIECE: Final = 256 * 1024

_ENVIRONMENT: Final = {"HOME": "/", "MALLOC_ARENA_MAX": "1", "OPENBLAS_NUM_THREADS": "1"}
"""
Without a home Python asks a name service for it, through a socket. glibc reserves 64 MiB of
addresses for each thread otherwise, and numpy takes 60 ms to start threads that nobody needs.
"""


class OutOfTime(Exception):
    """The child let its reader wait for longer than it may."""


@dataclass(frozen=True, kw_only=True)
class Bounds:
    """What a child may use."""

    memory_bytes: int
    """Of address space, so somewhat more than it can fill."""

    cpu_seconds: int | None
    """None for as much as it takes."""

    wall_seconds: float | None
    """That its reader waits for output, all in all; None for as long as it takes."""

    network: bool = False
    """Whether it may use sockets."""


class Child:
    """
    One run of a program, with *stdin* as its standard input.

    As far as the operating system has means for that, it cannot change files, nor use the network
    unless it may.
    Blocking; for one thread, but for `kill`.
    """

    def __init__(
        self,
        command: Sequence[str],
        stdin: int,
        bounds: Bounds,
        kept: int = KEPT_BYTES,
        cancellation: Cancellation | None = None,
    ) -> None:
        """
        Start *command*, whose first word is an absolute path.

        *kept* bytes of the end of its standard error are kept; *cancellation* can end it.

        Raises:
            OSError: if no process can be started.
        """
        network = "network" if bounds.network else ""
        limits = [str(bounds.memory_bytes), str(bounds.cpu_seconds or ""), network]
        self._process = subprocess.Popen(  # noqa: S603  # no shell; callers pass no path of a user's
            [sys.executable, "-I", "-S", launch.__file__, *limits, *command],
            stdin=stdin,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            bufsize=0,
            cwd="/",
            env=_ENVIRONMENT,
            start_new_session=True,
        )
        assert self._process.stdout is not None
        assert self._process.stderr is not None
        self._output, self._stderr = self._process.stdout.fileno(), self._process.stderr.fileno()
        self._patience = math.inf if bounds.wall_seconds is None else bounds.wall_seconds
        self._kept = kept
        self._errors = b""
        self._selector = selectors.DefaultSelector()
        for descriptor in (self._output, self._stderr):
            self._selector.register(descriptor, selectors.EVENT_READ)
        self._cancellation = cancellation or Cancellation()
        self._cancellation.cover(self)

    @property
    def errors(self) -> str:
        """The end of what it has said on standard error; whatever is no UTF-8 is replaced."""
        return self._errors.decode(errors="replace")

    @property
    def last_line(self) -> str:
        """The last line of `errors` that is not empty."""
        lines = [line.strip() for line in self.errors.splitlines()]
        return next((line for line in reversed(lines) if line), "")

    def read(self, size: int) -> bytes:
        """
        Return *size* bytes of its output; fewer at the end.

        Raises:
            OutOfTime: if that lets one wait for too long; the child is killed then.
        """
        parts, wanted = [], size
        while wanted and (part := self.read_some(wanted)):
            parts.append(part)
            wanted -= len(part)
        return b"".join(parts)

    def exit_code(self) -> int:
        """
        Wait for the end of a child whose output has ended; negative is the signal that ended it.

        Raises:
            OutOfTime: as `read`.
        """
        started = time.monotonic()
        try:
            return self._process.wait(self._timeout)
        except subprocess.TimeoutExpired:
            self.kill()
            raise OutOfTime from None
        finally:
            self._patience -= time.monotonic() - started

    def kill(self) -> None:
        """End it, with whatever it has started; a `read` that waits sees the end of its output."""
        if self._process.returncode is None:  # so its number is still its own, even if it has ended
            with suppress(ProcessLookupError):  # another thread has just waited for it
                os.killpg(self._process.pid, signal.SIGKILL)

    def close(self) -> None:
        """Kill it unless it has ended, and free what it held."""
        self._cancellation.release(self)
        self.kill()
        with self._process:  # waits, and closes the pipes
            self._selector.close()

    def read_some(self, size: int) -> bytes:
        """Return up to *size* bytes of its output as soon as there are any; otherwise as `read`."""
        while self._output in self._selector.get_map():
            ready = self._wait()
            if self._stderr in ready:
                self._keep()
            if self._output in ready:
                data = os.read(self._output, min(size, PIECE))
                if not data:
                    self._selector.unregister(self._output)
                    self._drain()
                return data
        return b""

    @property
    def _timeout(self) -> float | None:
        return None if self._patience == math.inf else max(0.0, self._patience)

    def _drain(self) -> None:
        """What it says last may come after the end of its output."""
        while self._selector.get_map():
            self._wait()
            self._keep()

    def _keep(self) -> None:
        data = os.read(self._stderr, PIECE)
        self._errors = (self._errors + data)[-self._kept :]
        if not data:
            self._selector.unregister(self._stderr)

    def _wait(self) -> set[int]:
        started = time.monotonic()
        ready = self._selector.select(self._timeout)
        self._patience -= time.monotonic() - started
        if not ready:
            self.kill()
            raise OutOfTime
        return {key.fd for key, _ in ready}
