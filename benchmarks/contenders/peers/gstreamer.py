"""GStreamer: a file over TCP into a file, or to an element that throws it away."""

import os
import re
import select
import subprocess
from contextlib import contextmanager
from functools import partial
from pathlib import Path

from benchmarks.contenders import AbsentError, Contender, require
from benchmarks.processes import ending, free_port

from . import FILE, RUN_S, check_copy, needs_program, spent_by_children, synced

BLOCK_BYTES = 256 * 1024
SAID = "said"
TOOK = re.compile(r"Execution ended after (\d+):(\d+):([\d.]+)")


@contextmanager
def serve(folder, *, kept):
    """One pipeline, which ends with its only connection."""
    program, port = needs_program("gst-launch-1.0"), free_port()
    inspect = [needs_program("gst-inspect-1.0"), "--exists", "tcpserversrc"]
    if subprocess.run(inspect, check=False).returncode:  # noqa: S603  # of the same package
        raise AbsentError("GStreamer has no tcpserversrc: the plugins of its base set are missing")
    sink = ["filesink", f"location={folder / FILE}"] if kept else ["fakesink", "sync=false"]
    command = [program, "tcpserversrc", "host=127.0.0.1", f"port={port}", "!"]
    # It says the number of bytes at the end, which costs nothing that could be measured.
    command += ["progressreport", "silent=false", "format=bytes", f"update-freq={RUN_S}", "!"]
    with (folder / SAID).open("w") as said:
        url = {"port": port, "folder": str(folder)}
        with ending([*command, *sink], port, url, said) as running:
            yield running


def send(pipe, url, sounds, *, durable):
    """The receiver's own time, from its first buffer; the benchmark syncs the file."""
    program, folder = needs_program("gst-launch-1.0"), Path(url["folder"])
    command = [program, "-q", "filesrc", f"location={sounds[0].path}", f"blocksize={BLOCK_BYTES}"]
    command += ["!", "tcpclientsink", "host=127.0.0.1", f"port={url['port']}"]
    other = os.pidfd_open(url["pid"])
    pipe.send("ready")
    pipe.recv()
    subprocess.run(command, check=True, timeout=RUN_S)  # noqa: S603  # what is compared
    if not select.select([other], [], [], RUN_S)[0]:
        raise TimeoutError(f"GStreamer's receiver did not end within {RUN_S} s")
    more = synced(folder / FILE) if durable else (0, 0)
    said = (folder / SAID).read_text()
    hours, minutes, seconds = map(float, TOOK.search(said).groups())
    took = hours * 3600 + minutes * 60 + seconds + more[0]
    count = int(re.search(r"(\d+) bytes", said)[1])
    pipe.send({"seconds": took, "bytes": count, "cpu_seconds": spent_by_children() + more[1]})
    pipe.recv()


def check(answer, sounds, _folder):
    """Every byte of the file was counted."""
    require("bytes", answer["bytes"], sounds[0].path.stat().st_size)


GSTREAMER = Contender(
    "GStreamer tcp, thrown away",
    partial(serve, kept=False),
    partial(send, durable=False),
    check,
)
GSTREAMER_SYNCED = Contender(
    "GStreamer tcp, synced afterwards",
    partial(serve, kept=True),
    partial(send, durable=True),
    check_copy,
)
