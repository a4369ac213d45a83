"""What a receiver says about its present state: gauges, connections, refusals, names."""

import asyncio
import json
import sys
import urllib.error
import urllib.request
from collections import Counter
from contextlib import AsyncExitStack

import pytest
from structlog.testing import capture_logs
from websockets.asyncio.client import connect
from websockets.exceptions import InvalidHandshake

import receiver.present
from receiver import Settings
from receiver.connections.server import client_of
from sonoduct import wire
from sonoduct.runtime.metrics import metrics_endpoint
from tests.support.rawclient import FORMAT, running, sound, speaking
from tests.support.recorder import Recorder

SECOND = FORMAT.samplerate
OPEN = {"limits": {"reserve_bytes": 0}}


async def refused(receiver, reason):
    """Return how many connections or streams were refused for *reason*."""
    return await receiver.until("receiver_refusals_total", bool, reason=reason)


async def test_units_are_received_and_acknowledged(tmp_path):
    """Both counts are the units of the stream, at its end; a file's units are its bytes."""
    async with running(Recorder(), store=str(tmp_path / "store"), **OPEN) as receiver:
        async with speaking(receiver.url) as client:
            await client.greet()
            await client.send(sound(1000), chunk_bytes=400)
            await client.commit()

        for name in ("received", "acknowledged"):
            assert 1000 == receiver.value(f"receiver_units_{name}_total", kind="pcm")
            assert 0 == receiver.value(f"receiver_units_{name}_total", kind="file")
        assert 1 == receiver.value("receiver_receipt_duration_seconds_count", kind="pcm")
        assert 0 == receiver.value("receiver_receipt_duration_seconds_count", kind="file")


async def test_a_resumed_stream_is_acknowledged_once(tmp_path):
    """After a lost connection the counts continue, and are equal at the end."""
    payload = sound(4000)
    async with running(Recorder(), store=str(tmp_path / "store"), **OPEN) as receiver:
        async with speaking(receiver.url) as client:
            await client.greet()
            await client.send(payload[:8000], chunk_bytes=400)
            await client.acknowledged()
            client.abort()
            half = client.outbound
        async with speaking(receiver.url, half) as client:
            await client.greet()
            await client.send(payload, chunk_bytes=400)
            await client.commit()

        assert 4000 == receiver.value("receiver_units_received_total", kind="pcm")
        assert 4000 == receiver.value("receiver_units_acknowledged_total", kind="pcm")
        assert 1 == receiver.value("receiver_resumes_total")


async def test_what_waits_is_seen(tmp_path, monkeypatch):
    """While a processor holds, ages grow and seconds wait; once it has gone on, all are 0."""
    monkeypatch.setattr("receiver.connections.outbox.KEEPALIVE_S", 0.3)
    recorder = Recorder()
    async with (
        running(recorder, store=str(tmp_path / "store"), **OPEN) as receiver,
        speaking(receiver.url) as client,
    ):
        recorder.gate.clear()
        await client.greet()
        await client.send(sound(2 * SECOND), chunk_bytes=1600)
        await receiver.until("receiver_units_received_total", lambda n: n == 2 * SECOND, kind="pcm")
        # Acks that say nothing new, and those that are repeated, do not make a unit younger.
        await receiver.until("receiver_unacknowledged_age_seconds", lambda age: age > 1.6)
        acks = receiver.value("receiver_ack_latency_seconds_count")
        waiting = receiver.value("receiver_processor_behind_seconds", processor="recorder")
        behind = receiver.value("receiver_behind_seconds")
        seen = receiver.value("receiver_array_latency_seconds_count")
        durable = receiver.value("receiver_durable_latency_seconds_count")
        recorder.gate.set()
        await client.until(wire.Ack, lambda ack: ack.durable == 2 * SECOND)

        assert 2.0 == waiting == behind
        assert (0, 0) == (seen, acks)
        assert durable >= 1
        await receiver.until("receiver_array_latency_seconds_count", lambda n: n == durable)
        assert receiver.value("receiver_array_latency_seconds_sum") > 1.6
        for name in ("unacknowledged_age", "behind"):
            await receiver.until(f"receiver_{name}_seconds", lambda value: value == 0)


