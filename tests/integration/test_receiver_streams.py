"""Which connection holds a stream, and how streams end."""

import asyncio
import errno
import threading

import pytest
from websockets.exceptions import InvalidStatus

from receiver.stores.journal import PosixDisk
from sonoduct import wire
from tests.support.faulty import Faulty, Hang
from tests.support.faultydisk import refuse
from tests.support.rawclient import LEAST, PATIENCE_S, digest, outbound, running, sound, speaking
from tests.support.recorder import Recorder

STREAM = "5" * 32
ANOTHER = wire.Format(samplerate=16000, channels=2, encoding=wire.Encoding.S16LE)


def heard(take):
    """Return the bytes of a take; fail if a frame is missing or repeated."""
    assert take.gapless
    return (take.samples * 32768).astype("<i2").tobytes()


async def refused(client):
    """Claim the stream; return the error and the close code."""
    error = await client.greet()
    return error, (await client.closed())[0]


async def test_streams_follow_one_another_on_a_connection():
    """After committed, and after cancelled, the next hello may come."""
    recorder = Recorder()
    async with running(recorder) as receiver, speaking(receiver.url) as client:
        receipts = []
        for frames in (100, 0, 3000):
            client.start()
            await client.greet()
            await client.send(sound(frames))
            receipts.append(await client.commit())
            client.start()
            await client.greet()
            await client.say(client.outbound.cancel())
            await client.until(wire.Cancelled)

    assert [100, 0, 3000] == [receipt.frames for receipt in receipts]
    assert [digest(sound(n)) for n in (0, 3000)] == [each.digest for each in receipts[1:]]
    assert [sound(100), sound(3000)] == [heard(take) for take in recorder.takes if take.blocks]
    assert 3 == receiver.value("receiver_streams_total", result="committed")
    assert 3 == receiver.value("receiver_streams_total", result="cancelled")


async def test_a_stream_resumes_where_its_connection_was_lost():
    """The receiver gives the offset, and processors see every frame once, as one stream."""
    recorder, payload, half = Recorder(), sound(5000), outbound(stream=STREAM)
    offsets = []
    async with running(recorder) as receiver:
        for part in (1200, 8400, 8400, len(payload)):
            async with speaking(receiver.url, half) as client:
                offsets.append((await client.greet()).offset)
                await client.send(payload[:part], chunk_bytes=400)
                if part == len(payload):
                    receipt = await client.commit()
                else:
                    await client.connection.ping()
                    client.abort()

        assert 3 == receiver.value("receiver_resumes_total")
        assert 5000 == receiver.value("receiver_frames_total")

    assert 0 == offsets[0] <= offsets[1] <= offsets[2] <= offsets[3] <= 2100
    assert (5000, digest(payload)) == (receipt.frames, receipt.digest)
    (take,) = recorder.takes
    assert payload == heard(take)


async def test_a_claim_does_not_wait_for_processors():
    """A new connection continues while processors still work on the earlier frames."""
    recorder, payload, half = Recorder(), sound(5000), outbound(stream=STREAM)
    recorder.gate.clear()
    async with running(recorder) as receiver:
        async with speaking(receiver.url, half) as client:
            await client.greet()
            await client.send(payload[:8000])
            await client.acknowledged()
            client.abort()
        async with speaking(receiver.url, half) as again:
            opened = await again.greet()
            await again.send(payload)
            recorder.gate.set()
            await again.commit()

    assert 2000 == opened.offset
    (take,) = recorder.takes
    assert payload == heard(take)


async def test_the_same_sender_takes_its_stream_over_at_once():
    """The older connection of the same sender gets 4409."""
    recorder, payload = Recorder(), sound(3000)
    async with (
        running(recorder) as receiver,
        speaking(receiver.url, stream=STREAM) as old,
        speaking(receiver.url, stream=STREAM) as new,
    ):
        await old.greet()
        await old.send(payload[:4000])
        await old.acknowledged()
        opened = await new.greet()
        code, reason = await old.closed()
        await new.send(payload)
        receipt = await new.commit()

        assert 1 == receiver.value("receiver_fenced_total")
        fenced = {"dialect": "sonoduct", "result": "fenced"}
        assert 1 == await receiver.until("receiver_connections_total", lambda n: n, **fenced)

    assert (2, 1000) == (opened.epoch, opened.offset)
    assert (4409, "a newer connection has claimed the stream") == (code, reason)
    assert digest(payload) == receipt.digest
    assert payload == heard(recorder.takes[0])


