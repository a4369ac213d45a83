"""A machine that loses its power while streams come in: unsynced data is lost."""

import asyncio
import itertools
import subprocess
from contextlib import contextmanager
from pathlib import Path

import pytest

from receiver.stores.journal import Layout, PosixDisk, committer
from receiver.stores.journal.fence import claim
from sender.sources.file import AudioFile
from sonoduct.wire import RecordKind
from tests.faults.storage.mounts import make_image, mounted
from tests.support.evidence import RATE, make, manifests, require_all
from tests.support.extent import either
from tests.support.journal import finish
from tests.support.receivers import Receiver, serving
from tests.support.sounds import same, samples
from tests.support.streams import Track, playing, progress, send_again

pytestmark = pytest.mark.faults

LATE = "loop,commit=300"
"""The file system writes nothing of its own accord while the test runs."""

QUICK = {"realtime": True, "speed": 10, "chunk_frames": 800}
MANY = QUICK | {"speed": 2}


def sounds(folder, chance):
    """Yield files of half a second and more."""
    for number in itertools.count():
        yield make(folder, number, int(chance.uniform(4, 15) * RATE))


@contextmanager
def power_cut(image, receiver, folder):
    """Yield a mounted copy of *image* at this moment; then resume *receiver*."""
    receiver.pause()
    copy = folder.with_suffix(".img")
    subprocess.run(("cp", "--sparse=always", image, copy), check=True, timeout=60)  # noqa: S607
    try:
        with mounted(folder, copy, "-o", "loop") as disk:
            yield disk / "store"
    finally:
        receiver.resume()
        copy.unlink()


def require_recorded(store, sent):
    """Require that each stream of *sent* has its recording, or a complete journal."""
    layout = Layout(PosixDisk(), store)
    for _, receipt in sent:
        finish(layout.disk, layout, layout.journal(receipt.stream).folder)
    found = manifests(store)
    for path, receipt in sent:
        recording = store / "audio" / found[receipt.stream]["recording"]

        assert same(samples(path), samples(recording)), path


def require_kept(store, transfer):
    """Require that a claim on a stream continues behind every promise to its sender."""
    outbound = transfer.outbound
    journal = Layout(PosixDisk(), store).journal(outbound.hello.stream)
    granted = claim(journal, outbound.hello, takeover_s=10)

    assert granted.offset >= outbound.durable, "acknowledged, and gone"
    if granted.writer is None:
        return  # complete: looked at with its recording
    granted.writer.close()
    records = (each for each in journal.records())
    audio = b"".join(each.payload for each in records if each.header.kind == RecordKind.AUDIO)
    source = AudioFile(Path(transfer.source.name))
    expected = source.read(0, granted.offset)
    source.close()

    assert audio == expected


@pytest.mark.parametrize("streams", [4, committer.MANY + 4], ids=["few", "many"])
async def test_acknowledged_audio_survives_a_power_cut(tmp_path, chance, say, streams):
    """At any moment, the disk alone holds every durable sample, and every stream with a receipt."""
    many = streams >= committer.MANY  # then one call makes all of them durable
    settings, count = (MANY, either(4, 40)) if many else (QUICK, either(10, 200))
    image, files = tmp_path / "disk.img", sounds(tmp_path, chance)
    make_image(image, either(1, 4) * 2**30)
    with mounted(tmp_path / "disk", image, "-o", LATE) as disk:
        receiver = Receiver(disk / "store", "--reserve-bytes", "0")
        async with serving(receiver):
            tracks = [Track(receiver.url, files, **settings) for _ in range(streams)]
            async with playing(tracks):
                for number in range(count):
                    await progress(tracks)
                    await asyncio.sleep(chance.uniform(0, 0.3))  # any moment
                    with power_cut(image, receiver, tmp_path / f"cut{number}") as store:
                        for track in tracks:
                            require_recorded(store, track.sent[-10:])
                            require_kept(store, track.transfer)
            sent = [each for track in tracks for each in track.sent]
            await send_again(receiver.url, sent)
            await require_all(receiver.store, sent)
    say(f"{count} power cuts, {len(sent)} streams")
