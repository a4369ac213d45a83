"""The replicas of the receiver under a load."""

import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from tests.containers.deadlines import until
from tests.containers.engine import events
from tests.containers.load import STREAMS
from tests.containers.metrics import metrics_of, targets, total


def of_each(replicas, read):
    """Return the results of *read* for all replicas, read at the same time."""
    with ThreadPoolExecutor() as pool:
        return dict(zip(replicas, pool.map(read, replicas), strict=True))


def await_streams(replicas, within=20):
    """Wait until *replicas* have all streams of a load; return the count of each."""
    return until(
        lambda: of_each(replicas, _active),
        lambda seen: sum(seen.values()) == STREAMS,
        within,
        "active streams",
    )


def opened(replica):
    """Return the names of the files whose streams a replica has ever opened."""
    return {Path(line["name"]).name for line in events(replica) if line["event"] == "stream_opened"}


def homes(replicas, load):
    """Return the names of *load*'s streams at each replica, before any stream has moved."""
    return until(
        lambda: of_each(replicas, lambda replica: opened(replica) & set(load.files)),
        lambda seen: set().union(*seen.values()) == set(load.files),
        10,
        "streams in the logs",
    )


def await_targets(system, count, within):
    """Wait until Prometheus shows *count* healthy receivers; return the seconds."""
    started = time.monotonic()
    until(
        lambda: targets(system.prometheus, "receiver"),
        lambda seen: list(seen.values()) == ["up"] * count,
        within,
        "receivers in Prometheus",
    )
    return time.monotonic() - started


def _active(replica):
    return total(metrics_of(replica), "receiver_active_streams")