async def test_an_ack_of_what_has_come_makes_no_unit_younger(tmp_path, monkeypatch):
    """While chunks come and none is durable, the age grows and no ack is measured."""
    monkeypatch.setattr("receiver.connections.outbox.INTERVAL_S", 0.05)
    recorder = Recorder()
    async with (
        running(recorder, store=str(tmp_path / "store"), **OPEN) as receiver,
        speaking(receiver.url) as client,
    ):
        recorder.gate.clear()
        await client.greet()
        for number in range(1, 11):
            await client.send(sound(1000)[: 100 * number * FORMAT.frame_bytes])
            await client.acknowledged()
        age = receiver.value("receiver_unacknowledged_age_seconds")
        measured = receiver.value("receiver_ack_latency_seconds_count")
        recorder.gate.set()
        await client.until(wire.Ack, lambda ack: ack.durable == 1000)

        assert age > 0.4
        assert 0 == measured
        assert 1 == receiver.value("receiver_ack_latency_seconds_count")
        assert receiver.value("receiver_ack_latency_seconds_sum") > 0.4


async def test_nothing_becomes_durable_without_a_store():
    """With the store `none` only the processors are measured."""
    async with running(Recorder()) as receiver, speaking(receiver.url) as client:
        await client.greet()
        await client.send(sound(100))
        await client.commit()

        assert 1 == receiver.value("receiver_array_latency_seconds_count")
        assert 0 == receiver.value("receiver_durable_latency_seconds_count")


async def test_connections_streams_and_senders(monkeypatch):
    """They are counted now, and so are streams that stall, or wait for their senders."""
    monkeypatch.setattr(receiver.present, "STALLED_S", 0.2)
    async with running(Recorder()) as live:
        async with (
            speaking(live.url, instance="one") as first,
            speaking(live.url, instance="one") as second,
            speaking(live.url, instance="two") as third,
            connect(live.url),
        ):
            for client in (first, second, third):
                await client.greet()
                await client.send(sound(100))
            sonoduct = live.value("receiver_active_connections", dialect="sonoduct")
            plain = live.value("receiver_active_connections", dialect="plain")

            assert (3, 1) == (sonoduct, plain)
            assert 3 == live.value("receiver_active_streams")
            assert 2 == live.value("receiver_active_senders")
            await live.until("receiver_stalled_streams", lambda n: n == 3)
            await first.send(sound(8100))
            await live.until("receiver_stalled_streams", lambda n: n == 2)
            with capture_logs() as logs:
                third.abort()
                await live.until("receiver_waiting_streams", lambda n: n == 1)
            assert 2 == live.value("receiver_active_streams")

    (left,) = (line for line in logs if line["event"] == "stream_left")
    assert ("two", "lost", 100) == (left["instance"], left["result"], left["offset"])


async def test_handshakes_that_are_refused():
    """Each has a reason in metrics, and a line with the peer and the reason."""
    limits = {"max_connections": 1}
    with capture_logs() as logs:
        async with running(Recorder(), limits=limits) as receiver, speaking(receiver.url):
            for path, subprotocols in (("/nope", None), ("/", None)):
                with pytest.raises(InvalidHandshake):
                    await connect(f"{receiver.url}{path}", subprotocols=subprotocols)
            assert 1 == await refused(receiver, "path") == await refused(receiver, "connections")
        async with running(Recorder()) as receiver:
            with pytest.raises(InvalidHandshake):
                await connect(receiver.url, subprotocols=["other.v1"])
            assert 1 == await refused(receiver, "subprotocol")

    lines = [line for line in logs if line["event"] == "connection_refused"]
    assert ["path", "1 con", "subpr"] == [line["reason"][:5].rstrip() for line in lines]
    assert all(line["peer"].startswith("127.0.0.1:") for line in lines)


async def test_streams_that_are_refused(tmp_path, monkeypatch):
    """Held, cancelled, a full store, and a receiver that stops: each is counted by its reason."""
    async with running(Recorder(), store=str(tmp_path / "store"), **OPEN) as receiver:
        async with speaking(receiver.url, stream="ab" * 16) as holder:
            await holder.greet()
            async with speaking(receiver.url, stream="ab" * 16, instance="two") as other:
                await other.greet()
            assert 1 == await refused(receiver, "held")
            await holder.send(sound(10))
            await holder.say(holder.outbound.cancel())
            await holder.until(wire.Cancelled)
        async with speaking(receiver.url, stream="ab" * 16) as again:
            await again.greet()
            assert 1 == await refused(receiver, "gone")
        monkeypatch.setattr("receiver.stores.journal.disk.PosixDisk.free", lambda *_: 0)
        async with speaking(receiver.url) as full:
            await full.greet()
            assert 1 == await refused(receiver, "store")
        async with speaking(receiver.url) as late:
            receiver.inside._streams.draining = True
            await late.say(late.outbound.greet())
            await late.closed()
            assert 1 == await refused(receiver, "draining")

        # A full disk, a stop and a cancelled stream are no faults of the peer.
        families = receiver.registry.collect()
        errors = next(each for each in families if each.name == "receiver_protocol_errors")
        assert 0 == sum(each.value for each in errors.samples if each.name.endswith("_total"))


