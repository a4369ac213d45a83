"""The receiver under attack: a process with the limits that compose gives its container."""

import json
import os
import resource
import shutil
import subprocess
import sys
import tempfile
import threading
import time
from contextlib import contextmanager, suppress
from pathlib import Path

MEMORY_BYTES = 512 * 1024 * 1024
PIDS = 128
FILES = 4096
"""The container's limits: docker-compose.yml."""

LOOK_S = 0.05
WAIT_S = 20
ROOM_BYTES = 4 * 1024**3
GROUPS = Path("/sys/fs/cgroup")

TOKENS = {
    "studio": "studio-0123456789abcdef",
    "newcomer": "newcomer-0123456789abcdef",
    "hostile": "hostile-0123456789abcdef",
}

FOREIGN = {"narrow": "narrow-0123456789abcdef", "expired": "expired-0123456789abcdef"}
"""A token for other names, and one whose time is over."""
EXPIRED = "expires = 2020-01-01T00:00:00Z"


def has_groups():
    """Return whether control groups of version 2 can limit memory and processes here."""
    try:
        kinds = (GROUPS / "cgroup.subtree_control").read_text().split()
    except OSError:
        return False
    return not os.geteuid() and {"memory", "pids"} <= set(kinds)


class Victim:
    """A running receiver, and what it takes."""

    def __init__(self, process, ready, folder, log):
        self.process, self.pid = process, process.pid
        self.url, self.folder = ready["url"], folder
        self.port = int(self.url.rpartition(":")[2])
        self.metrics_port = ready["metrics_port"]
        self.store = folder / "store"
        self.looks = []
        """Time, bytes of memory, threads, and open files: each `LOOK_S`."""
        self.killed = ""
        """Why this run has killed it; the kernel would have."""
        self._log = log
        self._over = threading.Event()
        self._thread = threading.Thread(target=self._watch, daemon=True)
        self._thread.start()

    @property
    def alive(self):
        """Return whether the process runs."""
        return self.process.poll() is None

    @property
    def log(self):
        """Return the lines of its log that are JSON."""
        lines = []
        for line in os.pread(self._log.fileno(), 1 << 26, 0).splitlines():
            with suppress(ValueError):
                lines.append(json.loads(line))
        return lines

    def peak(self, begin, end):
        """Return the most memory, threads and files between two times."""
        looks = [each[1:] for each in self.looks if begin <= each[0] <= end]
        return tuple(map(max, zip(*looks, strict=True))) if looks else (0, 0, 0)

    def last(self):
        """Return memory, threads and files now."""
        return self.looks[-1][1:]

    def files(self):
        """Return the number of files and folders in the store, and the bytes that they take."""
        count = size = 0
        for folder, folders, names in os.walk(self.store):
            count += len(folders) + len(names)
            for name in names:
                with suppress(OSError):
                    size += (Path(folder) / name).stat().st_blocks * 512
        return count, size

    def end(self):
        """End the process: what it does when it is asked to stop is another test's subject."""
        self._over.set()
        self._thread.join()
        self.process.kill()
        self.process.wait()

    def _watch(self):
        page = resource.getpagesize()
        proc = Path("/proc") / str(self.pid)
        while not self._over.wait(LOOK_S):
            try:
                memory = int((proc / "statm").read_text().split()[1]) * page
                threads = len(list((proc / "task").iterdir()))
                files = len(list((proc / "fd").iterdir()))
            except (OSError, ValueError):
                return
            self.looks.append((time.monotonic(), memory, threads, files))
            if memory > MEMORY_BYTES or threads > PIDS:
                self.killed = f"{memory >> 20} MiB, {threads} threads"
                self.process.kill()


def _limited(group):
    resource.setrlimit(resource.RLIMIT_NOFILE, (FILES, FILES))
    if group is not None:
        (group / "cgroup.procs").write_text(str(os.getpid()))


@contextmanager
def _group():
    if not has_groups():
        yield None
        return
    group = GROUPS / f"sonoduct-hostile-{os.getpid()}-{time.monotonic_ns()}"
    group.mkdir()
    try:
        (group / "memory.max").write_text(str(MEMORY_BYTES))
        (group / "pids.max").write_text(str(PIDS))
        yield group
    finally:
        for _ in range(100):
            with suppress(OSError):
                group.rmdir()
                break
            time.sleep(0.05)


@contextmanager
def serving(options=(), *, tokens=False, without="", disk="", work=None):
    """
    Run a receiver while the context is open.

    Args:
        options: more options of `receiver serve`.
        tokens: whether clients need a token.
        without: the guard that is taken out of the process; see unguarded.py.
        disk: options of a disk of its own, such as size=64m; otherwise the store is a folder.
        work: the folder for everything; a temporary one by default.
    """
    with tempfile.TemporaryDirectory(prefix="sonoduct-hostile-", dir=work) as name:
        folder = Path(name)
        (folder / "store").mkdir()
        more = []
        if tokens:
            text = "".join(f'[{each}]\ntoken = "{word}"\n' for each, word in TOKENS.items())
            for each, rule in (("narrow", 'streams = "narrow/"'), ("expired", EXPIRED)):
                text += f'[{each}]\ntoken = "{FOREIGN[each]}"\n{rule}\n'
            (folder / "tokens.toml").write_text(text)
            more = ["--tokens", folder / "tokens.toml"]
        with _disk(folder / "store", disk), _group() as group:
            yield from _run(folder, group, [*more, *options], without)


def _run(folder, group, options, without):
    program = ["-m", "tests.hostile.unguarded", without] if without else ["-m", "receiver"]
    command = [sys.executable, *program, "serve", "--host", "127.0.0.1", "--port", "0"]
    command += ["--metrics-port", "0"]
    command += ["--store", folder / "store", *options]
    with (folder / "log").open("w+b") as log:
        process = subprocess.Popen(
            list(map(str, command)),
            stderr=log,
            stdout=subprocess.DEVNULL,
            preexec_fn=lambda: _limited(group),  # noqa: PLW1509  # no thread runs yet
        )
        victim = None
        try:
            victim = Victim(process, _ready(process, log), folder, log)
            yield victim
        finally:
            if victim is not None:
                victim.end()
            else:
                process.kill()
                process.wait()


def _ready(process, log):
    until = time.monotonic() + WAIT_S
    while time.monotonic() < until and process.poll() is None:
        for line in os.pread(log.fileno(), 1 << 20, 0).splitlines():
            if b'"receiver_ready"' in line and line.endswith(b"}"):
                return json.loads(line)
        time.sleep(0.01)
    raise RuntimeError(os.pread(log.fileno(), 2000, 0).decode())


@contextmanager
def _disk(folder, options):
    if not options:
        yield
        return
    command = ["mount", "-t", "tmpfs", "-o", options, "tmpfs", str(folder)]
    subprocess.run(command, check=True, timeout=WAIT_S)
    try:
        yield
    finally:
        subprocess.run(["umount", "--lazy", str(folder)], check=False, timeout=WAIT_S)  # noqa: S607


def memory_folder():
    """Return a folder in memory with room for stores, or None: a busy disk blurs all figures."""
    shared = Path("/dev/shm")  # noqa: S108  # each store has a folder of its own in it
    if shared.is_dir() and shutil.disk_usage(shared).free > ROOM_BYTES:
        return str(shared)
    return None


def can_mount():
    """Return whether this process may mount a disk."""
    with tempfile.TemporaryDirectory() as folder:
        try:
            with _disk(Path(folder), "size=1m"):
                return True
        except (OSError, subprocess.SubprocessError):
            return False
