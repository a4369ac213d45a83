"""
Child processes with limits, whose output is read, and that any thread can kill.

A child sees its libraries and its input. `missing_guards` tells what this kernel cannot do of it.
"""

from __future__ import annotations

import math
import os
import selectors
import signal
import subprocess
import sys
import sysconfig
import threading
import time
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Final

from . import launch

KEPT_BYTES: Final = 4096
"""Bytes of the end of standard error that are kept."""

PIECE: Final = 256 * 1024

_ENVIRONMENT: Final = {"HOME": "/", "MALLOC_ARENA_MAX": "1", "OPENBLAS_NUM_THREADS": "1"}
"""
HOME: without it Python asks a name service, through a socket. The others: by default glibc reserves
64 MiB of addresses for each thread, and numpy takes 60 ms to start threads that are not used.
"""

LIBRARIES: Final = (
    *("/usr/lib", "/usr/lib64", "/lib", "/lib64", "/usr/local/lib", "/usr/local/lib64"),
    *("/etc/ld.so.cache", "/nix/store", "/dev/null", "/dev/urandom"),
)
"""What programs of every kind read. Names that do not exist are left out."""

NETWORK_FILES: Final = (
    *("/etc/resolv.conf", "/etc/hosts", "/etc/host.conf", "/etc/nsswitch.conf", "/etc/gai.conf"),
    *("/etc/services", "/etc/protocols"),
    *("/etc/ssl/certs", "/etc/ssl/openssl.cnf", "/etc/ssl/cert.pem", "/etc/pki/tls/certs"),
    *("/etc/pki/ca-trust/extracted", "/etc/ca-certificates", "/usr/share/ca-certificates"),
    *("/usr/local/share/ca-certificates", "/etc/crypto-policies", "/usr/share/crypto-policies"),
)
"""What programs with network read besides: names of hosts, and certificates."""

_SCRIPT: Final = b"#!"
_SCRIPT_BYTES: Final = 256
"""Of its first line, the kernel looks at so many."""

_PACKAGES: Final = ("site-packages", "dist-packages")


class Cancellation:
    """
    Kills the children that were started under it; after `cancel`, new ones at once.

    A thread cannot be cancelled. But if the child that it waits for is killed, the wait ends.
    """

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._running: set[Child] = set()
        self._cancelled = False

    def cover(self, started: Child) -> None:
        """Let `cancel` kill *started*, until `release`."""
        with self._lock:
            self._running.add(started)
            late = self._cancelled
        if late:
            started.kill()

    def release(self, ended: Child) -> None:
        """Forget *ended*; calling this again does nothing."""
        with self._lock:
            self._running.discard(ended)

    def cancel(self) -> None:
        """Kill every child; calling this again does nothing."""
        with self._lock:
            self._cancelled = True
            running = list(self._running)
        for each in running:
            each.kill()


class OutOfTime(Exception):
    """The child let its reader wait for too long, and was killed."""


@dataclass(frozen=True, kw_only=True)
class ChildLimits:
    """The limits of one child."""

    memory_bytes: int
    """Address space, so somewhat more than the memory that it can fill."""

    cpu_seconds: int | None
    """Seconds of computing; None for no limit."""

    wall_seconds: float | None
    """Seconds that its reader waits for output in all; None for no limit."""

    network: bool = False
    """Whether the child may use sockets."""

    threads: bool = False
    """Whether the child may start threads; a process it can never start."""


