"""SIGTERM, as an engine sends it, ends a container's program well and in time."""

import time

import pytest

from tests.containers.engine import docker, events, inspect

pytestmark = pytest.mark.containers

LIMIT_S = 25


@pytest.mark.parametrize("service", ["receiver", "sender"])
def test_stops_in_time(system, figure, service):
    """The program itself gets the signal, through the reaper, and ends with 0."""
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
