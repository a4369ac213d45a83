"""Files that look alike: the sender never takes one for another, and never repeats a known one."""

import os

import numpy as np
import pytest
import soundfile
from prometheus_client import CollectorRegistry

from receiver.stores.journal import Layout, PosixDisk
from sender.client import Client
from sender.ledger import open_ledger
from sender.metrics import Metrics
from sender.opening import open_file
from sender.settings import Settings
from sonoduct import wire
from tests.support.clients import connected
from tests.support.rawclient import running, speaking
from tests.support.sounds import RATE

FRAMES = 400_000
LONG_AGO = 1_700_000_000_000_000_000
ROOM = {"reserve_bytes": 0}


def twin(path, seed, frames=FRAMES):
    """Write a file with its siblings' path, size, time, beginning, middle and end."""
    sound = np.zeros(frames, np.int16)
    sound[frames // 4 : frames // 4 + 1000] = np.random.default_rng(seed).integers(-9, 9, 1000)
    soundfile.write(path, sound, RATE, "PCM_16")
    os.utime(path, ns=(LONG_AGO, LONG_AGO))
    return path


def recordings(store):
    """Return the recordings in *store*, sorted by their bytes."""
    return sorted(
        soundfile.read(each, dtype="int16")[0].tobytes()
        for each in Layout(PosixDisk(), store).audio.glob("*.wav")
    )


def wanted(path):
    return soundfile.read(path, dtype="int16")[0].tobytes()


@pytest.mark.parametrize("encoding", ["auto", "flac", "file"])
async def test_a_twin_is_another_stream(tmp_path, encoding, capsys):
    """The second file gets an id of its own, the log has one line, and both are recorded."""
    path, store = tmp_path / "20261127_080000.WAV", tmp_path / "store"
    truths = []
    async with running(store=str(store), limits=ROOM) as receiver:
        for seed in (1, 2, 1):
            truths.append(wanted(twin(path, seed)))
            async with connected(receiver.url, encoding=encoding) as client:
                await client.send(path)

    assert sorted(set(truths)) == recordings(store)
    assert 1 == capsys.readouterr().out.count("stream_renamed")


async def test_a_twin_is_known_the_next_time(tmp_path):
    """The receiver knows the twin by its own id; with a ledger, the sender does not read it."""
    path, results = tmp_path / "a.wav", []
    async with running() as receiver:
        for seed in (1, 2):
            twin(path, seed)
            async with connected(receiver.url) as client:
                results.append(await client.send(path))
        registry = CollectorRegistry()
        async with connected(receiver.url, registry=registry) as client:
            again = await client.send(path)

    assert results[1] == again != results[0]
    assert 1 == registry.get_sample_value("sender_streams_total", {"result": "known"})


async def test_one_frame_under_a_files_id(tmp_path):
    """A stranger's stream under a file's id does not keep the file from being sent."""
    path = twin(tmp_path / "a.wav", 1)
    source = open_file(path, Settings())
    async with running() as receiver:
        async with speaking(receiver.url, stream=source.stream, format_=source.format) as other:
            await other.greet()
            await other.send(bytes(2))
            await other.commit()
        async with connected(receiver.url) as client:
            receipt = await client.send(path)
    source.close()

    assert (FRAMES, True) == (receipt.units, receipt.stream != source.stream)


async def test_trust_skips_the_proof(tmp_path):
    """With --trust-known, the sender believes the receiver without a proof."""
    path = twin(tmp_path / "a.wav", 1)
    async with running() as receiver:
        async with connected(receiver.url) as client:
            first = await client.send(path)
        twin(path, 2)
        async with connected(receiver.url, trust_known=True) as client:
            second = await client.send(path)

    assert first == second


@pytest.mark.parametrize("frames", [1000, FRAMES, FRAMES + 1000], ids=["part", "all", "more"])
async def test_another_file_was_cut_halfway(tmp_path, frames):
    """If a stream starts with another file's samples, the sender leaves it: both files arrive."""
    path = twin(tmp_path / "a.wav", 1)
    source = open_file(path, Settings())
    foreign = bytes(range(1, 201)) * (frames // 100)
    async with running() as receiver:
        async with speaking(receiver.url, stream=source.stream, format_=source.format) as other:
            await other.greet()
            await other.send(foreign)
            await other.acknowledged()
            other.abort()
        await receiver.until("receiver_connections_total", bool, dialect="sonoduct", result="lost")
        async with connected(receiver.url) as client:
            receipt = await client.send(path)
    source.close()

    assert FRAMES == receipt.units
    assert source.stream != receipt.stream


@pytest.mark.parametrize("end", ["cancelled", "other format"])
async def test_an_id_that_is_spoilt(tmp_path, end):
    """If a file's id was cancelled, or has another format there, the file is still sent."""
    path = twin(tmp_path / "a.wav", 1)
    source = open_file(path, Settings())
    form = source.format
    if end == "other format":
        form = wire.Format(samplerate=8000, channels=2, encoding=form.encoding)
    async with running() as receiver:
        async with speaking(receiver.url, stream=source.stream, format_=form) as other:
            await other.greet()
            await other.send(bytes(4))
            if end == "cancelled":
                await other.say(other.outbound.cancel())
                await other.until(wire.Cancelled)
            else:
                await other.acknowledged()
        async with connected(receiver.url) as client:
            receipt = await client.send(path)
    source.close()

    assert (FRAMES, True) == (receipt.units, receipt.stream != source.stream)


@pytest.mark.parametrize("encoding", ["auto", "file"])
async def test_a_ledger_saves_reading(tmp_path, encoding, monkeypatch):
    """A record in the ledger proves an unchanged file; a changed file is read again."""
    path, store = twin(tmp_path / "a.wav", 1), tmp_path / "store"
    later = path.stat().st_ctime_ns + 10_000_000_000
    monkeypatch.setattr("sender.sources.fingerprint.time.time_ns", lambda: later)

    async def send():
        """Send the file; return whether it was known, and how often it was read."""
        registry = CollectorRegistry()
        settings = Settings(to=receiver.url, encoding=encoding)
        with open_ledger(str(tmp_path / "receipts.db"), 10) as ledger:
            client = Client(settings, Metrics(registry, "test"), "one", ledger)
            receipt = await client.send(path)
            await client.close()
        reads = sum(
            sample.value
            for family in registry.collect()
            for sample in family.samples
            if sample.name == "sender_decode_duration_seconds_count"
        )
        known = registry.get_sample_value("sender_streams_total", {"result": "known"})
        return receipt.digest, bool(known), reads

    async with running(store=str(store), limits=ROOM) as receiver:
        first, second = await send(), await send()
        twin(path, 2)
        third, fourth = await send(), await send()

    assert first[1] is False
    assert (first[0], True, 0) == second
    assert third[0] != first[0]
    assert third[1] is False
    assert (third[0], True, 0) == fourth
