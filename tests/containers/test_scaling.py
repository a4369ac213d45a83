"""Replicas come, go and die under 60 streams in real time, and no stream fails."""

import asyncio
import time

import pytest

from sender import Settings, connect
from tests.containers.engine import docker, inspect
from tests.containers.load import assert_arrived, loaded
from tests.containers.replicas import await_streams, await_targets, homes, of_each, opened
from tests.support.sounds import write

pytestmark = pytest.mark.containers

COMING_S = 10
"""From the end of `make scale` until a replica serves, and until Prometheus shows it."""

GOING_S = 15


@pytest.fixture(name="alone", scope="module", autouse=True)
def _alone(system):
    """Stop the system's own sender: its idle connections would count as load."""
    system.compose("stop", "sender")
    yield
    system.compose("start", "sender")


async def served(system, replicas, folder):
    """Send short streams until each of *replicas* has had one; return the seconds."""
    started = time.monotonic()
    waiting, number = set(replicas), 0
    while waiting:
        async with connect(system.url, Settings(patience=COMING_S)) as client:
            await client.send(write(folder / f"probe{number}.wav", 1000 + number))
        number += 1
        seen = of_each(waiting, opened)
        waiting = {replica for replica in waiting if not seen[replica]}
        assert time.monotonic() - started < COMING_S, f"no stream for {waiting}"
    return time.monotonic() - started


async def test_more_replicas(system, tmp_path, figure):
    """Within 10 s new replicas get streams and Prometheus shows them; old streams do not notice."""
    (old,) = system.settle(1)
    gateway = inspect(system.container("gateway"))["State"]["StartedAt"]
    with loaded(tmp_path, system.url, seconds=20) as load:
        await_streams({old})
        system.scale(4)
        new = system.containers("receiver") - {old}
        shown, seconds = await asyncio.gather(
            asyncio.to_thread(await_targets, system, 4, COMING_S), served(system, new, tmp_path)
        )

        assert 3 == len(new)
        assert gateway == inspect(system.container("gateway"))["State"]["StartedAt"], "no reload"
        assert load.runs
        assert set() == assert_arrived(load)
    figure(
        f"from 1 to 4 replicas: served by all after {seconds:.1f} s, in Prometheus {shown:.1f} s"
    )


def test_fewer_replicas(system, tmp_path, figure):
    """Streams are evenly spread; those on stopped replicas resume elsewhere, the others stay."""
    replicas = system.settle(4)
    with loaded(tmp_path, system.url, seconds=25) as load:
        spread = await_streams(replicas)
        home = homes(replicas, load)
        system.scale(2)
        gone = replicas - system.containers("receiver")
        seconds = await_targets(system, 2, GOING_S)

        assert set(spread.values()) <= {14, 15, 16}
        assert 2 == len(gone)
        assert load.runs
        assert set().union(*(home[each] for each in gone)) == assert_arrived(load)
    figure(f"60 streams over 4 replicas: {sorted(map(int, spread.values()))}")
    figure(f"from 4 to 2 replicas: gone from Prometheus after {seconds:.1f} s")


def test_killed_replica(system, tmp_path, figure):
    """Streams of a killed replica resume at others; no other stream loses its connection."""
    replicas = system.settle(3)
    with loaded(tmp_path, system.url, seconds=20) as load:
        await_streams(replicas)
        home = homes(replicas, load)
        victim = min(replicas)
        docker("kill", victim)
        started = time.monotonic()
        await_streams(replicas - {victim})
        seconds = time.monotonic() - started

        assert (137, False) == tuple(
            inspect(victim)["State"][key] for key in ("ExitCode", "Running")
        )
        assert load.runs
        assert 20 == pytest.approx(len(home[victim]), abs=1)
        assert home[victim] == assert_arrived(load) == load.retried()
    figure(f"from a replica's death until its streams went on: {seconds:.1f} s")
