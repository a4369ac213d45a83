"""Faults of connections and receivers: each frame reaches a processor exactly once."""

import asyncio
from contextlib import AsyncExitStack

import pytest
import soundfile
from prometheus_client import CollectorRegistry

from sender import UnreachableError
from sender import websocket as link
from sender.sources.file import AudioFile
from sonoduct import wire
from tests.support.clients import connected
from tests.support.recorder import SMALL, Recorder, listening
from tests.support.relay import Relay, free_port
from tests.support.sounds import noise, same, samples, write

EVERYWHERE = (
    *(0, 9_999),  # before the handshake; in the middle of a chunk
    *(1, 20_000),
    *(150, 65_000),  # within the handshake
    *(420, 70_001),  # within hello
    *(500, 131_313),
    *(600, 131_320),
    *(2_000, 131_400),  # within the first chunk
)


def reconnects(registry):
    """Return how often a sender connected again, by reason; a reason without an event is absent."""
    counts = {}
    for family in registry.collect():
        for sample in family.samples:
            if sample.name == "sender_reconnects_total" and sample.value:
                counts[sample.labels["reason"]] = sample.value
    return counts


async def test_cuts_at_fourteen_places(tmp_path):
    """The sender resumes a stream that is cut at 14 different bytes, without loss."""
    path = write(tmp_path / "a.wav", 300_007, 2, "PCM_24")
    recorder, registry = Recorder(), CollectorRegistry()
    async with (
        listening(recorder) as running,
        Relay(running.port, cuts=EVERYWHERE).listen() as proxy,
        connected(proxy.url, registry=registry, chunk_frames=301) as client,
    ):
        receipt = await client.send(path)

    (take,) = recorder.takes
    assert take.gapless
    assert same(samples(path), take.samples)
    assert 300_007 == receipt.frames
    assert len(EVERYWHERE) + 1 == proxy.accepted
    assert len(EVERYWHERE) == sum(reconnects(registry).values())
    assert {"lost", "refused"} == set(reconnects(registry))
    assert registry.get_sample_value("sender_resent_bytes_total") > 0


async def test_cut_at_the_end(tmp_path):
    """The connection may break after the last chunk: before eos, within it, before the receipt."""
    recorder = Recorder()
    async with listening(recorder) as running, Relay(running.port).listen() as proxy:
        async with connected(proxy.url) as client:
            await client.send(write(tmp_path / "0.wav", 10_000))
            whole = proxy.passed  # the same for each file like it
        for number, cut in enumerate((whole - 120, whole - 60, whole - 1, whole), 1):
            proxy.cuts.append(cut)
            path = write(tmp_path / f"{number}.wav", 10_000)
            async with connected(proxy.url) as client:
                receipt = await client.send(path)

            assert 10_000 == receipt.frames
            assert same(samples(path), recorder.takes[number].samples)
            assert 1 + 2 * number == proxy.accepted


async def test_resets(tmp_path):
    """The sender also tries again if a connection is reset at once."""
    path = write(tmp_path / "a.wav", 100_000)
    recorder, registry = Recorder(), CollectorRegistry()
    async with (
        listening(recorder) as running,
        Relay(running.port, cuts=[50_000]).listen() as proxy,
        connected(proxy.url, registry=registry) as client,
    ):
        proxy.refusing = True
        sending = asyncio.create_task(client.send(path))
        await proxy.until(lambda: proxy.accepted == 3)
        proxy.refusing = False
        await sending

    assert same(samples(path), recorder.takes[0].samples)
    assert reconnects(registry)["refused"] >= 2


@pytest.mark.parametrize("name", ["tone.mp3", "tone.ogg", "tone.flac", "tone.wav"])
async def test_decoders_give_the_same_samples_after_a_cut(tmp_path, name):
    """The samples are the same, also in formats whose frames depend on one another."""
    path = tmp_path / name
    soundfile.write(path, 0.3 * noise(120_000, 2), 44_100)
    expected = samples(path)
    recorder = Recorder()
    async with (
        listening(recorder) as running,
        Relay(running.port, cuts=[200_000, 150_000]).listen() as proxy,
        connected(proxy.url, realtime=True, speed=1e6) as client,
    ):
        receipt = await client.send(path)

    assert 3 == proxy.accepted
    assert same(expected, recorder.takes[0].samples)
    assert len(expected) == receipt.frames


async def test_silence_is_a_lost_connection(tmp_path, monkeypatch):
    """The sender gives a silent connection up, and opens another one."""
    monkeypatch.setattr(link, "CLOSE_TIMEOUT_S", 0.1)
    path = write(tmp_path / "a.wav", 400_000)
    recorder, registry = Recorder(), CollectorRegistry()
    async with (
        listening(recorder, **SMALL) as running,
        Relay(running.port).listen() as proxy,
        connected(proxy.url, registry=registry, silence_timeout=0.3) as client,
    ):
        sending = asyncio.create_task(client.send(path))
        await proxy.until(lambda: proxy.passed > 100_000)
        proxy.flowing.clear()
        await proxy.until(lambda: proxy.accepted == 2)
        proxy.flowing.set()
        await sending

    assert same(samples(path), recorder.takes[0].samples)
    assert reconnects(registry)["lost"] >= 1


