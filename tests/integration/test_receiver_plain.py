"""Clients without our protocol: they send float32 samples, then Done."""

import asyncio
import json
from contextlib import asynccontextmanager

import numpy as np
import pytest
from websockets.asyncio.client import connect
from websockets.exceptions import ConnectionClosed

from receiver.connections import server
from sonoduct import wire
from tests.support.rawclient import LEAST, PATIENCE_S, SMALL, digest, running, sound
from tests.support.recorder import Recorder

MONO = wire.Format(samplerate=16000, channels=1, encoding=wire.Encoding.F32LE)
STEREO = wire.Format(samplerate=44100, channels=2, encoding=wire.Encoding.F32LE)
MIB = 1024 * 1024


@asynccontextmanager
async def plainly(receiver, query="", **how):
    """Connect as the tutorial's client does."""
    async with connect(receiver.url + query, close_timeout=2, **how) as client:
        yield client


async def finish(client):
    """Send Done; return the facts, the other answers, and the close code."""
    await client.send("Done")
    texts = []
    async with asyncio.timeout(PATIENCE_S):
        try:
            while True:
                texts.append(await client.recv())
        except ConnectionClosed as exc:
            return json.loads(texts[0]), texts[1:], exc.rcvd.code


def heard(take):
    """Return the bytes of a take; fail if a frame is missing or repeated."""
    assert take.gapless
    return take.samples.astype("<f4").tobytes()


@pytest.mark.parametrize("compression", [None, "deflate"])
async def test_the_answer_to_done(compression):
    """The receiver answers one JSON, then Done!, then close 1000; it declines compression."""
    recorder, payload = Recorder(), sound(22_050, STEREO)
    async with (
        running(recorder) as receiver,
        plainly(receiver, "/?samplerate=44100&channels=2", compression=compression) as client,
    ):
        await client.send(payload[:8000])
        await client.send(payload[8000:])
        facts, others, code = await finish(client)

    expected = {"frames": 22_050, "chunks": 2, "seconds": 0.5, "digest": digest(payload, STEREO)}
    assert expected == facts
    assert (["Done!"], 1000) == (others, code)
    (take,) = recorder.takes
    assert payload == heard(take)
    assert (44_100, 2) == (take.stream.samplerate, take.stream.channels)
    assert {np.dtype(np.float32)} == {block.dtype for block in take.blocks}
    assert {False} == {block.flags.writeable for block in take.blocks}


@pytest.mark.parametrize(
    ("query", "samplerate", "channels"),
    [
        ("", 22_050, 3),
        ("/?channels=1", 22_050, 1),
        ("/?samplerate=8000", 8000, 3),
        ("/?channels=2&samplerate=96000", 96_000, 2),
    ],
)
async def test_the_format_comes_from_the_address_or_the_settings(query, samplerate, channels):
    """The receiver's settings give each part of the format that the address does not give."""
    recorder = Recorder()
    async with (
        running(recorder, samplerate=22_050, channels=3) as receiver,
        plainly(receiver, query) as client,
    ):
        await client.send(bytes(4 * channels * 10))
        facts, _others, _code = await finish(client)

    stream = recorder.takes[0].stream
    assert (samplerate, channels) == (stream.samplerate, stream.channels)
    assert (10, 10 / samplerate) == (facts["frames"], facts["seconds"])


async def test_messages_may_be_cut_between_any_two_bytes():
    """The receiver joins a frame that several messages carry, at any byte."""
    recorder, payload = Recorder(), sound(3, STEREO)
    async with running(recorder) as receiver:
        for cut in range(len(payload) + 1):
            async with plainly(receiver, "/?channels=2") as client:
                await client.send(payload[:cut])
                await client.send(payload[cut:])
                facts, _others, code = await finish(client)

                assert (3, 2, 1000) == (facts["frames"], facts["chunks"], code)
        async with plainly(receiver, "/?channels=2") as client:
            for byte in payload:
                await client.send(bytes([byte]))
            facts, _others, code = await finish(client)

    assert (3, len(payload), 1000) == (facts["frames"], facts["chunks"], code)
    assert [payload] * (len(payload) + 2) == [heard(take) for take in recorder.takes]


