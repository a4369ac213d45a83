"""`make roll` replaces each receiver by a new container, under load."""

import subprocess
import time

import pytest

from tests.containers.engine import ROOT, docker, inside, inspect
from tests.containers.load import assert_arrived, loaded
from tests.containers.metrics import metrics_of
from tests.containers.replicas import await_streams, await_targets, of_each

pytestmark = pytest.mark.containers


def named(container):
    """Return the name of a container."""
    return inspect(container)["Name"].strip("/")


def replica(container):
    """Return the name under which a receiver's metrics are."""
    (only,) = {sample.labels["replica"] for sample in metrics_of(container)}
    return only


def test_a_roll_that_fails(system):
    """If the new replica does not become healthy, it goes, and the old ones have their names."""
    old = {named(each): each for each in system.settle(2)}
    rolled = subprocess.run(
        [ROOT / "deploy" / "roll.sh"],
        capture_output=True,
        text=True,
        timeout=120,
        env={**system.env, "ROLL_TIMEOUT": "0"},
    )

    assert 1 == rolled.returncode
    assert "is not healthy after 0 s" in rolled.stderr
    assert "stopped early" in rolled.stderr
    assert old == {named(each): each for each in system.containers("receiver")}


def test_roll(system, tmp_path, figure):
    """
    Every stream moves, none fails, and there are as many replicas as before, all new.

    A new replica has the name of the one that it replaced, as a container and in metrics.

    A replica that was killed earlier is still there, and is not taken for a new one.
    """
    docker("kill", min(system.settle(3)))
    old = system.containers("receiver")
    names = {named(each) for each in old}
    left = min(old)  # as an earlier roll that was killed would have left it
    docker("rename", left, f"{named(left)}-leaving")
    with loaded(tmp_path, system.url, seconds=40) as load:
        await_streams(old)
        started = time.monotonic()
        rolled = subprocess.run(
            [ROOT / "deploy" / "roll.sh"],
            capture_output=True,
            text=True,
            timeout=120,
            env=system.env,
        )
        seconds = time.monotonic() - started
        new = system.containers("receiver")

        assert 0 == rolled.returncode, rolled.stderr
        assert 2 == len(new - old) == len(new)
        assert names == {named(each) for each in new}
        assert names == set(of_each(new, replica).values())
        assert load.runs
        await_streams(new)
        assert set(load.files) == assert_arrived(load)
    one = min(new)
    checked = inside(one, "receiver", "verify", "--store", "/recordings")
    figure(f"rolling 2 replicas: {seconds:.1f} s")
    await_targets(system, 2, 15)

    assert old.isdisjoint(new)
    assert ": 0 damaged" in checked
