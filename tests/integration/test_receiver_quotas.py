"""Quotas of tokens and addresses, with real files and a real store."""

import asyncio

import numpy as np
import pytest
import soundfile

from receiver.stores.journal import Layout, PosixDisk
from receiver.stores.journal.census import Census
from sonoduct import wire
from tests.support.clients import connected
from tests.support.rawclient import running, sound, speaking
from tests.support.waits import recorded

ANNA = "anna-0123456789abcdef"


@pytest.fixture
def tokens(tmp_path):
    """Return a file with a token that may store 100,000 bytes."""
    path = tmp_path / "tokens.toml"
    path.write_text(f'[anna]\ntoken = "{ANNA}"\nstored_bytes = 100000\n')
    return str(path)


async def test_a_token_stores_no_more_than_its_quota(tmp_path, tokens):
    """A stream ends with 4413 where the quota does; the next one cannot begin; others can."""
    settings = {"tokens": tokens, "store": str(tmp_path / "store")}
    async with running(**settings, limits={"reserve_bytes": 0}) as receiver:
        async with speaking(receiver.url, token=ANNA) as client:
            await client.greet()
            await client.send(sound(20_000))
            receipt = await client.commit()
            assert client.outbound.hello.stream == receipt.stream
            client.start()
            await client.greet()
            await client.send(sound(5000))
            await client.chunk(sound(500))
            assert 4413 == (await client.closed())[0]
        async with speaking(receiver.url, token=ANNA, stream=receipt.stream) as again:
            assert wire.State.COMMITTED is (await again.greet()).state
        async with speaking(receiver.url, token=ANNA) as other:
            await other.say(other.outbound.greet())
            code, reason = await other.closed()

    assert 4413 == code
    assert "bytes stored for the token" in reason


async def test_recordings_are_counted_by_token(tmp_path, tokens):
    """A census reads each manifest once, and forgets recordings that are removed."""
    store = tmp_path / "store"
    async with running(tokens=tokens, store=str(store), limits={"reserve_bytes": 0}) as receiver:
        async with speaking(receiver.url, token=ANNA) as client:
            await client.greet()
            await client.send(sound(10_000))
            await client.commit()
        await recorded(store)
    census = Census(Layout(PosixDisk(), store))

    assert 40_000 < census.take()["anna"] < 60_000
    assert census.take() == census.take()
    for each in (store / "audio").iterdir():
        await asyncio.to_thread(each.unlink)
    assert {} == census.take()


async def test_a_small_file_of_an_address_cannot_fill_the_disk(tmp_path, monkeypatch):
    """Silence in FLAC is decoded to a thousand times its bytes, and is refused before that."""
    path = tmp_path / "silence.flac"
    soundfile.write(path, np.zeros(8_000_000, np.int16), 48_000)
    assert 1_000_000 > path.stat().st_size
    monkeypatch.setattr("receiver.stores.journal.disk.PosixDisk.free", lambda *_: 100_000_000)
    store = str(tmp_path / "store")
    async with running(store=store, limits={"reserve_bytes": 0}) as receiver:
        with pytest.raises(wire.TooLarge, match="of free space for files of one"):
            async with connected(receiver.url, encoding="file") as client:
                await client.send(path)


async def test_a_recording_far_larger_than_its_file_is_flac(tmp_path):
    """It is bit for bit the same, and takes little."""
    path = tmp_path / "silence.flac"
    samples = np.zeros(2_000_000, np.int16)
    samples[::500_000] = 7
    soundfile.write(path, samples, 48_000)
    store = tmp_path / "store"
    async with running(store=str(store), limits={"reserve_bytes": 0}) as receiver:
        async with connected(receiver.url, encoding="file") as client:
            await client.send(path)
        await recorded(store)
    (made,) = (store / "audio").glob("*.flac")

    assert made.stat().st_size < 100_000
    assert (samples == soundfile.read(made, dtype="int16")[0]).all()