async def test_the_largest_messages_pass():
    """A message of 1 MiB, more than a window holds, passes whole and in fragments."""
    recorder, payload = Recorder(), sound(3 * MIB // 4, MONO)
    async with running(recorder, limits=SMALL) as receiver, plainly(receiver) as client:
        await client.send(payload[:MIB])
        await client.send([payload[MIB : MIB + 3], payload[MIB + 3 : 2 * MIB]])
        await client.send(payload[2 * MIB :])
        facts, _others, code = await finish(client)

    assert (3 * MIB // 4, 3, 1000) == (facts["frames"], facts["chunks"], code)
    assert payload == heard(recorder.takes[0])


async def test_a_slow_processor_makes_the_receiver_stop_reading():
    """The client blocks, the memory stays within the window, and no sample is lost."""
    recorder, payload = Recorder(), sound(8 * MIB, MONO)
    recorder.gate.clear()
    async with (
        running(recorder, limits=SMALL) as receiver,
        plainly(receiver, compression=None) as client,
    ):

        async def send():
            for start in range(0, len(payload), MIB):
                await client.send(payload[start : start + MIB])

        sending = asyncio.create_task(send())
        held = await receiver.until("receiver_buffered_bytes", lambda held: held > LEAST // 3)
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(0.5):
                await asyncio.shield(sending)
        most = receiver.value("receiver_buffered_bytes")
        recorder.gate.set()
        await sending
        facts, _others, code = await finish(client)

    assert held <= most <= LEAST
    assert (8 * MIB, 32, 1000) == (facts["frames"], facts["chunks"], code)
    assert digest(payload, MONO) == facts["digest"]
    assert payload == heard(recorder.takes[0])


async def test_a_client_that_is_not_being_read_is_not_silent(monkeypatch):
    """While the receiver waits for a processor, the client's deadline does not run."""
    monkeypatch.setattr(server, "CHECK_S", 0.1)
    recorder = Recorder()
    recorder.gate.clear()
    limits = {**SMALL, "hello_timeout": 0.2, "progress_timeout": 0.2}
    async with running(recorder, limits=limits) as receiver, plainly(receiver) as client:
        for _ in range(5):  # three fit into the window and leave some room, but not enough
            await client.send(bytes(20_000))
        with pytest.raises(TimeoutError):  # the receiver sends nothing, not even a close
            async with asyncio.timeout(0.6):
                await client.recv()
        recorder.gate.set()
        facts, _others, code = await finish(client)

    assert (25_000, 1000) == (facts["frames"], code)


async def test_plain_clients_are_counted_as_such():
    """Metrics count their traffic and connections under the dialect `plain`."""
    async with running() as receiver:
        async with plainly(receiver) as client:
            for _ in range(3):
                await client.send(bytes(4000))
            await finish(client)
        await receiver.until(
            "receiver_connections_total", lambda n: n == 1, dialect="plain", result="ok"
        )

        assert 3 == receiver.value("receiver_chunks_received_total", dialect="plain")
        assert 12_096 == receiver.value("receiver_received_bytes_total", dialect="plain")
        assert 0 == receiver.value("receiver_chunks_received_total", dialect="sonoduct")
        assert 3000 == receiver.value("receiver_frames_total")
        assert 1 == receiver.value("receiver_streams_total", result="committed")


async def test_a_plain_client_that_leaves_early():
    """No client can resume the stream: the receiver abandons it and closes its processors."""
    recorder = Recorder()
    async with running(recorder) as receiver:
        async with plainly(receiver) as client:
            await client.send(bytes(4000))
            await recorder.until(lambda: recorder.takes and recorder.takes[0].frames)
        await receiver.until("receiver_streams_total", lambda n: n == 1, result="abandoned")
        await recorder.until(lambda: recorder.finished)
        lost = {"dialect": "plain", "result": "lost"}
        await receiver.until("receiver_connections_total", lambda n: n == 1, **lost)


async def test_messages_after_done_are_ignored():
    """After Done, the stream is over; later messages do not change the answer."""
    async with running() as receiver, plainly(receiver) as client:
        await client.send(bytes(400))
        await client.send("Done")
        await client.send(bytes(400))
        async with asyncio.timeout(PATIENCE_S):
            texts = [await client.recv(), await client.recv()]
            await client.wait_closed()

        assert 1000 == client.close_code

    assert (100, "Done!") == (json.loads(texts[0])["frames"], texts[1])
