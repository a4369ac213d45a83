"""`make roll` replaces each receiver by a new container, under load."""

import subprocess
import time

import pytest

from tests.containers.engine import ROOT, docker, inside
from tests.containers.load import assert_arrived, loaded
from tests.containers.replicas import await_streams, await_targets

pytestmark = pytest.mark.containers


def test_roll(system, tmp_path, figure):
    """
    Every stream moves, none fails, and there are as many replicas as before, all new.

    A replica that was killed earlier is still there, and is not taken for a new one.
    """
    docker("kill", min(system.settle(3)))
    old = system.containers("receiver")
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
        assert load.runs
        await_streams(new)
        assert set(load.files) == assert_arrived(load)
    one = min(new)
    checked = inside(one, "receiver", "verify", "--store", "/recordings")
    figure(f"rolling 2 replicas: {seconds:.1f} s")
    await_targets(system, 2, 15)

    assert old.isdisjoint(new)
    assert ": 0 damaged" in checked