async def test_chunks_of_a_fenced_connection_are_not_taken():
    """However the old chunks and the new claim interleave, each frame is taken once."""
    recorder, payload = Recorder(), sound(30_000)
    async with (
        running(recorder) as receiver,
        speaking(receiver.url, stream=STREAM) as old,
        speaking(receiver.url, stream=STREAM) as new,
    ):
        await old.greet()
        sending = asyncio.gather(old.send(payload, chunk_bytes=400), return_exceptions=True)
        await old.until(wire.Ack)
        opened = await new.greet()
        code, _reason = await old.closed()
        await sending
        await new.send(payload)
        receipt = await new.commit()

    assert 0 < opened.offset <= 30_000
    assert 4409 == code
    assert digest(payload) == receipt.digest
    assert payload == heard(recorder.takes[0])


async def test_another_sender_has_to_wait_for_the_holder():
    """It gets 4423 while the holder makes progress, and gets the stream when the holder idles."""
    payload = sound(3000)
    async with (
        running(limits={"takeover_timeout": 0.4}) as receiver,
        speaking(receiver.url, stream=STREAM) as holder,
    ):
        await holder.greet()
        await holder.send(payload[:4000])
        async with speaking(receiver.url, stream=STREAM, instance="two") as other:
            error, code = await refused(other)
        await holder.send(payload[:6000])
        async with asyncio.timeout(PATIENCE_S):
            taken = None
            while not isinstance(taken, wire.Opened):
                async with speaking(receiver.url, stream=STREAM, instance="two") as other:
                    taken = await other.greet()
                    if isinstance(taken, wire.Opened):
                        await other.send(payload)
                        receipt = await other.commit()
        lost, _reason = await holder.closed()

        held = {"dialect": "sonoduct", "result": "refused"}
        assert receiver.value("receiver_connections_total", **held) >= 1

    assert (4423, 4423) == (code, error.code)
    assert "stream is held; seconds without progress" == error.message
    assert "0.4 before another sender may take it over" == error.expected
    assert float(error.seen) < 0.4
    assert 1500 == taken.offset
    assert 4409 == lost
    assert digest(payload) == receipt.digest


async def test_many_claims_at_once_leave_one_holder():
    """The last claim gets the stream; the receiver closes all other connections."""
    payload = sound(1000)
    async with running() as receiver:

        async def contend():
            async with speaking(receiver.url, stream=STREAM) as client:
                await client.say(client.outbound.greet())
                message = await client.next()
                if isinstance(message, wire.Opened):
                    try:
                        await client.send(payload)
                        return await client.commit()
                    except wire.Fenced:
                        pass
                    except Exception as exc:  # noqa: BLE001  # closed while it sent
                        assert "4409" in str(exc)
                return None

        receipts = await asyncio.gather(*(contend() for _ in range(12)))
        async with speaking(receiver.url, stream=STREAM) as client:
            await client.greet()
            if client.outbound.receipt is None:
                await client.send(payload)
                await client.commit()
            last = client.outbound.receipt

        assert 1 == receiver.value("receiver_streams_total", result="committed")

    assert {last.digest} | {r.digest for r in receipts if r} == {digest(payload)}


async def test_a_complete_stream_is_answered_with_its_receipt():
    """The client repeats no chunk, and its connection takes the next stream."""
    async with running() as receiver, speaking(receiver.url, stream=STREAM) as client:
        await client.greet()
        await client.send(sound(100))
        receipt = await client.commit()
        client.start(stream=STREAM)
        again = await client.greet()
        client.start()
        fresh = await client.greet()

        assert 1 == receiver.value("receiver_streams_total", result="committed")

    assert (wire.State.COMMITTED, receipt) == (again.state, again.receipt)
    assert (2, 100, 0, 0) == (again.epoch, again.offset, again.window, again.max_chunk)
    assert (1, 0) == (fresh.epoch, fresh.offset)


