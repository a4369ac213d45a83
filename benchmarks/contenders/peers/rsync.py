"""rsync: its daemon, and its client with and without `--fsync`."""

import os
import subprocess
import time
from contextlib import contextmanager
from functools import partial

from benchmarks.contenders import Contender
from benchmarks.processes import ending, free_port

from . import FILE, RUN_S, check_copy, needs_program, spent_by_children

CONFIG = """
use chroot = no
uid = {uid}
gid = {gid}
log file = {folder}/log
[in]
path = {folder}
read only = no
"""


@contextmanager
def serve(folder):
    """A daemon on the loopback interface."""
    program, port = needs_program("rsync"), free_port()
    config = folder / "rsyncd.conf"
    config.write_text(CONFIG.format(uid=os.getuid(), gid=os.getgid(), folder=folder))
    command = [program, "--daemon", "--no-detach", "--address", "127.0.0.1"]
    command += ["--port", str(port), "--config", str(config)]
    with ending(command, port, {"port": port}) as running:
        yield running


def send(pipe, url, sounds, options=()):
    """The client's whole time: it has no figure without its start."""
    program = needs_program("rsync")
    target = f"rsync://127.0.0.1:{url['port']}/in/{FILE}"
    command = [program, "--whole-file", *options, str(sounds[0].path), target]
    pipe.send("ready")
    pipe.recv()
    started = time.perf_counter()
    subprocess.run(command, check=True, timeout=RUN_S)  # noqa: S603  # what is compared
    seconds = time.perf_counter() - started
    pipe.send({"seconds": seconds, "cpu_seconds": spent_by_children()})
    pipe.recv()


RSYNC = Contender("rsync daemon", serve, send, check_copy)
RSYNC_SYNCED = Contender(
    "rsync daemon, --fsync", serve, partial(send, options=("--fsync",)), check_copy
)