class Child:
    """
    One run of a program, with *stdin* as its standard input.

    It reads its libraries and its input, and nothing else. It can change nothing, send no signal
    and start no process, and only with *network* use sockets, as far as the operating system can
    enforce that. Methods block; one thread uses a child, and any thread may `kill` it.
    """

    def __init__(
        self,
        command: Sequence[str],
        stdin: int,
        limits: ChildLimits,
        kept: int = KEPT_BYTES,
        cancellation: Cancellation | None = None,
        reads: Sequence[str] = (),
    ) -> None:
        """
        Start *command*, whose first word is an absolute path.

        The last *kept* bytes of its standard error are kept; *cancellation* can kill it. It may
        read the files and folders *reads* besides its libraries.

        Raises:
            OSError: if no process can be started.
        """
        self._process = subprocess.Popen(  # noqa: S603  # no shell; callers pass no path of a user's
            [sys.executable, "-I", "-S", launch.__file__, *_arguments(command, limits, reads)],
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
        self._patience = math.inf if limits.wall_seconds is None else limits.wall_seconds
        self._kept = kept
        self._errors = b""
        self._selector = selectors.DefaultSelector()
        for descriptor in (self._output, self._stderr):
            self._selector.register(descriptor, selectors.EVENT_READ)
        self._cancellation = cancellation or Cancellation()
        self._cancellation.cover(self)

    @property
    def errors(self) -> str:
        """The end of its standard error; bytes that are not UTF-8 are replaced."""
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
            OutOfTime: if the wait was too long; the child was killed.
        """
        parts, missing = [], size
        while missing and (part := self.read_some(missing)):
            parts.append(part)
            missing -= len(part)
        return b"".join(parts)

    def exit_code(self) -> int:
        """
        Return the exit code, once the output has ended; negative: the signal that killed it.

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
        """Kill the child and its own children; a waiting `read` then sees the end of the output."""
        if self._process.returncode is None:  # not reaped, so the number is still its own
            with suppress(ProcessLookupError):  # another thread has waited for it in this moment
                os.killpg(self._process.pid, signal.SIGKILL)

    def close(self) -> None:
        """Kill the child if it still runs, and free everything."""
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
        """Read standard error to its end, which may come after the end of the output."""
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


def missing_guards() -> list[str]:
    """
    Return what this kernel cannot keep from a child, each as one sentence; it takes 20 ms.

    Raises:
        OSError: if no process can be started.
    """
    limits = ChildLimits(memory_bytes=2**30, cpu_seconds=None, wall_seconds=10)
    with open(os.devnull, "rb") as nothing:  # noqa: PTH123  # a descriptor
        child = Child([], nothing.fileno(), limits)
    try:
        return child.read(KEPT_BYTES).decode().splitlines()
    except OutOfTime:
        return ["the launcher of decoders does not answer"]
    finally:
        child.close()


def _arguments(command: Sequence[str], limits: ChildLimits, reads: Sequence[str]) -> list[str]:
    """Return the launcher's arguments."""
    paths = [*LIBRARIES, *(NETWORK_FILES if limits.network else ()), *reads]
    if command:
        paths += _needs(command[0])
    bounds = [str(limits.memory_bytes), str(limits.cpu_seconds or "")]
    allowed = ["network" if limits.network else "", "threads" if limits.threads else ""]
    return [*bounds, *allowed, str(len(paths)), *paths, *command]


def _needs(program: str) -> list[str]:
    """Return *program*, the libraries beside it, and what it runs in: a script's interpreter."""
    if program == sys.executable:
        return _python()
    try:
        with open(program, "rb") as file:  # noqa: PTH123  # as any other file
            line = file.readline(_SCRIPT_BYTES)
    except OSError:
        return []  # the launcher says why
    found = Path(program).resolve()
    script = line.startswith(_SCRIPT) and line.removeprefix(_SCRIPT).split()
    interpreter = [os.fsdecode(script[0])] if script else []
    return [str(found), str(found.parent.parent / "lib"), *interpreter]


@cache
def _python() -> list[str]:
    """Return the files and folders of this Python and of the packages installed for it."""
    found = Path(sys.executable).resolve()
    packages = [each for each in sys.path if Path(each).name in _PACKAGES]
    own = [sysconfig.get_path(name) for name in ("stdlib", "platstdlib")]
    settings = str(Path(sys.prefix, "pyvenv.cfg"))
    return [str(found), str(found.parent.parent / "lib"), *own, settings, *packages]