async def test_a_cancelled_stream_is_gone():
    """The receiver answers cancel; a later hello of the stream gets 4410."""
    recorder = Recorder()
    async with running(recorder) as receiver, speaking(receiver.url, stream=STREAM) as client:
        await client.greet()
        await client.send(sound(100))
        await client.say(client.outbound.cancel())
        cancelled = await client.until(wire.Cancelled)
        client.start(stream=STREAM)
        error, code = await refused(client)
        await recorder.until(lambda: recorder.finished)

        assert 1 == receiver.value("receiver_streams_total", result="cancelled")

    assert 1 == cancelled.epoch
    assert (4410, 4410, f"stream {STREAM} was cancelled") == (code, error.code, error.message)


async def test_a_cancel_that_the_disk_refuses(tmp_path, monkeypatch):
    """If the cancel fails, the sender may continue the stream, and processors see all of it."""
    recorder, payload = Recorder(), sound(2000)
    store = {"store": str(tmp_path / "store"), "limits": {"reserve_bytes": 0}}
    async with running(recorder, **store) as receiver:
        async with speaking(receiver.url, stream=STREAM) as client:
            await client.greet()
            await client.send(payload[:4000])
            await client.until(wire.Ack, lambda ack: ack.durable == 1000)
            with monkeypatch.context() as patch:
                patch.setattr(PosixDisk, "replace", lambda *_: refuse(errno.EIO))
                await client.say(client.outbound.cancel())
                error = await client.until(wire.Error)
        async with speaking(receiver.url, stream=STREAM) as client:
            opened = await client.greet()
            await client.send(payload)
            receipt = await client.commit()

    assert (4507, 1000) == (error.code, opened.offset)
    assert (2000, digest(payload)) == (receipt.frames, receipt.digest)
    assert payload == heard(recorder.takes[-1])


async def test_a_cancel_that_crosses_committed_changes_nothing():
    """The stream stays complete, and the next one may follow."""
    async with running() as receiver, speaking(receiver.url) as client:
        await client.greet()
        await client.send(sound(100))
        await client.commit()
        await client.say(client.outbound.cancel())
        client.start()
        opened = await client.greet()

        assert 0 == receiver.value("receiver_streams_total", result="cancelled")

    assert 0 == opened.offset


async def test_another_format_is_another_stream():
    """The receiver refuses a hello that changes the format of an open stream."""
    async with running() as receiver:
        async with speaking(receiver.url, stream=STREAM) as client:
            await client.greet()
            client.abort()
        async with speaking(receiver.url, stream=STREAM, format_=ANOTHER) as client:
            error, code = await refused(client)

    assert (4400, "format") == (code, error.message)
    assert ("samplerate=16000" in error.seen, "samplerate=8000" in error.expected) == (True, True)


async def test_a_stream_without_a_connection_is_abandoned():
    """After resume_timeout its processors close, and a later hello starts a new stream."""
    recorder = Recorder()
    async with running(recorder, limits={"resume_timeout": 0.1}) as receiver:
        async with speaking(receiver.url, stream=STREAM) as client:
            await client.greet()
            await client.send(sound(100))
            client.abort()
        await receiver.until("receiver_streams_total", lambda n: n == 1, result="abandoned")
        await recorder.until(lambda: recorder.finished)
        async with speaking(receiver.url, stream=STREAM) as client:
            opened = await client.greet()
            await recorder.until(lambda: len(recorder.takes) == 2)

    assert 0 == opened.offset


async def test_a_stream_that_has_a_connection_does_not_expire():
    """resume_timeout does not end a stream while it has a connection, however silent."""
    async with running(limits={"resume_timeout": 0.1}) as receiver:
        async with speaking(receiver.url, stream=STREAM) as gone, speaking(receiver.url) as kept:
            await kept.greet()
            await gone.greet()
            gone.abort()
            await receiver.until("receiver_streams_total", lambda n: n == 1, result="abandoned")
            await kept.send(sound(10))
            receipt = await kept.commit()

    assert 10 == receipt.frames


