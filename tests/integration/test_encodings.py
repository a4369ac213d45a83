"""Every encoding, decoded on either side: cut and resumed at ten places, bit for bit."""

import random

import pytest

from receiver.inspect import verify_store
from receiver.stores.journal import Layout, PosixDisk
from tests.support.clients import connected
from tests.support.rawclient import running
from tests.support.recorder import Recorder
from tests.support.relay import Relay
from tests.support.sounds import same, samples, write
from tests.support.waits import recorded

FRAMES = 30_007
CUTS = 10


@pytest.mark.parametrize(
    ("encoding", "subtype"),
    [
        ("auto", "PCM_16"),
        ("auto", "PCM_24"),
        ("auto", "FLOAT"),
        ("flac", "PCM_16"),
        ("flac", "PCM_24"),
        ("file", "PCM_16"),
    ],
)
async def test_cut_at_ten_places(tmp_path, monkeypatch, encoding, subtype):
    """Each connection resumes where the previous one was cut, at any byte."""
    monkeypatch.setattr("sender.retry.FIRST_S", 0.01)
    monkeypatch.setattr("sender.retry.LAST_S", 0.02)
    path, store = write(tmp_path / "a.wav", FRAMES, 2, subtype), tmp_path / "store"
    chance, recorder = random.Random(encoding + subtype), Recorder()
    cuts = [chance.randrange(15_000) for _ in range(CUTS)]
    limits = {"reserve_bytes": 0, "chunk_bytes": 1200}
    async with (
        running(recorder, store=str(store), limits=limits) as receiver,
        Relay(receiver.port, cuts=cuts).listen() as proxy,
        connected(proxy.url, encoding=encoding) as client,
    ):
        receipt = await client.send(path)
        (recording,) = await recorded(store)

    (take,) = recorder.takes
    assert take.gapless
    assert same(samples(path), take.samples)
    assert same(samples(path), samples(recording))
    assert (FRAMES, CUTS + 1) == (receipt.frames, proxy.accepted)
    assert 0 == verify_store(Layout(PosixDisk(), store))
