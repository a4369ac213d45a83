"""Disks that cannot hold a store: the receiver says so, and does not start."""

import json

import pytest

from tests.faults.storage.mounts import make_read_only, small_disk
from tests.integration.commands import COMMANDS, started

pytestmark = pytest.mark.faults


async def said(store, *options):
    """Run `receiver serve`; return the exit code, and the reason that it gives."""
    command = ("serve", "--host", "127.0.0.1", "--port", "0", "--metrics-port", "0", *options)
    async with started(COMMANDS / "receiver", *command, "--store", store) as program:
        code = await program.ended()
    return code, json.loads(program.errors[-1])["reason"]


async def test_a_disk_that_is_smaller_than_the_reserve(tmp_path):
    """It would never have room for a stream."""
    with small_disk(tmp_path / "disk", "8m") as disk:
        code, reason = await said(disk / "store")
        assert [] == [each.name for each in disk.rglob("*") if each.is_file()]

    assert (1, True) == (code, f"bytes of its disk {8 * 2**20}, expected more than" in reason)


async def test_a_disk_that_is_read_only(tmp_path):
    """Whether or not it holds a store already."""
    for made in (False, True):
        with small_disk(tmp_path / "disk", "8m") as disk:
            if made:
                (disk / "store.json").write_text('{"version":1}')
                (disk / "streams").mkdir()
            make_read_only(disk)
            code, reason = await said(disk, "--reserve-bytes", "0")

        assert (1, True) == (code, "cannot be written to by this user, or at all" in reason)
