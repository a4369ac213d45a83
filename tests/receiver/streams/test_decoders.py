"""Decoders at the receiver: their order, and their end if a stream gives up."""

import asyncio
import threading
from contextlib import contextmanager

import pytest
from prometheus_client import CollectorRegistry

from receiver.metrics import Metrics
from receiver.stores import Original
from receiver.streams.file import Decoders
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
    made = Decoders(DecodeOptions(), 1, Metrics(registry, ()))
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
    async with decoders.open(spooling(write(tmp_path / "a.wav", 3000)), "digest") as opened:
        while data := await decoders.read(opened):
            blocks.append(data)

    assert ("soundfile", "sha256") == (opened.decoder.decoder, opened.sha256)
    assert 6000 == sum(map(len, blocks))
    assert max(map(len, blocks)) <= 1000


async def test_one_after_the_other(tmp_path, decoders):
    """A later file waits until an earlier decoder has ended."""
    path, order = write(tmp_path / "a.wav"), []

    async def use(name):
        async with decoders.open(spooling(path), "digest"):
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
        async with decoders.open(spool, "digest") as opened:
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
        async with decoders.open(spooling(write(tmp_path / "a.wav")), "other"):
            pass


async def test_a_disk_that_refuses_is_not_the_files_fault(tmp_path, decoders, registry):
    """The sender gets an error after which it tries again."""
    with pytest.raises(wire.StorageFailed, match="No such file"):
        async with decoders.open(spooling(tmp_path / "gone"), "digest"):
            pass

    assert 0 == registry.get_sample_value("receiver_decode_errors_total", {"decoder": "none"})
