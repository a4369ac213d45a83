"""Decoders at the receiver: their order, and their end if a stream gives up."""

import asyncio
import threading
import time
from contextlib import contextmanager

import pytest
from prometheus_client import CollectorRegistry

from receiver.metrics import Metrics
from receiver.stores import Original
from receiver.stores.memory import MemoryStore
from receiver.streams.file import Decoders
from receiver.streams.quotas import Quotas
from sonoduct import wire
from sonoduct.audio.decoding import DecodeOptions
from tests.support.sounds import write
from tests.support.waits import until

PATIENCE_S = 10


@pytest.fixture
def registry():
    return CollectorRegistry()


@pytest.fixture
async def decoders(registry):
    made = Decoders(
        DecodeOptions(), 1, 2, Quotas(10**9, MemoryStore(10), time.monotonic), Metrics(registry, ())
    )
    yield made
    made.close()


def spooling(path, waiting=lambda: None):
    """Return a function that makes a file for a decoder, after *waiting*."""

    @contextmanager
    def spool():
        waiting()
        yield Original(path, "digest", "sha256")

    return spool


async def test_a_file_is_decoded_in_blocks(tmp_path, decoders, monkeypatch):
    """The blocks have the file's frames, for any size of block."""
    monkeypatch.setattr("receiver.streams.file.BLOCK_BYTES", 1000)
    blocks = []
    async with decoders.open(
        spooling(write(tmp_path / "a.wav", 3000)), "digest", "owner", 1
    ) as opened:
        while data := await decoders.read(opened):
            blocks.append(data)

    assert ("soundfile", "sha256") == (opened.decoder.decoder, opened.sha256)
    assert 6000 == sum(map(len, blocks))
    assert max(map(len, blocks)) <= 1000


async def test_one_after_the_other(tmp_path, decoders):
    """A later file waits until an earlier decoder has ended."""
    path, order = write(tmp_path / "a.wav"), []

    async def use(name):
        async with decoders.open(spooling(path), "digest", "owner", 1):
            order.append(f"{name} begins")
            for _ in range(10):  # the other one could open its file here
                await asyncio.to_thread(path.read_bytes)
            order.append(f"{name} ends")

    await asyncio.gather(use("one"), use("two"))

    assert ["one begins", "one ends", "two begins", "two ends"] == order


@pytest.mark.parametrize("already_open", [False, True])
async def test_a_decoder_is_closed_if_its_stream_gives_up(
    tmp_path, decoders, monkeypatch, already_open
):
    """A stream that gives up while a file opens leaves no process, and no turn taken."""
    made, gate, entered, real = [], threading.Event(), threading.Event(), Decoders._open

    def wait():
        entered.set()
        gate.wait(PATIENCE_S)

    def opening(self, *args):
        made.append(real(self, *args))
        if already_open:
            wait()
        return made[-1]

    monkeypatch.setattr(Decoders, "_open", opening)
    path = write(tmp_path / "a.wav")

    async def use(spool):
        async with decoders.open(spool, "digest", "owner", 1) as opened:
            return await decoders.read(opened)

    first = asyncio.create_task(use(spooling(path, (lambda: None) if already_open else wait)))
    assert await asyncio.to_thread(entered.wait, PATIENCE_S)
    first.cancel()
    with pytest.raises(asyncio.CancelledError):
        await first
    second = asyncio.create_task(use(spooling(path)))
    gate.set()
    async with asyncio.timeout(PATIENCE_S):
        data = await second

    assert data
    assert len(made) == 1 + already_open
    await until(lambda: all(each.decoder._closed for each in made), PATIENCE_S)


async def test_a_file_that_is_another_one_is_not_decoded(tmp_path, decoders):
    """A file may be damaged after it was written: its digest is checked before decoding."""
    with pytest.raises(wire.StorageFailed, match="decoded digest, expected other"):
        async with decoders.open(spooling(write(tmp_path / "a.wav")), "other", "owner", 1):
            pass


async def test_a_disk_that_refuses_is_not_the_files_fault(tmp_path, decoders, registry):
    """The sender gets an error after which it tries again."""
    with pytest.raises(wire.StorageFailed, match="No such file"):
        async with decoders.open(spooling(tmp_path / "gone"), "digest", "owner", 1):
            pass

    assert 0 == registry.get_sample_value("receiver_decode_errors_total", {"decoder": "none"})


async def hold(decoders, path, owner, opened, release):
    """Open *path* for *owner*, tell *opened*, and keep the decoder until *release*."""
    async with decoders.open(spooling(path), "digest", owner, 1):
        opened.append(owner)
        await release.wait()


async def test_another_owner_need_not_wait(tmp_path, decoders):
    """While one owner's file is decoded and more of them wait, a file of another one begins."""
    path, opened, release = write(tmp_path / "a.wav"), [], asyncio.Event()
    async with asyncio.TaskGroup() as tasks:
        for owner in ("many", "many", "one"):
            tasks.create_task(hold(decoders, path, owner, opened, release))
        await until(lambda: len(opened) == 2, PATIENCE_S)
        assert ["many", "one"] == sorted(opened)
        release.set()

    assert 3 == len(opened)


async def test_too_many_files_wait(tmp_path, decoders):
    """The file that is refused can come again, and the others get their turn."""
    path, opened, release = write(tmp_path / "a.wav"), [], asyncio.Event()
    async with asyncio.TaskGroup() as tasks:
        for _ in range(3):  # one is decoded, two wait
            tasks.create_task(hold(decoders, path, "many", opened, release))
        await until(lambda: opened, PATIENCE_S)
        with pytest.raises(
            wire.Overloaded, match="^files that wait for a decoder 3, expected <= 2"
        ):
            await hold(decoders, path, "many", opened, release)
        release.set()
    await hold(decoders, path, "many", opened, release)

    assert ["many"] * 4 == opened


async def test_who_gives_up_while_waiting_gives_its_place_back(tmp_path, decoders):
    """A stream that waits may be cancelled, also in the moment in which its turn comes."""
    path, opened, release = write(tmp_path / "a.wav"), [], asyncio.Event()
    first = asyncio.create_task(hold(decoders, path, "a", opened, release))
    await until(lambda: opened, PATIENCE_S)
    waiting = [asyncio.create_task(hold(decoders, path, "a", opened, release)) for _ in range(2)]
    await asyncio.sleep(0)
    release.set()
    for each in waiting:
        each.cancel()
    await asyncio.gather(first, *waiting, return_exceptions=True)
    async with asyncio.timeout(PATIENCE_S):
        await hold(decoders, path, "a", opened, release)

    assert 0 == decoders._turns.waiting
    assert {} == decoders._granted