async def test_a_cancelled_stream_waits_for_nothing(tmp_path):
    """After a cancel the age is 0, although the processors still hold the stream's audio."""
    recorder = Recorder()
    async with (
        running(recorder, store=str(tmp_path / "store"), **OPEN) as receiver,
        speaking(receiver.url) as client,
    ):
        recorder.gate.clear()
        await client.greet()
        await client.send(sound(SECOND))
        await receiver.until("receiver_unacknowledged_age_seconds", lambda age: age > 0.1)
        await client.say(client.outbound.cancel())
        await client.until(wire.Cancelled)
        seen = receiver.value("receiver_unacknowledged_age_seconds")
        recorder.gate.set()

    assert 0 == seen


@pytest.mark.parametrize(
    ("forwarded", "client"),
    [
        ("10.1.2.3:4567", "10.1.2.3:4567"),
        ("10.1.2.3", "10.1.2.3"),
        ("[2001:db8::1]:4567", "[2001:db8::1]:4567"),
        ("2001:db8::1", "2001:db8::1"),
        ("", ""),
        ("somebody", ""),
        ("10.1.2.3:x", ""),
        ("10.1.2.999:1", ""),
    ],
)
def test_addresses_that_a_gateway_names(forwarded, client):
    """An address with or without a port, of IPv4 or IPv6; nothing else is taken for one."""
    assert client == client_of(forwarded)


@pytest.mark.parametrize("trusted", [True, False])
async def test_the_address_behind_a_gateway(trusted):
    """A receiver believes X-Forwarded-For only if it is told to; the last value is the nearest."""
    headers = [("X-Forwarded-For", "6.6.6.6:1"), ("X-Forwarded-For", "7.7.7.7, 10.1.2.3:4567")]
    with capture_logs() as logs:
        async with running(Recorder(), trust_forwarded=trusted) as receiver:
            async with connect(
                receiver.url, subprotocols=[wire.SUBPROTOCOL], additional_headers=headers
            ) as connection:
                hello = wire.Hello(stream="ab" * 16, instance="one", format=FORMAT)
                await connection.send(wire.encode_control(hello))
                await connection.recv()

    (peer,) = (line["peer"] for line in logs if line["event"] == "stream_opened")
    assert (peer == "10.1.2.3:4567") is trusted
    assert trusted or peer.startswith("127.0.0.1:")


@pytest.mark.parametrize(
    ("trusted", "path", "named"),
    [(True, "/readyz", True), (False, "/readyz", False), (True, "/healthz", False)],
)
async def test_the_gateway_tells_a_receiver_its_name(trusted, path, named):
    """Its check of /readyz carries its name for the receiver; others are not believed."""
    async with running(Recorder(), trust_forwarded=trusted) as receiver:
        before = list(receiver.registry.collect())
        for state in ("UP 2/3; name=receivers/receiver7; node=x; weight=1/2", "nonsense"):
            check = urllib.request.Request(
                f"http://127.0.0.1:{receiver.port}{path}",
                headers={"X-Haproxy-Server-State": state},
            )
            (await asyncio.to_thread(urllib.request.urlopen, check)).close()
        seen = receiver.value("receiver_gateway_check_timestamp_seconds", server="receiver7")

    assert "receiver_gateway_check_timestamp_seconds" not in {each.name for each in before}
    assert (seen is not None) is named
    assert not named or seen > 1.7e9


async def test_the_replica_is_named_to_its_clients():
    """The answer to the handshake has the receiver's name; probes have it as well."""
    async with running(Recorder(), replica="north-1") as receiver:
        async with connect(receiver.url, subprotocols=[wire.SUBPROTOCOL]) as connection:
            named = connection.response.headers["Sonoduct-Replica"]
        url = f"http://127.0.0.1:{receiver.port}/healthz"
        with await asyncio.to_thread(urllib.request.urlopen, url) as answer:
            probed = answer.headers["Sonoduct-Replica"]

    assert "north-1" == named == probed


