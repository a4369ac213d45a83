"""Probes, and how a receiver that stops sends its peers elsewhere."""

import asyncio
import time
import urllib.error
import urllib.request

import pytest
from structlog.testing import capture_logs
from websockets.asyncio.client import connect

import receiver
import receiver.connections.server
from sonoduct import wire
from tests.support.faulty import Faulty, Hang
from tests.support.rawclient import PATIENCE_S, digest, outbound, running, sound, speaking
from tests.support.recorder import Recorder


async def status(inside, path):
    """Return the answer to a probe of *path*."""

    def fetch():
        try:
            with urllib.request.urlopen(f"http://127.0.0.1:{inside.port}{path}") as answer:
                return answer.status
        except urllib.error.HTTPError as exc:
            with exc:
                return exc.code

    return await asyncio.to_thread(fetch)


@pytest.mark.parametrize(
    ("path", "code"),
    [
        ("/healthz", 200),
        ("/readyz", 200),
        ("/readyz?x=1", 200),
        ("/metrics", 404),
        ("/healthz/", 404),
        ("/%2e%2e/etc", 404),
        ("/", 426),
    ],
)
async def test_probes(path, code):
    """The stream's port answers probes of health and readiness, and no other path."""
    async with running() as inside:
        assert code == await status(inside, path)


async def test_during_the_lead_streams_are_still_taken():
    """During the lead only /readyz changes: streams continue, and new ones are taken."""
    async with running(drain_lead=60, drain_timeout=90) as inside:
        async with speaking(inside.url) as early:
            await early.greet()
            draining = asyncio.create_task(inside.inside.drain())
            await inside.until("receiver_draining", lambda n: n == 1)
            answers = [await status(inside, path) for path in ("/readyz", "/healthz", "/x")]
            await early.send(sound(100))
            receipts = [await early.commit()]
            async with speaking(inside.url) as late:
                await late.greet()
                await late.send(sound(100))
                receipts.append(await late.commit())
        draining.cancel()

    assert [404, 200, 404] == answers
    assert [100, 100] == [receipt.frames for receipt in receipts]


async def test_every_byte_is_acknowledged_before_the_goodbye():
    """Each open stream gets the ack of its last byte, then drain, then close 1012."""
    recorder, payload = Recorder(), sound(20_000)
    async with running(recorder) as inside, speaking(inside.url) as client:
        await client.greet()
        await client.send(payload, chunk_bytes=400)
        await (await client.connection.ping())
        await inside.inside.drain()
        code, reason = await client.closed()
        (drain,) = client.all(wire.Drain)

        drained = {"dialect": "sonoduct", "result": "drained"}
        assert 1 == inside.value("receiver_connections_total", **drained)
        assert 1 == inside.value("receiver_draining")

    assert 20_000 == client.outbound.received
    assert client.heard[-1] is drain
    assert 0 < drain.retry_ms <= 10_000
    assert (1012, "receiver stops") == (code, reason)
    assert recorder.takes[0].frames == 20_000


async def test_a_sender_may_go_while_the_receiver_stops(monkeypatch):
    """If one sender leaves during the drain, the others still get their acks and drain."""
    sealed = asyncio.Event()

    async def seal(_claim):
        await sealed.wait()

    monkeypatch.setattr("receiver.stores.memory.MemoryClaim.seal", seal)
    async with (
        running() as inside,
        speaking(inside.url) as gone,
        speaking(inside.url) as stays,
    ):
        for client in (gone, stays):
            await client.greet()
        draining = asyncio.create_task(inside.inside.drain())
        await inside.until("receiver_draining", lambda n: n == 1)
        gone.abort()
        await inside.until("receiver_active_streams", lambda n: n == 1)
        sealed.set()
        await draining
        code, _ = await stays.closed()

    assert 1012 == code


async def test_a_sender_that_ignores_drain_is_closed():
    """The receiver takes no chunk after the goodbye, and acknowledges none twice."""
    recorder, half, payload = Recorder(), outbound(), sound(200_000)
    async with running(recorder) as inside, speaking(inside.url, half) as client:
        await client.greet()
        sending = asyncio.gather(client.send(payload, 400), return_exceptions=True)
        await inside.until("receiver_frames_total", lambda n: n > 1000)
        await inside.inside.drain()
        code, _reason = await client.closed()
        await sending

    assert 1012 == code
    assert half.received == recorder.takes[0].frames < 200_000
    assert recorder.takes[0].gapless


