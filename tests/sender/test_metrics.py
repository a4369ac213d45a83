"""The sender's metrics, whose names are a contract."""

import asyncio

import pytest
from prometheus_client import CollectorRegistry, generate_latest
from rich.console import Console

from sender import SourceError
from sender.client import Client
from sender.jobs.delivery import Deliveries
from sender.metrics import Metrics
from sender.opening import open_file
from sender.settings import Settings
from sender.terminal import Progress
from tests.support.clients import connected
from tests.support.recorder import SMALL, Recorder, listening
from tests.support.relay import Relay, free_port
from tests.support.sounds import write

RESULTS = {"sent", "known", "failed", "interrupted"}
REASONS = {"refused", "lost", "drained", "overloaded", "held", "fenced", "error"}


def values(registry):
    """Return every sample by its name and labels, without the times of creation."""
    return {
        (sample.name, *sample.labels.values()): sample.value
        for family in registry.collect()
        for sample in family.samples
        if not sample.name.endswith("_created")
    }


def test_every_metric_exists_from_the_start():
    """All names and known labels are there with the value 0, because a rate needs a first value."""
    registry = CollectorRegistry()
    Metrics(registry, "1.2.3")
    seen = values(registry)

    assert 1 == seen.pop(("sender_build_info", "1.2.3", "unknown"))
    assert {0} == set(seen.values())
    assert {
        "sender_streams_total",
        "sender_chunks_sent_total",
        "sender_sent_bytes_total",
        "sender_resent_bytes_total",
        "sender_audio_seconds_total",
        "sender_reconnects_total",
        "sender_unacknowledged_bytes",
        "sender_unacknowledged_age_seconds",
        "sender_units_sent_total",
        "sender_units_acknowledged_total",
        "sender_waiting_files",
        "sender_blocked_seconds_total",
        "sender_decode_duration_seconds_bucket",
        "sender_decode_duration_seconds_count",
        "sender_decode_duration_seconds_sum",
        "sender_active_streams",
    } == {name for name, *_ in seen}
    assert RESULTS == {labels[0] for name, *labels in seen if name == "sender_streams_total"}
    assert REASONS == {labels[0] for name, *labels in seen if name == "sender_reconnects_total"}
    assert ("sender_decode_duration_seconds_count", "soundfile") in seen
    assert ("sender_decode_duration_seconds_count", "raw") in seen
    assert b"# HELP sender_unacknowledged_bytes" in generate_latest(registry)


async def test_a_stream_is_counted(tmp_path):
    """The metrics count chunks, bytes with headers, seconds of audio, and each result."""
    registry, recorder = CollectorRegistry(), Recorder()
    path = write(tmp_path / "a.wav", 16_000)
    async with (
        listening(recorder) as running,
        connected(running.url, registry=registry, chunk_frames=4000) as client,
    ):
        await client.send(path)
        await client.send(path)
        with pytest.raises(SourceError):
            await client.send(tmp_path / "gone.wav")
    seen = values(registry)

    assert 4 == seen["sender_chunks_sent_total",]
    assert 4 * (32 + 8000) == seen["sender_sent_bytes_total",]
    assert 0 == seen["sender_resent_bytes_total",]
    assert 1.0 == seen["sender_audio_seconds_total",]
    assert 1 == seen["sender_streams_total", "sent"] == seen["sender_streams_total", "known"]
    assert (
        4 == seen["sender_decode_duration_seconds_count", "soundfile"]
    )  # reads to send, and to prove
    assert 0 == seen["sender_active_streams",] == seen["sender_unacknowledged_bytes",]
    assert 16_000 == seen["sender_units_sent_total", "pcm"]
    assert 16_000 == seen["sender_units_acknowledged_total", "pcm"]


async def test_waiting_for_credit_is_measured(tmp_path):
    """Without credit the unacknowledged bytes fill the window; afterwards the wait is counted."""
    registry, recorder = CollectorRegistry(), Recorder()
    recorder.gate.clear()
    async with (
        listening(recorder, **SMALL) as running,
        Relay(running.port).listen() as proxy,
        connected(proxy.url, registry=registry) as client,
    ):
        sending = asyncio.create_task(client.send(write(tmp_path / "a.wav", 100_000)))
        await proxy.until(lambda: proxy.passed > 65_536)
        waiting = values(registry)
        recorder.gate.set()
        await sending
    seen = values(registry)

    assert 1 == waiting["sender_active_streams",]
    assert 65_536 - 2 * 32 == waiting["sender_unacknowledged_bytes",]
    assert 0 == waiting["sender_blocked_seconds_total",] < seen["sender_blocked_seconds_total",]
    assert 0 == seen["sender_active_streams",] == seen["sender_unacknowledged_bytes",]


def delivering(registry, url, **how):
    """Return a client, deliveries for it, and their settings."""
    settings = Settings(to=url, connect_timeout=0.1)
    metrics = Metrics(registry, "test")
    progress = Progress(Console(stderr=True), shown=False)
    deliveries = Deliveries(settings, metrics, progress, lambda _: None, **how)
    return Client(settings, metrics, "one"), deliveries, settings


async def test_a_file_that_is_tried_again_is_counted_once(tmp_path):
    """While the receiver is away, no attempt counts as failed; the file counts when it is sent."""
    registry, recorder, path = CollectorRegistry(), Recorder(), write(tmp_path / "a.wav")
    port = free_port()
    client, deliveries, settings = delivering(registry, f"ws://127.0.0.1:{port}", again=True)
    for _ in range(3):
        outcome = await deliveries.deliver(client, "a", lambda: open_file(path, settings))

        assert ("failed", True) == (outcome.result, outcome.retry)

    async with listening(recorder, port=port):
        await deliveries.deliver(client, "a", lambda: open_file(path, settings))
        await client.close()
    seen = values(registry)

    assert (1, 0) == (seen["sender_streams_total", "sent"], seen["sender_streams_total", "failed"])


async def test_each_failed_file_is_counted_once(tmp_path):
    """Junk, a missing file, an absent receiver and a folder without audio are one failure each."""
    registry, path = CollectorRegistry(), write(tmp_path / "a.wav")
    (junk := tmp_path / "junk.wav").write_text("no audio")
    client, deliveries, settings = delivering(registry, f"ws://127.0.0.1:{free_port()}")
    for each in (junk, tmp_path / "gone.wav", path):
        await deliveries.deliver(client, each.name, lambda each=each: open_file(each, settings))
    deliveries.fail("folder", SourceError("no audio in it"))
    seen = values(registry)

    assert 4 == seen["sender_streams_total", "failed"]
    assert 0 == seen["sender_active_streams",]


async def test_a_machine_without_threads(tmp_path):
    """If no thread can be started, the file may be tried later; another RuntimeError is raised."""
    registry = CollectorRegistry()
    client, deliveries, _ = delivering(registry, "ws://127.0.0.1:1", again=True)

    def opening(text):
        def fail():
            raise RuntimeError(text)

        return fail

    outcome = await deliveries.deliver(client, "a", opening("can't start new thread"))

    assert ("failed", True) == (outcome.result, outcome.retry)
    with pytest.raises(RuntimeError, match="something else"):
        await deliveries.deliver(client, "a", opening("something else"))
