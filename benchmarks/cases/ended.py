"""Many streams that ended long ago, in a store: ended."""

import os
import random
import subprocess
import sys
import time
from contextlib import contextmanager

import msgspec

from benchmarks.processes import receiver
from benchmarks.results import Case
from benchmarks.rounds import scratch
from benchmarks.usage import cpu_seconds, resident_mib
from receiver.stores.journal import Layout, PosixDisk
from receiver.stores.journal.journal import DONE, Done, State
from sonoduct.wire import Receipt

FULL, EMPTY = "ended streams", "an empty store"
READY, SHARE, MIB = "to ready s", "% of a core", "MiB"

SETTLED_S, WINDOW_S = 120, 3
"""Most time for the first round, which opens every journal; and a part of it."""

BUSY = 0.02
"""Share of a core that is more than later rounds take."""


def ended(scale):
    """A receiver that has nothing to do, beside one with an empty store."""
    streams, seconds = scale.pick(100_000, 2000), scale.pick(60, 3)
    case = Case("ended", f"{streams} streams ended; the receivers are idle for {seconds} s")
    with scratch() as folder:
        stores = {FULL: folder / "full", EMPTY: folder / "empty"}
        _fill(stores[FULL], streams)
        with (
            _started(case, FULL, stores[FULL]) as full,
            _started(case, EMPTY, stores[EMPTY]) as empty,
        ):
            servers = {FULL: full, EMPTY: empty}
            _settle(full.pid)
            before = {name: cpu_seconds(server.pid) for name, server in servers.items()}
            time.sleep(seconds)
            for name, server in servers.items():
                share = (cpu_seconds(server.pid) - before[name]) / seconds * 100
                case.add(name, **{SHARE: share, MIB: resident_mib(server.pid)})
        case.add("receiver export, which looks for one", seconds=_lookup(stores[FULL]))
    over = case.median(FULL, SHARE) - case.median(EMPTY, SHARE)
    case.goal("janitor, % of a core over an empty store", over, most=1)
    case.goal("from the command to ready, in s", case.median(FULL, READY), most=1)
    case.goal("MiB over an empty store", case.median(FULL, MIB) - case.median(EMPTY, MIB), most=8)
    return case


@contextmanager
def _started(case, name, store):
    began = time.perf_counter()
    with receiver("--store", str(store)) as server:
        case.add(name, **{READY: time.perf_counter() - began})
        yield server


def _fill(root, streams):
    """Write the ends of *streams* streams, without a sync."""
    layout, rng = Layout(PosixDisk(), root), random.Random(1)  # noqa: S311  # no secret
    os.close(layout.prepare(0))
    for _ in range(streams):
        stream = f"{rng.getrandbits(128):032x}"
        folder = f"{layout.streams}/{stream[:2]}/{stream}"
        os.mkdir(folder)  # noqa: PTH102  # 100,000 times
        receipt = Receipt(
            stream=stream,
            units=44100,
            digest="0" * 32,
            frames=44100,
            samplerate=44100,
            channels=2,
            seconds=1,
            durable=True,
        )
        name = f"audio/a-{stream[:8]}.wav"
        how = Done(state=State.COMMITTED, epoch=1, receipt=receipt, recording=name)
        with open(f"{folder}/{DONE}", "xb", buffering=0) as file:  # noqa: PTH123
            file.write(msgspec.json.encode(how))


def _settle(pid):
    """Wait until the first round is over."""
    until, share = time.monotonic() + SETTLED_S, 1
    while share > BUSY and time.monotonic() < until:
        before = cpu_seconds(pid)
        time.sleep(WINDOW_S)
        share = (cpu_seconds(pid) - before) / WINDOW_S


def _lookup(root):
    began = time.perf_counter()
    command = [sys.executable, "-m", "receiver", "export", "ffff", "--store", str(root)]
    subprocess.run(command, check=False, stderr=subprocess.DEVNULL)  # noqa: S603  # ours
    return time.perf_counter() - began
