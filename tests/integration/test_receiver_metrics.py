"""The receiver's metrics before, during and after streams."""

import asyncio
import urllib.request
from collections import defaultdict

import pytest
from prometheus_client.parser import text_string_to_metric_families

from sonoduct import wire
from sonoduct.runtime.metrics import metrics_endpoint
from tests.support.faulty import Faulty
from tests.support.rawclient import LEAST, SMALL, Client, running, sound, speaking
from tests.support.recorder import Recorder

CODES = [
    "4400",
    "4408",
    "4413",
    "4416",
    "4429",
    "4460",
    "4500",
    "1002",
    "1007",
    "1009",
]
DIALECTS = ("sonoduct", "plain")
AT_FIRST = {
    **{
        ("receiver_connections_total", ("dialect", dialect), ("result", result)): 0
        for dialect in DIALECTS
        for result in ("ok", "error", "fenced", "lost", "refused", "drained")
    },
    **{
        (name, ("dialect", dialect)): 0
        for name in ("receiver_chunks_received_total", "receiver_received_bytes_total")
        for dialect in DIALECTS
    },
    **{
        ("receiver_streams_total", ("result", result)): 0
        for result in ("committed", "cancelled", "abandoned", "failed")
    },
    **{("receiver_protocol_errors_total", ("code", code)): 0 for code in CODES},
    **{
        ("receiver_decode_errors_total", ("decoder", decoder)): 0
        for decoder in ("soundfile", "ffmpeg", "none")
    },
    **{
        ("receiver_processor_failures_total", ("processor", "recorder"), ("reason", reason)): 0
        for reason in ("raised", "hung")
    },
    **{
        (name,): 0
        for name in (
            "receiver_active_streams",
            "receiver_audio_seconds_total",
            "receiver_frames_total",
            "receiver_resumes_total",
            "receiver_fenced_total",
            "receiver_events_dropped_total",
            "receiver_buffered_bytes",
            "receiver_draining",
            "receiver_last_chunk_timestamp_seconds",
            "receiver_active_senders",
            "receiver_stalled_streams",
            "receiver_waiting_streams",
            "receiver_unacknowledged_age_seconds",
            "receiver_behind_seconds",
            "receiver_recorded_bytes_total",
            "receiver_store_recordings",
            "receiver_store_recordings_bytes",
            "receiver_store_journals",
            "receiver_store_journals_bytes",
            "receiver_recordings_waiting",
            "receiver_recordings_waiting_age_seconds",
        )
    },
    **{
        (f"receiver_{name}_seconds_{part}",): 0
        for name in (*("ack_latency", "commit_duration", "array_latency", "durable_latency"),)
        for part in ("count", "sum")
    },
    **{
        (f"receiver_units_{name}_total", ("kind", kind)): 0
        for name in ("received", "acknowledged")
        for kind in ("pcm", "file")
    },
    **{
        ("receiver_refusals_total", ("reason", reason)): 0
        for reason in (
            *("address", "connections", "early", "host", "origin", "path", "rate"),
            *("draining", "gone", "held", "memory", "name", "store", "subprotocol", "token"),
        )
    },
    **{("receiver_active_connections", ("dialect", dialect)): 0 for dialect in DIALECTS},
    **{("receiver_recordings_total", ("result", each)): 0 for each in ("written", "failed")},
    **{
        (f"receiver_processor_{name}", ("processor", "recorder")): 0
        for name in ("behind_seconds", "stuck_calls", "switched_off")
    },
    **{
        (f"receiver_receipt_duration_seconds_{part}", ("kind", kind)): 0
        for kind in ("pcm", "file")
        for part in ("count", "sum")
    },
    ("receiver_connection_limit",): SMALL["max_connections"],
    ("receiver_processing_duration_seconds_count", ("processor", "recorder")): 0,
    ("receiver_processing_duration_seconds_sum", ("processor", "recorder")): 0,
    ("receiver_buffer_limit_bytes",): 16 * LEAST,
    **{
        (f"receiver_store_{name}",): float("inf")
        for name in ("total_bytes", "free_bytes", "total_inodes", "free_inodes")
    },
}


