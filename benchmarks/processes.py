"""The processes of a run: every end of every contender is one of its own, started before."""

import json
import multiprocessing
import os
import re
import resource
import signal
import socket
import subprocess
import sys
import tempfile
import time
from contextlib import contextmanager, suppress
from pathlib import Path

WAIT_S = 60
END_S = 10
TABLES = ("/proc/net/tcp", "/proc/net/tcp6")

_spawn = multiprocessing.get_context("spawn")


class Child:
    """A function that runs in a process of its own: `target(pipe, *args)`."""

    def __init__(self, target, *args):
        self._pipe, theirs = _spawn.Pipe()
        self._process = _spawn.Process(target=_run, args=(target, theirs, *args), daemon=True)
        self._process.start()
        theirs.close()
        self.pid = self._process.pid

    def hear(self, within=WAIT_S):
        """Return what the child says next."""
        if not self._pipe.poll(within):
            raise TimeoutError(f"a process of the benchmark said nothing for {within} s")
        answer = self._pipe.recv()
        if isinstance(answer, BaseException):
            raise answer
        return answer

    def tell(self, what=None):
        """Say something to the child."""
        self._pipe.send(what)

    def end(self):
        """End the process."""
        self._process.terminate()
        self._process.join()


def _run(target, pipe, *args):
    more_descriptors()
    try:
        target(pipe, *args)
    except BaseException as exc:
        with suppress(OSError):
            pipe.send(RuntimeError(f"{target.__module__}: {exc!r}"))
        raise


@contextmanager
def child(target, *args):
    """Run *target* in a process of its own while the context is open."""
    running = Child(target, *args)
    try:
        yield running
    finally:
        running.end()


class Program:
    """A running command, and where it listens."""

    def __init__(self, pid, url, metrics=""):
        self.pid = pid
        self.url = url
        self.metrics = metrics
        """Address of its metrics, if it has any."""
        self.spent = None
        """CPU seconds of it and of its children, if it has ended and was started by `ending`."""


@contextmanager
def receiver(*options, limits=()):
    """Run `receiver serve` as its users do; it has ended well when the context is left."""
    command = [sys.executable, "-m", "receiver", "serve", "--host", "127.0.0.1"]
    command += ["--port", "0", "--metrics-port", "0", "--drain-lead", "0", *options, *limits]
    with tempfile.TemporaryFile() as said:
        process = subprocess.Popen(command, stderr=said, preexec_fn=more_descriptors)  # noqa: S603, PLW1509  # ours
        try:
            ready = _ready(process, said)
            metrics = f"http://127.0.0.1:{ready['metrics_port']}/metrics"
            yield Program(process.pid, ready["url"], metrics)
            process.send_signal(signal.SIGTERM)
            if process.wait(WAIT_S):
                raise RuntimeError(f"receiver ended with {process.returncode}\n{_tail(said)}")
        finally:
            process.kill()
            process.wait()


def _ready(process, said):
    until = time.monotonic() + WAIT_S
    while time.monotonic() < until and process.poll() is None:
        for line in os.pread(said.fileno(), 1 << 20, 0).splitlines():
            if b'"receiver_ready"' in line and line.endswith(b"}"):
                return json.loads(line)
        time.sleep(0.005)
    raise RuntimeError(f"receiver is not ready\n{_tail(said)}")


def _tail(said):
    return os.pread(said.fileno(), 1 << 20, 0)[-2000:].decode()


@contextmanager
def program(*command, port):
    """Run a command that listens on *port* while the context is open."""
    process = subprocess.Popen(  # noqa: S603  # one of ours
        command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
    )
    try:
        _wait_until_it_listens(port)
        yield Program(process.pid, f"ws://127.0.0.1:{port}")
    finally:
        process.kill()
        process.wait()


@contextmanager
def ending(command, port, url, said=subprocess.DEVNULL):
    """
    Run a command that listens on *port*, and take its CPU seconds when it has ended.

    It may end alone, and so may its children, whose clocks end with them.
    """
    process = subprocess.Popen(command, stdout=said, stderr=said)  # noqa: S603  # what is compared
    program = Program(process.pid, url | {"pid": process.pid})
    try:
        _wait_until_known(port)
        yield program
    finally:
        os.kill(process.pid, signal.SIGTERM)  # `terminate` would take what `wait4` returns
        program.spent = _reaped(process)


def _reaped(process):
    until = time.monotonic() + END_S
    while time.monotonic() < until:
        pid, status, spent = os.wait4(process.pid, os.WNOHANG)
        if pid:
            process.returncode = os.waitstatus_to_exitcode(status)
            return spent.ru_utime + spent.ru_stime
        time.sleep(0.005)
    process.kill()
    process.wait()
    raise TimeoutError(f"process {process.args[0]} did not end within {END_S} s")


def _wait_until_known(port):
    """Wait until the kernel lists *port*: some programs take the first connection for the only."""
    until = time.monotonic() + WAIT_S
    wanted = re.compile(rf"^ *\d+: \w+:{port:04X} \w+:0000 0A ", re.MULTILINE)
    while time.monotonic() < until:
        if any(wanted.search(Path(table).read_text()) for table in TABLES):
            return
        time.sleep(0.01)
    raise TimeoutError(f"nothing listens on port {port}")


def free_port():
    """Return a port on which no program listens."""
    with socket.create_server(("127.0.0.1", 0)) as listening:
        return listening.getsockname()[1]


def _wait_until_it_listens(port):
    until = time.monotonic() + WAIT_S
    while time.monotonic() < until:
        with suppress(OSError), socket.create_connection(("127.0.0.1", port)):
            return
        time.sleep(0.01)
    raise TimeoutError(f"nothing listens on port {port}")


def more_descriptors():
    """Have as many open files as this machine lets a process have."""
    _, most = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (most, most))
