"""Disks that cannot hold a store: the receiver reports the reason, and does not start."""

import asyncio
import json
import urllib.error
import urllib.request
from contextlib import suppress

import pytest

from tests.faults.storage.mounts import few_files, make_read_only, small_disk
from tests.support.commands import COMMANDS, started
from tests.support.rawclient import running, sound, speaking

pytestmark = pytest.mark.faults


async def said(store, *options):
    """Run `receiver serve`; return the exit code, and the logged reason."""
    command = ("serve", "--host", "127.0.0.1", "--port", "0", "--metrics-port", "0", *options)
    async with started(COMMANDS / "receiver", *command, "--store", store) as program:
        code = await program.ended()
    return code, json.loads(program.errors[-1])["reason"]


async def test_a_disk_that_is_smaller_than_the_reserve(tmp_path):
    """The receiver would never have room for a stream."""
    with small_disk(tmp_path / "disk", "8m") as disk:
        code, reason = await said(disk / "store")
        assert [] == [each.name for each in disk.rglob("*") if each.is_file()]

    assert (1, True) == (code, f"bytes of its disk {8 * 2**20}, expected more than" in reason)


async def test_a_disk_that_is_read_only(tmp_path):
    """The receiver reports it, with and without a store on the disk."""
    for made in (False, True):
        with small_disk(tmp_path / "disk", "8m") as disk:
            if made:
                (disk / "store.json").write_text('{"version":1}')
                (disk / "streams").mkdir()
            make_read_only(disk)
            code, reason = await said(disk, "--reserve-bytes", "0")

        assert (1, True) == (code, "cannot be written to by this user, or at all" in reason)


async def health(port):
    """Return the answer of /readyz."""

    def ask():
        try:
            with urllib.request.urlopen(f"http://127.0.0.1:{port}/readyz") as answer:
                return answer.status
        except urllib.error.HTTPError as exc:
            exc.close()
            return exc.code

    return await asyncio.to_thread(ask)


async def refused(url):
    """Return the close code of a new stream."""
    async with speaking(url) as client:
        await client.greet()
        return (await client.closed())[0]


async def transmitted(url):
    """Send a whole stream; return its receipt."""
    async with speaking(url) as client:
        await client.greet()
        await client.send(sound(1000))
        return await client.commit()


@pytest.mark.parametrize("trouble", ["read-only", "no files"])
async def test_a_disk_that_refuses_new_files(tmp_path, trouble):
    """The receiver is not ready and takes no stream until the disk takes files again."""
    with few_files(tmp_path / "disk", 2000) as disk:
        async with running(store=str(disk), limits={"reserve_bytes": 0}) as receiver:
            before = await health(receiver.port)
            fillers = []
            if trouble == "read-only":
                make_read_only(disk)
            else:
                with suppress(OSError):
                    for number in range(2000):
                        fillers.append(disk / f"filler{number}")
                        fillers[-1].touch()
            during, code = await health(receiver.port), await refused(receiver.url)
            make_read_only(disk, "rw")
            for each in fillers:
                each.unlink(missing_ok=True)
            after, receipt = await health(receiver.port), await transmitted(receiver.url)

    assert (200, 404, 200) == (before, during, after)
    assert 4507 == code
    assert 1000 == receipt.frames
