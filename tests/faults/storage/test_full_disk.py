"""A receiver whose real disk fills, and gets room again."""

import asyncio
import os
import resource
import urllib.error
import urllib.request
from contextlib import suppress

import pytest

from receiver.stores.journal import Layout, PosixDisk
from receiver.stores.journal.reader import Part
from sonoduct import wire
from tests.faults.storage.mounts import small_disk
from tests.support.evidence import RATE, make, require_all
from tests.support.extent import either, spread
from tests.support.receivers import Receiver, serving
from tests.support.streams import Track, playing, progress, send_again
from tests.support.waits import until

pytestmark = pytest.mark.faults

MOST_S = 5.0
"""From room on the disk to an acknowledgement."""


def fill(disk, chance):
    """Leave at most a few kilobytes on *disk*; return the file that fills it."""
    filler = disk / "filler"
    with filler.open("wb", buffering=0) as file, suppress(OSError):
        while True:
            file.write(bytes(4096))
    os.truncate(filler, filler.stat().st_size - 4096 * chance.randrange(4))
    return filler


def ready(receiver):
    """Return whether *receiver* reports that it takes streams."""
    try:
        urllib.request.urlopen(f"http://127.0.0.1:{receiver.port}/readyz").close()
    except urllib.error.HTTPError as exc:
        exc.close()
        return False
    return True


def stuck(outbound):
    """Return whether the receiver keeps no more audio, or takes no stream."""
    if outbound.phase not in (wire.Phase.OPEN, wire.Phase.ENDING):
        return True
    behind = outbound.position - outbound.durable
    return behind > RATE // 2 or (behind and outbound.phase is wire.Phase.ENDING)


async def test_a_full_disk_stops_streams_until_there_is_room(tmp_path, chance, say):
    """Only audio on the disk is acknowledged, no stream fails, and all resume by themselves."""
    now, waits = asyncio.get_running_loop().time, []
    files = (make(tmp_path, number, 3 * RATE) for number in range(10_000))
    with small_disk(tmp_path / "disk", "8m") as disk:
        receiver = Receiver(disk / "store", "--reserve-bytes", "0")
        async with serving(receiver):
            tracks = [Track(receiver.url, files) for _ in range(3)]
            async with playing(tracks):
                for _ in range(either(4, 50)):
                    await progress(tracks)
                    filler = fill(disk, chance)
                    await until(lambda: not ready(receiver))
                    await until(lambda: all(stuck(each.transfer.outbound) for each in tracks))
                    assert not ready(receiver)
                    filler.unlink()
                    emptied = now()
                    waits += [at - emptied for at in await progress(tracks)]
            sent = [each for track in tracks for each in track.sent]
            await send_again(receiver.url, sent)
            await require_all(receiver.store, sent)
    say(f"{len(sent)} streams; to go on: {spread(waits)}")

    assert max(waits) < MOST_S


async def test_a_write_that_is_cut_short(tmp_path, chance, say):
    """A partly written chunk does not count; it is written again elsewhere."""
    count = either(5, 50)
    files = (make(tmp_path, number, 2 * RATE) for number in range(10_000))
    receiver = Receiver(tmp_path / "store", "--reserve-bytes", "0")
    async with serving(receiver):
        track = Track(receiver.url, files, realtime=True, speed=2, chunk_frames=800)
        async with playing([track]):
            for _ in range(count):
                await progress([track])
                await until(lambda: track.transfer.outbound.phase is wire.Phase.OPEN)
                transfer = track.transfer
                before, epoch = transfer.reconnects, transfer.outbound.epoch
                folder = (
                    Layout(PosixDisk(), receiver.store)
                    .journal(transfer.outbound.hello.stream)
                    .folder
                )
                segment = folder / Part(epoch, 0).name
                await until(segment.exists)  # with the first audio
                size = segment.stat().st_size
                limit = size + chance.randrange(1, 2000)
                resource.prlimit(receiver.pid, resource.RLIMIT_FSIZE, (limit, -1))
                await until(lambda t=transfer, b=before: t.reconnects > b)
                resource.prlimit(receiver.pid, resource.RLIMIT_FSIZE, (-1, -1))
                await progress([track])
        await send_again(receiver.url, track.sent)
        await require_all(receiver.store, track.sent)
    say(f"{count} writes cut short")