async def test_new_streams_are_sent_elsewhere():
    """The receiver answers a hello after the lead with drain, on old and new connections."""
    with Hang() as hang:
        async with running(Faulty("process", hang)) as inside:
            async with speaking(inside.url, name="victim") as busy:
                opened = await busy.greet()
                await busy.send(sound(100))
                draining = asyncio.create_task(inside.inside.drain())
                await inside.until("receiver_draining", lambda n: n == 1)
                answers = []
                while not (answers and isinstance(answers[-1], wire.Drain)):
                    async with speaking(inside.url) as client:
                        await client.say(client.outbound.greet())
                        answers.append(await client.next())
                        code, _ = await client.closed()
                hang.released.set()
                await draining
                busy_code, _ = await busy.closed()

    *_, ack, drain = busy.heard
    assert isinstance(drain, wire.Drain)
    assert (100, opened.window) == (ack.received, ack.window), "settled before the goodbye"
    assert (1012, 1012) == (code, busy_code)


async def test_plain_clients_may_finish():
    """Plain clients cannot resume, so draining waits for them."""
    recorder = Recorder()
    async with running(recorder) as inside, connect(inside.url) as plain:
        await plain.send(bytes(4000))
        await recorder.until(lambda: recorder.takes)
        draining = asyncio.create_task(inside.inside.drain())
        await inside.until("receiver_draining", lambda n: n == 1)
        async with speaking(inside.url) as witness:  # drain is past its first step
            await witness.say(witness.outbound.greet())
            await witness.closed()
        await plain.send(bytes(4000))
        await plain.send("Done")
        async with asyncio.timeout(PATIENCE_S):
            answers = [await plain.recv(), await plain.recv()]
            await draining

    assert '"frames": 2000' in answers[0]
    assert "Done!" == answers[1]


async def test_a_new_plain_client_is_refused_while_draining():
    """A new plain client gets close 1012 and no message, which it could not understand."""
    recorder = Recorder()
    async with running(recorder) as inside, connect(inside.url) as early:
        await early.send(bytes(400))
        await recorder.until(lambda: recorder.takes)
        draining = asyncio.create_task(inside.inside.drain())
        async with speaking(inside.url) as witness:
            await witness.say(witness.outbound.greet())
            await witness.closed()
        async with connect(inside.url) as late:
            await late.wait_closed()
        await early.send("Done")
        await draining

    assert 1012 == late.close_code


async def test_draining_does_not_wait_for_an_idle_plain_client():
    """If a plain client has sent nothing, it has no stream that draining could wait for."""
    async with running() as inside, connect(inside.url) as client:
        began = time.monotonic()
        await inside.inside.drain()
        await client.wait_closed()

    assert 1012 == client.close_code
    assert time.monotonic() - began < 5


async def test_draining_ends_in_time_if_a_processor_hangs():
    """When drain_timeout is over, a stream that waits for a hanging processor is closed."""
    with Hang() as hang, capture_logs() as logs:
        faulty, began = Faulty("process", hang), time.monotonic()
        async with running(faulty, drain_timeout=0.5) as inside:
            async with (
                speaking(inside.url, name="victim") as sending,
                speaking(inside.url, name="victim") as ending,
            ):
                for client in (sending, ending):
                    await client.greet()
                    await client.send(sound(100))
                await ending.say(ending.outbound.eos())
                await (await ending.connection.ping())
                await inside.inside.drain()
                codes = [(await client.closed())[0] for client in (sending, ending)]
        took = time.monotonic() - began

    assert [1012, 1012] == codes
    assert took < 4
    assert "drain_timeout" in [line["event"] for line in logs]


async def test_leaving_does_not_wait_for_ever(monkeypatch):
    """A receiver also ends without a drain if a processor hangs, and leaves no task behind."""
    monkeypatch.setattr(receiver.connections.server, "CLOSE_TIMEOUT_S", 0.2)
    with Hang() as hang:
        before = asyncio.all_tasks()
        async with running(Faulty("process", hang)) as inside:
            async with speaking(inside.url, name="victim") as client:
                await client.greet()
                await client.send(sound(100))
                await client.say(client.outbound.eos())
                await (await client.connection.ping())
        left = asyncio.all_tasks() - before

    assert set() == left


async def test_a_stream_continues_behind_a_drained_connection():
    """After drain, a sender may resume at the same receiver as long as that one runs."""
    payload, half = sound(3000), outbound()
    async with running() as first, running() as second:
        async with speaking(first.url, half) as client:
            await client.greet()
            await client.send(payload[:4000])
            await first.inside.drain()
            await client.closed()
        half.lose()
        async with speaking(second.url, half) as client:
            opened = await client.greet()
            await client.send(payload)
            receipt = await client.commit()

    assert 0 == opened.offset
    assert digest(payload) == receipt.digest