async def scrape(port):
    """Return the families that /metrics shows, and each sample by its name and labels."""

    def fetch():
        with urllib.request.urlopen(f"http://127.0.0.1:{port}/metrics") as answer:
            return answer.read().decode()

    families = list(text_string_to_metric_families(await asyncio.to_thread(fetch)))
    samples = {
        (sample.name, *sorted(sample.labels.items())): sample.value
        for family in families
        for sample in family.samples
    }
    return {family.name: family for family in families}, samples


async def test_every_metric_is_there_before_the_first_stream():
    """Every metric has its documented name and a value of 0 before the first stream."""
    async with running(Recorder(), limits=SMALL) as receiver:
        with metrics_endpoint(receiver.registry, "127.0.0.1", 0) as port:
            families, samples = await scrape(port)

    assert AT_FIRST == {key: samples.get(key) for key in AT_FIRST}
    (build,) = families["receiver_build_info"].samples
    assert ({"version", "protocol", "revision"}, 1) == (set(build.labels), build.value)
    assert families["receiver_event_loop_lag_seconds"].samples[0].value >= 0
    assert "counter" == families["receiver_decode_errors"].type
    rest = {key for key in samples if key[0].startswith("receiver_")} - AT_FIRST.keys()
    others = ("_bucket", "_build_info", "_lag_seconds", "_created")
    assert set() == {key[0] for key in rest if not key[0].endswith(others)}


async def test_counts_equal_the_sent_streams():
    """Chunks, bytes, frames, seconds, streams, connections and durations match the sent streams."""
    recorder = Recorder()
    async with running(recorder) as receiver:
        with metrics_endpoint(receiver.registry, "127.0.0.1", 0) as port:
            async with speaking(receiver.url) as client:
                for frames in (1000, 3000):
                    client.start()
                    await client.greet()
                    await client.send(sound(frames), chunk_bytes=400)
                    await client.acknowledged()
                    _, under_way = await scrape(port)
                    await client.commit()
            result = {"dialect": "sonoduct", "result": "ok"}
            await receiver.until("receiver_connections_total", lambda n: n == 1, **result)
            _, samples = await scrape(port)

    sonoduct = ("dialect", "sonoduct")
    assert 1 == under_way[("receiver_active_streams",)]
    expected = {
        ("receiver_chunks_received_total", sonoduct): 40,
        ("receiver_received_bytes_total", sonoduct): 40 * 432,
        ("receiver_frames_total",): 4000,
        ("receiver_audio_seconds_total",): pytest.approx(0.5),
        ("receiver_streams_total", ("result", "committed")): 2,
        ("receiver_connections_total", sonoduct, ("result", "ok")): 1,
        ("receiver_processing_duration_seconds_count", ("processor", "recorder")): 40,
        ("receiver_active_streams",): 0,
        ("receiver_buffered_bytes",): 0,
        ("receiver_resumes_total",): 0,
    }
    assert expected == {key: samples[key] for key in expected}
    assert samples[("receiver_last_chunk_timestamp_seconds",)] > 1.7e9
    assert 2 <= samples[("receiver_ack_latency_seconds_count",)] <= 40
    assert 0 < samples[("receiver_ack_latency_seconds_sum",)] < 5


class Highest:
    """Scrapes a receiver, and fails if a counter is lower than at the last scrape."""

    def __init__(self, port):
        self.values = defaultdict(float)
        self._port = port

    async def look(self):
        families, _ = await scrape(self._port)
        counting = [each for each in families.values() if each.type in ("counter", "histogram")]
        for sample in [sample for family in counting for sample in family.samples]:
            key = (sample.name, *sorted(sample.labels.items()))

            assert sample.value >= self.values[key], key

            self.values[key] = sample.value


async def fail(client):
    """End the stream with a wrong digest."""
    await client.say(wire.Eos(units=500, digest="00"))
    await client.closed()


