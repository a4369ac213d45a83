"""SIGTERM, as an engine sends it, ends a container's program in order and in time."""

import time

import pytest

from tests.containers.engine import docker, events, inspect
from tests.containers.load import assert_arrived, loaded
from tests.containers.replicas import await_streams

pytestmark = pytest.mark.containers

LIMIT_S = 25


def stopped(container):
    """Stop a container as compose does, and start it again; return seconds, code, last lines."""
    started = time.monotonic()
    try:
        docker("stop", container)
        seconds, state = time.monotonic() - started, inspect(container)["State"]
    finally:
        docker("start", container)
    return seconds, state["ExitCode"]


def test_gateway_and_prometheus_stop_well(system, tmp_path):
    """They stop during streams; cut streams resume, and none fails."""
    gateway = system.container("gateway")
    with loaded(tmp_path, system.url, seconds=20) as load:
        await_streams(system.containers("receiver"))
        with_streams = stopped(gateway)

        assert load.runs
        assert_arrived(load)
    alone = stopped(system.container("prometheus"))

    assert (0, 0) == (with_streams[1], alone[1])
    assert with_streams[0] < 10


@pytest.mark.parametrize("service", ["receiver", "sender"])
def test_stops_in_time(system, figure, service):
    """The program gets the signal through the reaper, and ends with 0."""
    container = next(iter(system.containers(service)))
    system.await_healthy(container)
    started = time.monotonic()
    try:
        docker("stop", "--time", 30, container)
        seconds = time.monotonic() - started
        figure(f"from SIGTERM to the end of the {service}: {seconds:.1f} s")
        state = inspect(container)["State"]
        last = events(container)[-1]["event"]
    finally:
        docker("start", container)
        system.await_healthy(container)

    assert (0, False) == (state["ExitCode"], state["OOMKilled"])
    assert f"{service}_stopped" == last
    assert seconds < LIMIT_S