async def test_endless_silence_fails_after_patience(tmp_path, monkeypatch):
    """The error says which answer is missing."""
    monkeypatch.setattr(link, "CLOSE_TIMEOUT_S", 0.1)
    path = write(tmp_path / "a.wav", 400_000)
    recorder = Recorder()
    async with (
        listening(recorder, **SMALL) as running,
        Relay(running.port).listen() as proxy,
        connected(proxy.url, silence_timeout=0.1, patience=0.3) as client,
    ):
        recorder.gate.clear()
        with pytest.raises(UnreachableError) as raised:
            await client.send(path)

    assert str(raised.value).startswith(f"{proxy.url}: no progress for ")
    assert str(raised.value).endswith("last: connection closed with 1006 no answer for 0.1 s")


async def test_receiver_that_comes_later(tmp_path):
    """The sender waits until a receiver starts."""
    path = write(tmp_path / "a.wav")
    recorder, port = Recorder(), free_port()
    async with (
        Relay(port).listen() as proxy,
        connected(proxy.url) as client,
    ):
        sending = asyncio.create_task(client.send(path))
        await proxy.until(lambda: proxy.accepted == 2)
        async with listening(recorder, port):
            receipt = await sending

    assert same(samples(path), recorder.takes[0].samples)
    assert 16_000 == receipt.frames


@pytest.mark.parametrize("how", ["refused", "silent"])
async def test_receiver_that_never_comes(tmp_path, how):
    """After `connect_timeout`, the error has the address, the time and the reason."""
    path = write(tmp_path / "a.wav")
    now = asyncio.get_running_loop().time
    async with Relay(1).listen() as proxy:
        proxy.flowing.clear()
        url = proxy.url if how == "silent" else f"ws://127.0.0.1:{free_port()}"
        async with connected(url, connect_timeout=0.2) as client:
            started = now()
            with pytest.raises(UnreachableError) as raised:
                await client.send(path)

    assert 0.2 <= now() - started < 2
    assert str(raised.value).startswith(f"{url}: no progress for 0.2 s, expected some within 0.2 s")
    assert not str(raised.value).endswith("last: ")


@pytest.mark.parametrize("ack", ["received", "durable"])
async def test_receiver_that_is_drained(tmp_path, ack):
    """The next receiver on the port has no frame, and gets the stream from its start."""
    path = write(tmp_path / "a.wav", 48_000)
    first, second, registry = Recorder(), Recorder(), CollectorRegistry()
    port = free_port()
    async with (
        AsyncExitStack() as life,
        connected(
            f"ws://127.0.0.1:{port}", registry=registry, realtime=True, speed=6, ack=ack
        ) as client,
    ):
        running = await life.enter_async_context(listening(first, port))
        sending = asyncio.create_task(client.send(path))
        await first.until(lambda: first.takes and first.takes[0].frames >= 12_000)
        await running.drain()
        await life.aclose()
        async with listening(second, port):
            receipt = await sending

    (before,), (after,) = first.takes, second.takes
    assert before.gapless
    assert same(samples(path)[: before.frames], before.samples)
    assert same(samples(path), after.samples)
    assert 48_000 == receipt.frames
    assert 1 == reconnects(registry)["drained"]
    assert registry.get_sample_value("sender_resent_bytes_total") >= 2 * before.frames


async def test_receiver_that_dies(tmp_path):
    """If a receiver ends without a goodbye, the next one gets the stream from its start."""
    path = write(tmp_path / "a.wav", 200_000)
    first, second = Recorder(), Recorder()
    async with listening(first, **SMALL) as old, listening(second) as new:
        first.gate.clear()
        async with (
            Relay(old.port).listen() as proxy,
            connected(proxy.url, chunk_frames=999) as client,
        ):
            transfer = client.transfer(source := AudioFile(path))
            sending = asyncio.create_task(client.carry(transfer))
            await proxy.until(lambda: proxy.passed > 64_000)  # it waits for credit
            proxy.target = new.port
            proxy.cut()
            receipt = await sending
            source.close()

    assert same(samples(path), second.takes[0].samples)
    assert 200_000 == receipt.frames
    assert 1 == transfer.reconnects
    assert 0 < transfer.outbound.resent_bytes < transfer.outbound.sent_bytes


@pytest.mark.parametrize("frames", [100, 300_000])
async def test_damage_on_the_way_heals(tmp_path, frames):
    """The sender repeats a chunk with a wrong checksum, the first of many or the only one."""
    path = write(tmp_path / "a.wav", frames, subtype="FLOAT")
    recorder, registry = Recorder(), CollectorRegistry()
    async with (
        listening(recorder) as running,
        Relay(running.port, flips=[850]).listen() as proxy,
        connected(proxy.url, registry=registry) as client,
    ):
        receipt = await client.send(path)

    assert same(samples(path), recorder.takes[0].samples)
    assert frames == receipt.frames
    assert {"error": 1} == reconnects(registry)


async def test_damage_that_stays_is_an_error(tmp_path):
    """The same damage twice in a row is an error."""
    path = write(tmp_path / "a.wav", 300_000)
    async with (
        listening(Recorder()) as running,
        Relay(running.port, flips=[850, 850, None]).listen() as proxy,
        connected(proxy.url) as client,
    ):
        with pytest.raises(wire.BadChecksum):
            await client.send(path)

    assert 2 == proxy.accepted
