"""The metrics of one run of the sender: served while it runs, pushed at its end, exact."""

import asyncio
import re
import time
import urllib.request
from contextlib import asynccontextmanager

import pytest
from prometheus_client import CollectorRegistry
from prometheus_client.parser import text_string_to_metric_families
from structlog.testing import capture_logs

from sender.client import Client
from sender.commands import push
from sender.metrics import Metrics
from sender.settings import Settings
from tests.support.clients import connected
from tests.support.commands import sending, sent
from tests.support.rawclient import running as durable
from tests.support.recorder import SMALL, Recorder, listening
from tests.support.relay import Relay, free_port
from tests.support.sounds import RATE, write
from tests.support.strangers import tcp_server
from tests.support.waits import until


def parsed(text):
    """Return the samples in *text*, by name and label values."""
    return {
        (sample.name, *sample.labels.values()): sample.value
        for family in text_string_to_metric_families(text)
        for sample in family.samples
    }


@asynccontextmanager
async def gateway(status=202):
    """Take a push as a Pushgateway does: yields the address, and the requests that came."""
    pushed = []

    async def serve_one(reader, writer):
        head = (await reader.readuntil(b"\r\n\r\n")).decode()
        length = int(re.search(r"Content-Length: (\d+)", head, re.IGNORECASE)[1])
        pushed.append((head.partition(" HTTP")[0], (await reader.readexactly(length)).decode()))
        writer.write(f"HTTP/1.1 {status} x\r\nContent-Length: 0\r\n\r\n".encode())
        await writer.drain()
        writer.close()

    async with await asyncio.start_server(serve_one, "127.0.0.1", 0) as server:
        yield f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}", pushed


async def test_a_run_pushes_its_metrics(tmp_path):
    """Also a run with a failed file: the group of this host gets everything that is counted."""
    path = write(tmp_path / "a.wav", 2 * RATE)
    async with listening(Recorder()) as running, gateway() as (url, pushed):
        _, code = await sent(
            *(path, tmp_path / "gone.wav", "--to", running.url, "--push-gateway", url)
        )

    ((request, text),) = pushed
    seen = parsed(text)
    assert 1 == code
    assert re.fullmatch(r"PUT /metrics/job/sender/instance/\S+", request)
    assert 2.0 == seen["sender_audio_seconds_total",]
    assert 2 * RATE == seen["sender_units_sent_total", "pcm"]
    assert 2 * RATE == seen["sender_units_acknowledged_total", "pcm"]
    assert (1, 1) == (seen["sender_streams_total", "sent"], seen["sender_streams_total", "failed"])
    assert seen["process_start_time_seconds",] > 1.7e9
    assert 1 <= seen["sender_log_lines_total", "error"]


async def test_a_push_that_fails_changes_no_exit_code(tmp_path):
    """Without a gateway one line says so; every stream has its receipt."""
    path, place = write(tmp_path / "a.wav"), f"http://127.0.0.1:{free_port()}"
    async with listening(Recorder()) as running:
        program, code = await sent(path, "--to", running.url, "--push-gateway", place)

    (line,) = (line for line in program.log if line["event"] == "push_failed")
    assert (0, place, "warning") == (code, line["to"], line["level"])


@pytest.mark.parametrize("fault", ["refuses", "no HTTP", "odd host"])
async def test_a_gateway_that_cannot_be_pushed_to(fault):
    """If the gateway refuses, is another server, or has no possible name, one line says so."""
    async with gateway(500) as (refusing, _), tcp_server(b"what?\r\n\r\n") as other:
        place = {
            "refuses": refusing,
            "no HTTP": other.replace("ws:", "http:"),
            "odd host": "http://a b",
        }[fault]
        with capture_logs() as logs:
            await asyncio.to_thread(push, place, CollectorRegistry())

    assert [("push_failed", place)] == [(line["event"], line["to"]) for line in logs]


