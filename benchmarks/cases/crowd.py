"""Thousands of streams, under the same messages as the bare library: live-4000, idle."""

from contextlib import contextmanager

import numpy as np

from benchmarks.contenders import require
from benchmarks.contenders.bare import serve as serve_bare
from benchmarks.load import Load, generate
from benchmarks.processes import child, receiver
from benchmarks.results import Case
from benchmarks.rounds import scratch
from benchmarks.usage import resident_mib
from benchmarks.watching import CPU_PER_CHUNK, MANY, WAIT_S, arrivals, percentile, probed, watched

OURS, BARE = "sonoduct, store none", "bare library"
KIB_PER_STREAM = "KiB per stream"

ENDED_S = 1.0
"""A stream whose last chunk is so much older than the newest one was not taken to its end."""


def live(scale):
    """CPU for each chunk, and how long it takes to become an array."""
    streams, seconds = scale.pick(4000, 500), scale.pick(3, 2)
    work = f"{streams} live streams, 16 kHz mono, 256 ms chunks, store none, for {seconds} s"
    case = Case("live-4000", work)
    for _ in range(scale.few(2)):
        case.add(OURS, **_ours(Load(streams, 0.256, seconds)))
        case.add(BARE, **_bare(Load(streams, 0.256, seconds, bare=True)))
    case.goal("CPU per chunk / the bare library's", case.ratio(OURS, BARE, CPU_PER_CHUNK), most=2.0)
    case.goal("chunk to array, p99 in ms", case.median(OURS, "p99 ms"), most=50)
    return case


def idle(scale):
    """Memory of connections on which nothing comes."""
    streams = scale.pick(2000, 300)
    case = Case("idle", f"{streams} connected, silent streams, store none")
    for _ in range(scale.few(2)):
        for name in (OURS, BARE):
            with _server(name) as server:
                grown = _growth(server, Load(streams, 0, 0, bare=name == BARE))
            case.add(name, **{KIB_PER_STREAM: grown * 1024 / streams})
    reached = case.ratio(OURS, BARE, KIB_PER_STREAM)
    case.goal("memory per stream / the bare library's", reached, most=1.5)
    return case


def _ours(load):
    with scratch() as folder:
        options = ("--store", "none", "--processors", "benchmarks.probe:Arrivals")
        with (
            probed(folder, *options) as server,
            child(generate, server.url, load) as client,
        ):
            figures = watched(server, client)
        seen = arrivals(folder)
    streams, each = np.unique(seen["stream"], return_inverse=True)
    last = np.zeros(len(streams))
    np.maximum.at(last, each, seen["stamp"])
    require("streams", len(streams), load.streams)
    require("streams that were cut off", int((last < last.max() - ENDED_S).sum()), 0)
    return figures | percentile(seen["arrived"] - seen["stamp"])


def _bare(load):
    with serve_bare(None) as server, child(generate, server.url, load) as client:
        return watched(server, client)


@contextmanager
def _server(name):
    if name == BARE:
        with serve_bare(None) as running:
            yield running
    else:
        with receiver("--store", "none", limits=MANY) as running:
            yield running


def _growth(server, load):
    with child(generate, server.url, load) as client:
        client.hear()
        before = resident_mib(server.pid)
        client.tell()
        client.hear(WAIT_S)
        return resident_mib(server.pid) - before
