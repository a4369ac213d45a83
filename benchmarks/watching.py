"""Receivers under live streams: their costs, and when each chunk became an array."""

import os
from contextlib import contextmanager

import numpy as np

from . import probe
from .lag import Machine
from .processes import receiver
from .usage import Meter

CPU_PER_CHUNK = "receiver CPU µs per chunk"
WAIT_S = 120

ARRIVALS = "arrivals.npy"

MANY = ("--max-connections", "4096", "--address-connections", "4096")
"""As many as have their smallest window in the default memory."""


@contextmanager
def probed(folder, *options):
    """Run a receiver with a probe among its processors, for `arrivals` when it has ended."""
    os.environ[probe.FILE] = str(folder / ARRIVALS)
    try:
        with receiver(*options, limits=MANY) as running:
            yield running
    finally:
        del os.environ[probe.FILE]


def arrivals(folder):
    """Return what the probe of a receiver that has ended saw."""
    return np.load(folder / ARRIVALS)


def lags(folder):
    """Return when the loop of a receiver that has ended was due, and how late it was, seconds."""
    return np.load(folder / probe.LAGS)


def watched(server, client):
    """Return what both ends spend between the client's `begin` and its `end`."""
    client.hear()
    client.tell()
    client.hear(WAIT_S)
    meters, machine = (Meter(server.pid), Meter(client.pid)), Machine()
    end = client.hear(WAIT_S)
    receiving, sending = (meter.cost() for meter in meters)
    others = machine.others(receiving.cpu_seconds + sending.cpu_seconds)
    return {
        CPU_PER_CHUNK: receiving.cpu_seconds * 1e6 / end["chunks"],
        "receiver cores": receiving.cpu_seconds / end["seconds"],
        "sender cores": sending.cpu_seconds / end["seconds"],
        "receiver peak MiB": receiving.peak_mib,
        "sender peak MiB": sending.peak_mib,
        **others,
    }


def percentile(waits):
    """Return the middle and the end of *waits*, seconds, as figures."""
    return {
        "p50 ms": float(np.percentile(waits, 50)) * 1000,
        "p99 ms": float(np.percentile(waits, 99)) * 1000,
        "max ms": float(np.max(waits)) * 1000,
    }