async def test_a_run_that_can_be_scraped(tmp_path):
    """With --metrics-port audio is counted while it is sent, not only at the receipt."""
    path = write(tmp_path / "a.wav", 60 * RATE)
    port = free_port()
    async with listening(Recorder()) as running:
        arguments = (path, "--to", running.url, "--realtime", "--metrics-port", port)
        async with sending(*arguments) as program:
            await program.said("stream_started")
            started, seen = time.monotonic(), {}

            def scrape():
                with urllib.request.urlopen(f"http://127.0.0.1:{port}/metrics") as answer:
                    seen.update(parsed(answer.read().decode()))
                return seen["sender_audio_seconds_total",]

            await until(scrape)
            most = time.monotonic() - started + 1

    assert 0 < seen["sender_audio_seconds_total",] < most
    assert 1 == seen["sender_active_streams",]
    assert 0 == seen["sender_streams_total", "sent"]


async def test_units_are_counted_once_over_lost_connections(tmp_path):
    """What is sent again counts as resent bytes only; at the end all units are acknowledged."""
    registry, path = CollectorRegistry(), write(tmp_path / "a.wav", 400_000)
    async with (
        listening(Recorder()) as running,
        Relay(running.port, cuts=[200_000, 300_000]).listen() as proxy,
        connected(proxy.url, registry=registry) as client,
    ):
        await client.send(path)

    def value(name, **labels):
        return registry.get_sample_value(f"sender_{name}", labels)

    assert 400_000 == value("units_sent_total", kind="pcm")
    assert 400_000 == value("units_acknowledged_total", kind="pcm")
    assert pytest.approx(400_000 / RATE) == value("audio_seconds_total")
    assert 2 == value("reconnects_total", reason="lost")


async def test_what_another_run_has_sent_is_not_counted(tmp_path):
    """A run that continues a stream counts the units that it sends itself."""
    path, recorder = write(tmp_path / "a.wav", 100_000), Recorder()
    first, second = CollectorRegistry(), CollectorRegistry()
    async with listening(recorder) as running:
        async with Relay(running.port).listen() as proxy:
            settings = Settings(to=proxy.url, realtime=True, speed=4)
            client = Client(settings, Metrics(first, "0"), "one")
            sending_ = asyncio.create_task(client.send(path))
            await recorder.until(lambda: recorder.takes and recorder.takes[0].frames > 20_000)
            sending_.cancel()
            await asyncio.wait({sending_})
        async with connected(running.url, registry=second) as client:
            await client.send(path)

    sent_, acknowledged = (
        [
            each.get_sample_value(f"sender_units_{kind}_total", {"kind": "pcm"})
            for each in (first, second)
        ]
        for kind in ("sent", "acknowledged")
    )
    assert 0 < sent_[1] < 100_000
    assert acknowledged[1] == sent_[1]
    assert sum(sent_) >= 100_000


async def test_the_age_of_what_waits(tmp_path):
    """While a receiver does not take audio, its age grows, also while the connection is lost."""
    registry, recorder = CollectorRegistry(), Recorder()
    recorder.gate.clear()

    def age():
        return registry.get_sample_value("sender_unacknowledged_age_seconds")

    def waiting():
        return registry.get_sample_value("sender_unacknowledged_bytes")

    limits = SMALL | {"reserve_bytes": 0}
    async with (
        durable(recorder, store=str(tmp_path / "store"), limits=limits) as running,
        Relay(running.port).listen() as proxy,
        connected(proxy.url, registry=registry) as client,
    ):
        sending_ = asyncio.create_task(client.send(write(tmp_path / "a.wav", 100_000)))
        await until(lambda: age() > 0.5)
        before = waiting()
        proxy.cut()
        await until(lambda: age() > 1.5)
        after = waiting()
        recorder.gate.set()
        await sending_

    assert 0 == age() == waiting()
    assert min(before, after) > 60_000
