"""Acknowledgements, and the credit that they give."""

import asyncio
import time

import pytest

from receiver.connections import outbox, server
from receiver.stores.journal import committer
from sonoduct import wire
from tests.support.faulty import Faulty, Hang
from tests.support.rawclient import LEAST, SMALL, digest, running, sound, speaking
from tests.support.recorder import Recorder

MIB = 1024 * 1024


async def test_one_ack_covers_several_chunks():
    """Chunks that come within an interval share one ack; the last ack covers all of them."""
    payload = sound(4000)
    async with running() as receiver, speaking(receiver.url) as client:
        await client.greet()
        began = time.monotonic()
        for end in range(80, len(payload) + 80, 80):
            await client.send(payload[:end])
            await (await client.connection.ping())  # so that each chunk is taken on its own
        await client.acknowledged()
        took = time.monotonic() - began
        received = [ack.received for ack in client.all(wire.Ack)]
        await client.commit()

    assert 200 == client.outbound.chunks
    assert len(received) <= took / outbox.INTERVAL_S + 2
    assert sorted(received) == received
    assert 4000 == received[-1]


async def test_credit_returns_when_processors_have_taken_the_frames():
    """First `received` grows and the window shrinks; then the window is whole again."""
    with Hang() as hang:
        async with (
            running(Faulty("process", hang), limits=SMALL) as receiver,
            speaking(receiver.url, name="victim") as client,
        ):
            opened = await client.greet()
            await client.send(sound(5000), chunk_bytes=20_000)
            held = await client.until(wire.Ack, lambda ack: ack.received == 5000)
            hang.released.set()
            free = await client.until(wire.Ack, lambda ack: ack.window == opened.window)

    assert LEAST == opened.window
    assert opened.window - 20_032 == held.window
    assert (5000, 0) == (free.received, free.durable)


async def test_a_sender_that_runs_out_of_credit_does_not_wait_for_others(tmp_path, monkeypatch):
    """When half of a window has come, the store syncs it before the next group is due."""
    monkeypatch.setattr(committer, "GROUP_S", 3600)
    payload = sound(200_000)
    keeping = {"store": str(tmp_path / "store"), "limits": SMALL | {"reserve_bytes": 0}}
    async with running(**keeping) as receiver, speaking(receiver.url) as client:
        await client.greet()
        await client.send(payload, chunk_bytes=4000)
        receipt = await client.commit()

    assert (200_000, True) == (receipt.frames, receipt.durable)


async def test_a_window_is_smaller_without_a_store(tmp_path):
    """Without a store, the receiver need not wait for a disk and grants a smaller window."""
    windows = []
    for store in (str(tmp_path), "none"):
        async with running(store=store) as receiver, speaking(receiver.url) as client:
            windows.append((await client.greet()).window)

    assert [4 * MIB, 2 * MIB] == windows


async def test_a_stream_passes_through_the_smallest_window():
    """A stream longer than the smallest window passes, in chunks of any size that fits."""
    recorder, payload = Recorder(), sound(200_000)
    async with running(recorder, limits=SMALL) as receiver:
        for chunk_bytes in (LEAST, 20_000, 4000):
            async with speaking(receiver.url) as client:
                opened = await client.greet()
                await client.send(payload, chunk_bytes=chunk_bytes)
                receipt = await client.commit()

                assert digest(payload) == receipt.digest
                assert 2 * (opened.max_chunk + wire.HEADER_BYTES) <= opened.window

    assert [200_000] * 3 == [take.frames for take in recorder.takes]


async def test_the_last_byte_of_the_window_may_be_used():
    """A sender may fill its window exactly; the receiver refuses one frame more."""
    with Hang() as hang:
        async with (
            running(Faulty("process", hang), limits=SMALL) as receiver,
            speaking(receiver.url, name="victim") as client,
        ):
            opened = await client.greet()
            half = sound(opened.max_chunk // 4)
            for _ in range(2):
                await client.connection.send(client.outbound.chunk(len(half) // 4, half))
            full = await client.until(
                wire.Ack, lambda ack: ack.received == client.outbound.position
            )
            await client.chunk(sound(1))
            code, reason = await client.closed()
            hang.released.set()

    assert opened.window == client.outbound.sent_bytes
    assert 0 == full.window
    assert (4400, "bytes over the window 1024, expected 0") == (code, reason)


async def test_a_waiting_sender_hears_that_the_receiver_lives(monkeypatch):
    """While processors work, the receiver repeats its last ack, so that the sender waits."""
    monkeypatch.setattr(outbox, "KEEPALIVE_S", 0.05)
    monkeypatch.setattr(server, "CHECK_S", 0.02)
    with Hang() as hang:
        async with (
            running(Faulty("process", hang)) as receiver,
            speaking(receiver.url, name="victim") as client,
        ):
            await client.greet()
            await client.send(sound(100))
            first = await client.until(wire.Ack)
            again = [await client.until(wire.Ack) for _ in range(3)]
            hang.released.set()
            await client.commit()

    assert [first] * 3 == again


async def test_an_idle_stream_gets_no_repeated_ack(monkeypatch):
    """While no processor works, the receiver does not repeat an ack."""
    monkeypatch.setattr(outbox, "KEEPALIVE_S", 0.02)
    monkeypatch.setattr(server, "CHECK_S", 0.02)
    async with running() as receiver, speaking(receiver.url) as client:
        await client.greet()
        await client.send(sound(100))
        await client.until(wire.Ack, lambda ack: ack.received == 100)
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(0.2):
                await client.connection.recv()
        receipt = await client.commit()

    assert 100 == receipt.frames