@pytest.mark.parametrize("level", list(wire.Level))
async def test_the_store_none_promises_nothing_beyond_received(level):
    """Without a store, `durable` stays 0 in acks, and the receipt is not durable."""
    async with running() as receiver, speaking(receiver.url, ack=level) as client:
        opened = await client.greet()
        await client.send(sound(3000))
        await client.acknowledged()
        receipt = await client.commit()

    assert wire.Level.RECEIVED is opened.ack
    assert {0} == {ack.durable for ack in client.all(wire.Ack)}
    assert not receipt.durable


async def test_windows_fit_into_memory_and_connections_into_their_limit():
    """Each admitted connection gets a window; one more connection gets HTTP 503."""
    limits = {"max_connections": 4, "memory_bytes": 16 * LEAST}
    async with running(limits=limits) as receiver:
        barrier = asyncio.Barrier(12)

        async def come():
            try:
                async with speaking(receiver.url) as client:
                    opened = await client.greet()
                    await barrier.wait()
                    return opened.window
            except InvalidStatus as exc:
                await barrier.wait()
                return exc.response.status_code

        results = await asyncio.gather(*(come() for _ in range(12)))
        turned_away = {"dialect": "sonoduct", "result": "refused"}

        assert 8 == receiver.value("receiver_connections_total", **turned_away)

    windows = [each for each in results if each >= LEAST]
    assert [503] * 8 == [each for each in results if each < LEAST]
    assert 4 == len(windows)
    assert sum(windows) <= 16 * LEAST


async def test_a_window_comes_back_when_its_stream_is_over():
    """Consecutive streams and lost streams give their memory back."""
    limits = {"max_connections": 1, "memory_bytes": LEAST, "window_bytes": LEAST}
    async with running(limits=limits) as receiver, speaking(receiver.url) as client:
        for _ in range(5):
            client.start()
            opened = await client.greet()
            await client.send(sound(1000))
            await client.commit()

            assert LEAST == opened.window


async def test_a_lost_connection_is_forgotten_when_its_own_frames_are_processed():
    """A lost connection gives its window back, although its successor's frames still wait."""
    permits = threading.Semaphore(0)

    class Reluctant:
        def open(self, stream):
            pass

        def process(self, samples, offset):
            permits.acquire()

        def close(self):
            pass

    payload, half = sound(3000), outbound()
    lost = {"dialect": "sonoduct", "result": "lost"}
    async with running(Reluctant) as receiver:
        async with speaking(receiver.url, half) as client:
            await client.greet()
            await client.send(payload[:4000])
            await client.acknowledged()
            client.abort()
        async with speaking(receiver.url, half) as client:
            await client.greet()
            await client.send(payload[:8000])
            await client.acknowledged()
            permits.release()
            await receiver.until("receiver_connections_total", lambda n: n == 1, **lost)
            waiting = receiver.value("receiver_buffered_bytes")
            permits.release(100)
            await client.send(payload)
            receipt = await client.commit()

    assert 4000 == waiting
    assert 3000 == receipt.frames


async def test_a_commit_outlives_its_connection():
    """If a sender loses the connection after eos, it gets the receipt on a new one."""
    payload, half = sound(1000), outbound(name="victim")
    with Hang() as hang:
        async with running(Faulty("process", hang)) as receiver:
            async with speaking(receiver.url, half) as client:
                await client.greet()
                await client.send(payload)
                await client.acknowledged()
                await client.say(half.eos())
                await (await client.connection.ping())
                client.abort()
            async with speaking(receiver.url, half) as early:
                await early.say(half.greet())
                await (await early.connection.ping())
                hang.released.set()
                code, _reason = await early.closed()
            async with speaking(receiver.url, half) as late:
                half.lose()
                opened = await late.greet()

            assert 1 == receiver.value("receiver_streams_total", result="committed")

    assert 4409 == code
    assert (wire.State.COMMITTED, digest(payload)) == (opened.state, opened.receipt.digest)
    assert {} == opened.receipt.failures