async def test_what_the_store_holds(tmp_path):
    """Recordings, journals, room and inodes are measured, and each attempt is counted."""
    store = tmp_path / "store"
    async with running(Recorder(), store=str(store), **OPEN) as receiver:
        async with speaking(receiver.url, name="talk") as client:
            await client.greet()
            await client.send(sound(5000))
            await client.commit()
            waiting = receiver.value("receiver_recordings_waiting")
            await receiver.until("receiver_recordings_total", lambda n: n == 1, result="written")
            (recording,) = (store / "audio").glob("*.wav")

            assert 1 == waiting
            assert 0 == receiver.value("receiver_recordings_waiting")
            assert recording.stat().st_size == receiver.value("receiver_recorded_bytes_total")
            assert 0 == receiver.value("receiver_recordings_total", result="failed")
            free = receiver.value("receiver_store_free_bytes")
            assert 0 < free < receiver.value("receiver_store_total_bytes") < float("inf")
            assert 0 < receiver.value("receiver_store_free_inodes")
    async with running(Recorder(), store=str(store), **OPEN) as receiver:
        await receiver.until("receiver_store_recordings", lambda n: n == 1)
        taken = receiver.value("receiver_store_recordings_bytes")
        async with speaking(receiver.url) as client:
            await client.greet()
            await client.send(sound(5000))
            await client.acknowledged()
    async with running(Recorder(), store=str(store), **OPEN) as receiver:
        await receiver.until("receiver_store_journals", lambda n: n == 1)

        assert receiver.value("receiver_store_journals_bytes") >= 20_000
    assert taken >= 20_000


async def test_connections_as_json():
    """The page /streams lists every connection with its stream; other paths stay metrics."""
    async with running(Recorder(), replica="north-1") as receiver:
        pages = {"/streams": lambda: [each.name for each in receiver.inside.connections]}
        with metrics_endpoint(
            receiver.registry, "127.0.0.1", 0, labels={"replica": "north-1"}, pages=pages
        ) as port:

            def read(path):
                with urllib.request.urlopen(f"http://127.0.0.1:{port}{path}") as answer:
                    return answer.headers.get_content_type(), answer.read().decode()

            async with speaking(receiver.url, name="talk", instance="someone-secret") as client:
                stream = client.outbound.hello.stream
                await client.greet()
                await client.send(sound(SECOND), chunk_bytes=1600)
                await client.acknowledged()
                kind, page = await asyncio.to_thread(read, "/streams")
                _, metrics = await asyncio.to_thread(read, "/metrics")
                (now,) = receiver.inside.connections
                await client.commit()
                (idle,) = receiver.inside.connections

    assert ("application/json", ["talk"]) == (kind, json.loads(page))
    assert 'receiver_active_streams{replica="north-1"} 1.0' in metrics
    assert ("talk", "someone-", "sonoduct", "s16le 8000 Hz 2 ch") == (
        *(now.name, now.instance, now.dialect, now.format),
    )
    assert stream[:8] == now.stream, "whoever has all of it could claim the stream"
    assert (1.0, SECOND * 4, 0.0) == (now.received_s, now.received_bytes, now.behind_s)
    assert now.peer.startswith("127.0.0.1:")
    assert ("", "", "", 0.0) == (idle.stream, idle.name, idle.format, idle.received_s)
    assert idle.connected_s < now.connected_s


def test_a_name_is_settled_once():
    """The setting wins, and without it the receiver has the host's name."""
    assert "north-1" == Settings(replica="north-1").name
    assert Settings().name == Settings().name != ""


CALLS = 8
"""Calls of our functions for each stream that has nothing waiting."""


async def test_a_scrape_costs_little_for_each_stream():
    """A scrape of many idle streams makes few calls for each, so 1000 streams take milliseconds."""
    calls = []

    async def count(receiver):
        seen = Counter()

        def note(frame, event, _argument):
            if event == "call" and "/receiver/" in frame.f_code.co_filename:
                seen[frame.f_code.co_qualname] += 1

        sys.setprofile(note)
        try:
            list(receiver.registry.collect())
        finally:
            sys.setprofile(None)
        calls.append(seen)

    async with running(Recorder()) as receiver, AsyncExitStack() as stack:
        await count(receiver)
        for _ in range(20):
            client = await stack.enter_async_context(speaking(receiver.url))
            await client.greet()
            await client.send(sound(100))
            await client.acknowledged()
        await receiver.until("receiver_buffered_bytes", lambda n: n == 0)
        await count(receiver)

    empty, full = calls
    assert full.total() - empty.total() <= 20 * CALLS, (full - empty).most_common(9)


async def test_a_stream_that_ends_does_not_stall(monkeypatch, tmp_path):
    """A sender that waits for its receipt is not stuck: the receiver is at work."""
    monkeypatch.setattr(receiver.present, "STALLED_S", 0.1)
    recorder, store = Recorder(), str(tmp_path / "store")
    async with running(recorder, store=store, **OPEN) as live, speaking(live.url) as client:
        recorder.gate.clear()
        await client.greet()
        await client.send(sound(100))
        await client.say(client.outbound.eos())
        await live.until("receiver_unacknowledged_age_seconds", lambda age: age > 0.5)
        stalled = live.value("receiver_stalled_streams")
        recorder.gate.set()
        await client.until(wire.Committed)

    assert 0 == stalled
