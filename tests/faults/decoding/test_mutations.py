"""Two thousand files that were good once, through every decoder and on either side."""

import os
from pathlib import Path

import pytest

from decoding import DecodeError, Limits, Means, probe
from tests.decoding.mutations import BASES, make_bases, mutate
from tests.faults.processes.extent import either
from tests.integration.test_mutated_files import probe_and_send, require_agreement, write_mutations

pytestmark = pytest.mark.faults

BATCH = 100


@pytest.mark.parametrize("batch", range(either(3, 20)))
async def test_probe_and_send(tmp_path, batch):
    """The two programs outlive them, agree on each, and the receiver takes what is sent."""
    files = write_mutations(tmp_path, range(batch * BATCH, (batch + 1) * BATCH), BASES)
    both = await probe_and_send(tmp_path, files)

    assert BATCH == len(both)
    require_agreement(both)


def test_isolated(tmp_path):
    """As the receiver decodes them: no child outlives its file, no descriptor stays open."""
    bases = make_bases(tmp_path / "bases")
    means = Means(limits=Limits(wall_seconds=10, cpu_seconds=10))
    path, good = tmp_path / "a", 0
    before = os.listdir("/dev/fd")  # noqa: PTH208  # as many as before is what is asked
    for seed in range(either(300, 2000)):
        path.write_bytes(mutate(bases, seed)[1])
        try:
            good += bool(probe(path, means, isolated=True, count=True).frames)
        except DecodeError as exc:
            assert "\n" not in str(exc)

    assert good > either(90, 600)
    assert len(before) == len(os.listdir("/dev/fd"))  # noqa: PTH208
    children = Path(f"/proc/self/task/{os.getpid()}/children")
    assert not children.exists() or not children.read_text().split()