async def cancel(client):
    """Cancel the stream."""
    await client.say(client.outbound.cancel())
    await client.until(wire.Cancelled)


async def lose(client):
    """Lose the connection."""
    client.abort()


async def test_counters_never_go_down():
    """However a stream ends, no counter falls between two scrapes."""
    faulty = Faulty("process", lambda: {"a": 1}, victims=("noisy",))
    async with running(faulty, limits={"resume_timeout": 0.1}) as receiver:
        with metrics_endpoint(receiver.registry, "127.0.0.1", 0) as port:
            highest = Highest(port)
            for end in (Client.commit, cancel, fail, lose):
                async with speaking(receiver.url, name="noisy") as client:
                    await client.greet()
                    await highest.look()
                    await client.send(sound(500), chunk_bytes=400)
                    await client.acknowledged()
                    await highest.look()
                    await end(client)
                await highest.look()
            await receiver.until("receiver_streams_total", lambda n: n == 1, result="abandoned")
            await highest.look()

    ends = {key[1][1]: n for key, n in highest.values.items() if key[0] == "receiver_streams_total"}
    assert {"committed": 1, "cancelled": 1, "failed": 1, "abandoned": 1} == ends
    assert 2000 == highest.values[("receiver_frames_total",)]


async def test_the_ack_latency_is_of_one_stream():
    """If a stream ends before its ack, the next stream's latency does not include its chunk."""
    now = asyncio.get_running_loop().time
    async with running() as receiver, speaking(receiver.url) as client:
        started = now()
        await client.greet()
        await client.send(sound(100))
        await client.commit()
        client.start()
        await client.greet()
        paused = now()
        await asyncio.sleep(1)  # the sender's pause, which is not the receiver's delay
        pause = now() - paused
        await client.send(sound(100))
        await client.acknowledged()
        active = now() - started - pause

        assert receiver.value("receiver_ack_latency_seconds_count") >= 1
        assert receiver.value("receiver_ack_latency_seconds_sum") <= active


async def test_events_are_dropped_if_a_sender_does_not_read():
    """Acks and the receipt still come; the receiver drops events and counts them."""
    faulty = Faulty("process", lambda: {"text": "x" * 1000}, victims=("noisy",))
    async with (
        running(faulty, limits={"window_bytes": 16 * 1024 * 1024}) as receiver,
        speaking(receiver.url, name="noisy") as client,
    ):
        await client.greet()
        transport = client.connection.transport
        transport.pause_reading()
        payload = sound(12_000)
        for offset in range(0, 12_000, 2):
            await client.connection.send(
                b"".join(client.outbound.chunk(2, payload[4 * offset : 4 * offset + 8]))
            )
        await receiver.until("receiver_frames_total", lambda n: n == 12_000)
        await receiver.until("receiver_buffered_bytes", lambda n: n == 0)
        transport.resume_reading()
        receipt = await client.commit()
        events = len(client.all(wire.Event))
        await client.connection.close()
        dropped = await receiver.until("receiver_events_dropped_total", lambda n: n > 0)

    assert 12_000 == receipt.frames
    assert 6000 == events + dropped


async def test_a_broken_websocket_is_a_fault_of_the_peer():
    """The metrics also count the faults that the WebSocket library refuses on its own."""
    async with running() as receiver:
        async with speaking(receiver.url) as client:
            await client.connection.send(bytes(1024 * 1024 + 1))
            await client.connection.wait_closed()
        async with speaking(receiver.url) as other:
            await other.connection.send(b"\xff", text=True)
            await other.connection.wait_closed()
        error = {"dialect": "sonoduct", "result": "error"}
        await receiver.until("receiver_connections_total", lambda n: n == 2, **error)

        assert 1 == receiver.value("receiver_protocol_errors_total", code="1009")
        assert 1 == receiver.value("receiver_protocol_errors_total", code="1007")

    assert (1009, 1007) == (client.connection.close_code, other.connection.close_code)
