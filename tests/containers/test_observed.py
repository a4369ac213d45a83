"""What Prometheus and the dashboards show of known traffic and of known troubles."""

import json
import math
import os
import subprocess
import time
from collections import Counter
from contextlib import suppress
from itertools import chain
from pathlib import Path

import numpy as np
import pytest
import websockets
from prometheus_client import CollectorRegistry

from deploy.grafana import render
from deploy.grafana.asking import Prometheus, Range
from sender import Settings, connect
from sonoduct import wire
from tests.containers.deadlines import until
from tests.containers.engine import ROOT, docker, events, inside, inspect
from tests.containers.load import STREAMS, assert_arrived, loaded
from tests.containers.metrics import counted, query
from tests.containers.recordings import FOLDER, manifests
from tests.containers.replicas import await_streams
from tests.containers.system import running
from tests.support.rawclient import sound, speaking
from tests.support.sounds import write

pytestmark = pytest.mark.containers

FILES = ("docker-compose.yml", "tests/containers/small-store.yml")
RESERVE = 32 * 2**20
LOAD_S = 75
"""Longer than a kill, a roll and a full disk take together."""

OLD_S = 5
"""Seconds without an acknowledgement that show that something is wrong."""

SAMPLE_FRAMES = 402_840
"""Frames of the sample audio."""

BOARDS = ("overview", "receiver", "delivery", "processors", "gateway")


@pytest.fixture(name="system", scope="module")
def _system(images, tmp_path_factory):
    """Start two replicas with a small store for this module only, so no other stream counts."""
    with running(
        tmp_path_factory.mktemp("observed"),
        COMPOSE_FILE=os.pathsep.join(str(ROOT / each) for each in FILES),
        RECEIVER_REPLICAS="2",
        RECEIVER_RESERVE_BYTES=str(RESERVE),
        RECEIVER_MEMORY="768m",  # files of the store count as memory
    ) as system:
        yield system


def assert_counted(system, expected):
    """
    Require that Prometheus soon has exactly these counts.

    *expected* has dictionaries from the labels' values to a count, by name and labels of a metric.
    """

    def seen():
        return {(name, *by): counted(system.prometheus, name, *by) for name, *by in expected}

    with suppress(AssertionError):  # the comparison below says what differs
        until(seen, expected.__eq__, 20, "counts in Prometheus")
    assert expected == seen()


# -- Known traffic ---------------------------------------------------------------------------------


async def plain(url, messages):
    """Send binary *messages* as the tutorial's client does; return the receiver's answer."""
    async with websockets.connect(url, compression=None) as connection:
        for message in messages:
            await connection.send(message)
        await connection.send("Done")
        return json.loads(await connection.recv())


async def unchanged(url, path, registry):
    """Send a file with `--encoding file`; return the receipt."""
    async with connect(url, Settings(encoding="file"), registry=registry) as client:
        return await client.send(path)


async def refused(url, **how):
    """Make a handshake that a receiver refuses; return the status."""
    with pytest.raises(websockets.InvalidStatus) as caught:
        async with websockets.connect(url, **how):
            pass
    return caught.value.response.status_code


async def nonsense(url):
    """Send a text that is no hello."""
    async with speaking(url) as client:
        await client.connection.send("nonsense")
        return (await client.closed())[0]


async def wrong_checksum(url):
    """Send a chunk whose last byte has changed on its way."""
    async with speaking(url) as client:
        await client.greet()
        chunk = bytearray(wire.encode_chunk(client.outbound.epoch, 0, 100, sound(100)))
        chunk[-1] ^= 1
        await client.connection.send(bytes(chunk))
        return (await client.closed())[0]


async def lost(url):
    """Claim a stream, and lose the connection."""
    async with speaking(url) as client:
        await client.greet()
        client.abort()


async def cancelled(url, payload):
    """Send *payload*, and give the stream up."""
    async with speaking(url) as client:
        await client.greet()
        await client.send(payload)
        await client.acknowledged()
        await client.say(client.outbound.cancel())
        await client.until(wire.Cancelled)


async def test_known_traffic(system, tmp_path):
    """
    Every count of a metric equals what was sent, at both ends, and the faults that were made.

    Each counted fault has a line in a log.
    """
    broken = tmp_path / "broken.wav"
    broken.write_bytes(bytes(range(256)) * 40)
    (system.audio.parent / "broken.wav").write_bytes(broken.read_bytes())
    (system.audio.parent / "broken.wav").replace(system.audio / "broken.wav")
    registry, silent = CollectorRegistry(), CollectorRegistry()
    whole = write(tmp_path / "whole.wav", 20_011)
    floats = np.linspace(-1, 1, 12_000, dtype="<f4").reshape(3, -1)
    shorts = sound(9_000, wire.Format(samplerate=48_000, channels=2, encoding=wire.Encoding.S16LE))
    gone = sound(1_000)

    answers = [
        await plain(system.url, [each.tobytes() for each in floats]),
        await plain(f"{system.url}/?encoding=s16le&samplerate=48000&channels=2", [shorts]),
    ]
    receipt = await unchanged(system.url, whole, registry)
    with pytest.raises(wire.ProcessingFailed):
        await unchanged(system.url, broken, silent)
    statuses = [
        await refused(f"{system.url}/elsewhere"),
        await refused(system.url, subprotocols=["other.v1"]),
    ]
    codes = [await nonsense(system.url), await wrong_checksum(system.url)]
    await lost(system.url)
    await cancelled(system.url, gone)

    assert [12_000, 9_000, 20_011] == [*(each["frames"] for each in answers), receipt.frames]
    assert [404, 400] == statuses
    assert [4400, 4460] == codes
    files = whole.stat().st_size + broken.stat().st_size
    pcm = {"sender": SAMPLE_FRAMES, "receiver": SAMPLE_FRAMES + 12_000 + 9_000 + 1_000}
    assert_counted(
        system,
        {
            ("sender_streams_total", "result"): {("sent",): 4, ("failed",): 1},
            ("sender_reconnects_total", "reason"): {},
            ("sender_resent_bytes_total",): {},
            **{
                (f"sender_units_{verb}_total", "kind"): {("pcm",): pcm["sender"]}
                for verb in ("sent", "acknowledged")
            },
            **{
                (f"receiver_units_{verb}_total", "kind"): {
                    ("pcm",): pcm["receiver"],
                    ("file",): files,
                }
                for verb in ("received", "acknowledged")
            },
            ("receiver_frames_total",): {(): pcm["receiver"] + 20_011},
            ("receiver_streams_total", "result"): {
                ("committed",): 4 + 2 + 1,
                ("cancelled",): 1,
                ("failed",): 1,
            },
            ("receiver_resumes_total",): {},
            ("receiver_fenced_total",): {},
            ("receiver_protocol_errors_total", "code"): {
                ("4400",): 1,
                ("4460",): 1,
                ("4500",): 1,
            },
            ("receiver_refusals_total", "reason"): {("path",): 1, ("subprotocol",): 1},
            ("receiver_decode_errors_total", "decoder"): {("none",): 1},
            ("receiver_processor_failures_total",): {},
            ("receiver_recordings_total", "result"): {("written",): 4 + 2 + 1},
        },
    )
    # The sender's side of what it sent: the container's, and the two clients' of this process.
    for ours, theirs in (
        ("receiver_chunks_received_total", "sender_chunks_sent_total"),
        ("receiver_received_bytes_total", "sender_sent_bytes_total"),
    ):
        here = sum(each.get_sample_value(theirs) for each in (registry, silent))
        extra = 1 if "chunks" in ours else wire.HEADER_BYTES + len(gone)
        (sent,) = counted(system.prometheus, theirs).values()

        assert sent + here + extra == counted(system.prometheus, ours, "dialect")["sonoduct",]
    # A plain client has no headers: it gets one when its bytes become chunks.
    taken = floats.nbytes + len(shorts) + 4 * wire.HEADER_BYTES
    by_dialect = counted(system.prometheus, "receiver_received_bytes_total", "dialect")

    assert taken == by_dialect["plain",]
    assert 4 == counted(system.prometheus, "receiver_chunks_received_total", "dialect")["plain",]
    ended = counted(system.prometheus, "receiver_connections_total", "dialect", "result")
    ended.pop(("sonoduct", "ok"))  # the sender's own connections end when they are idle

    assert {("plain", "ok"): 2, ("sonoduct", "error"): 3, ("sonoduct", "lost"): 1} == ended
    closed = Counter(line["code"] for line in system.logged("receiver", "connection_closed"))

    assert {4400: 1, 4460: 1, 4500: 1} == closed
    assert 2 == len(system.logged("receiver", "connection_refused"))
    one = min(system.containers("receiver"))
    sizes = inside(one, "sh", "-c", f"find {FOLDER} -name '*.wav' -exec stat -c %s {{}} +")

    assert {(): sum(map(int, sizes.split()))} == counted(
        system.prometheus, "receiver_recorded_bytes_total"
    )


def named(container):
    """Return the name of a container."""
    return inspect(container)["Name"].strip("/")


def test_one_name_for_a_replica(system):
    """A replica has one name: of its container, in metrics, in logs and at the gateway."""
    names = {named(each) for each in system.containers("receiver")}
    own = {
        named(each): {line.get("replica") for line in events(each)}
        for each in system.containers("receiver")
    }
    mapped = until(
        lambda: gateway_names(system), lambda seen: len(seen) == 2, 20, "gateway's names"
    )
    shown = {labels["replica"] for labels, _ in query(system.prometheus, "receiver_build_info")}

    assert 2 == len(names)
    assert {name: {name} for name in names} == own
    assert names == shown
    assert set(mapped.items()) == set(gateway_log(system))
    assert names == set(mapped.values())


def test_lines_that_join(system):
    """Both logs and the manifest name the same replica and the same sender for a stream."""
    sent = joined(system.logged("sender", "stream_ended", result="sent"))
    committed = joined(system.logged("receiver", "stream_ended", result="committed"))
    one = min(system.containers("receiver"))
    kept = {
        made["receipt"]["stream"]: (each["replica"], each["instance"])
        for made in manifests(one)
        for each in made["connections"]
    }

    assert 4 == len(sent)
    assert sent.items() <= committed.items()
    assert committed == kept


def joined(lines):
    """Return the replica and the sender's instance by stream."""
    return {line["stream"]: (line["replica"], line["instance"]) for line in lines}


def gateway_names(system):
    """Return the replicas by the gateway's names, according to Prometheus."""
    found = query(system.prometheus, "server:receiver_gateway:info")
    return {labels["server"]: labels["replica"] for labels, _ in found}


def gateway_log(system):
    """Yield the gateway's names of servers that answered a stream, with their own names."""
    for line in docker("logs", system.container("gateway"), both=True).splitlines():
        words = line.split()
        server = next((word for word in words if word.startswith("receivers/receiver")), None)
        name = next((word for word in words if word.startswith("{") and word != "{}"), None)
        if server and name:
            yield server.partition("/")[2], name.strip("{}")


# -- Known troubles --------------------------------------------------------------------------------


def missing(system):
    """Return the replicas that Prometheus misses."""
    found = query(system.prometheus, "replica:receiver_missing:info")
    return {labels["replica"] for labels, _ in found}


def alerting(system, alert):
    """Return the series of an alert that is pending or fires."""
    return query(system.prometheus, f'ALERTS{{alertname="{alert}"}}')


def values(system, expression):
    """Return the values of an instant query, without their labels."""
    return [value for _, value in query(system.prometheus, expression)]


def free(system):
    """Return the bytes that the store has left, according to each replica."""
    return values(system, "receiver_store_free_bytes")


@pytest.fixture(name="moments", scope="module")
def _moments():
    """Return the Unix times at which a trouble was seen, by its name."""
    return {}


def kill(system, victim, figure):
    """Kill a replica until Prometheus misses it and has an alert; return the Unix time."""
    name, began = named(victim), time.time()
    docker("kill", victim)
    until(lambda: missing(system), lambda seen: seen == {name}, 20, "missing replicas")
    figure(f"from a replica's death until it is missing: {time.time() - began:.1f} s")
    until(lambda: alerting(system, "ReceiverMissing"), bool, 10, "alerts")
    return time.time()


def roll(system):
    """Replace every replica; return the Unix time, the replicas that drained, and missing ones."""
    began = time.time()
    subprocess.run(
        [ROOT / "deploy" / "roll.sh"], check=True, capture_output=True, timeout=120, env=system.env
    )
    within = f"[{time.time() - began:.0f}s]"
    drained = query(system.prometheus, f"max_over_time(receiver_draining{within}) == 1")
    gone = query(system.prometheus, f"max_over_time(replica:receiver_missing:info{within})")
    return time.time(), {labels["replica"] for labels, _ in drained}, gone


def fill(system, figure):
    """Fill the disk until metrics and an alert say so, and make room; return the Unix time."""
    began = time.time()
    one = min(system.containers("receiver"))
    inside(one, "sh", "-c", "cat /dev/zero >/recordings/filler; true")
    until(lambda: free(system), lambda seen: seen and not any(seen), 20, "free bytes")
    figure(f"from a full disk until every replica says so: {time.time() - began:.1f} s")
    late = write(system.audio.parent / "late.wav", 30_000)
    late.replace(system.audio / "late.wav")
    until(lambda: alerting(system, "StoreFull"), bool, 20, "alerts")
    for expression, shows in (
        ("job:receiver_store_full:eta_seconds", lambda left: left == [0]),
        ("max(receiver_unacknowledged_age_seconds)", lambda ages: max(ages, default=0) > OLD_S),
    ):
        until(lambda expression=expression: values(system, expression), shows, 20, expression)
    seen = time.time()
    inside(one, "rm", "/recordings/filler")
    figure(f"the disk was full for {time.time() - began:.1f} s")
    return seen


def test_known_troubles(system, moments, tmp_path, figure):
    """
    A kill, a roll and a full disk are seen for what they are, and every stream arrives.

    A replica that is rolled is never missing. As many resumes are counted as the manifests have.
    """
    replicas = system.settle(2)
    names = {named(each) for each in replicas}
    with loaded(tmp_path, system.url, seconds=LOAD_S) as load:
        await_streams(replicas)
        moments["killed"] = kill(system, min(replicas), figure)
        system.settle(2)
        until(lambda: missing(system), lambda seen: not seen, 20, "missing replicas")
        moments["rolled"], drained, gone = roll(system)
        moments["full"] = fill(system, figure)

        assert load.runs
        assert_arrived(load)

    assert names == drained
    assert [] == gone
    assert alerting(system, "FilesFailed")
    waiting = "receiver_units_received_total - receiver_units_acknowledged_total != 0"
    until(lambda: query(system.prometheus, waiting), lambda seen: not seen, 20, waiting)
    count = 7 + STREAMS + 1
    one = min(system.containers("receiver"))
    found = until(lambda: manifests(one), lambda seen: len(seen) == count, 60, "recordings")
    again = sum(each["epoch"] > 1 for made in found for each in made["connections"])
    figure(f"resumes: {again}")

    assert again >= STREAMS
    assert_counted(
        system,
        {
            ("receiver_resumes_total",): {(): again},
            ("receiver_streams_total", "result"): {
                ("committed",): count,
                ("cancelled",): 1,
                ("failed",): 1,
            },
            ("receiver_recordings_total", "result"): {("written",): count},
            ("sender_streams_total", "result"): {("sent",): 5, ("failed",): 1},
        },
    )


# -- What the dashboards show ----------------------------------------------------------------------


@pytest.fixture(name="shown", scope="module")
def _shown(system):
    """Return the time from the system's start until all troubles are over."""
    return Range(system.started.timestamp(), time.time())


@pytest.fixture(name="pictures", scope="module")
def _pictures(tmp_path_factory):
    """Return the folder for pictures: SONODUCT_PICTURES, or a temporary one."""
    folder = Path(os.environ.get("SONODUCT_PICTURES") or tmp_path_factory.mktemp("pictures"))
    folder.mkdir(parents=True, exist_ok=True)
    return folder


def asked(board, prometheus, shown):
    """
    Yield the title and the expression of each query of a panel, and whether it has data.

    A panel that says what it means to have none is left out.
    """
    for panel in board["panels"]:
        if panel.get("fieldConfig", {}).get("defaults", {}).get("noValue"):
            continue
        for target in panel.get("targets") or ():
            if target.get("instant"):
                found = prometheus.at_end(target["expr"], shown)
            else:
                found = prometheus.over_time(target["expr"], shown, shown.step(800))
            values = chain.from_iterable(series.values for series in found)
            yield panel["title"], target["expr"], not all(map(math.isnan, values))


@pytest.mark.parametrize("name", BOARDS)
def test_every_query_has_data(system, shown, name):
    """Each query of each panel returns data over the time of these tests."""
    board = json.loads((render.FOLDER / f"{name}.json").read_text())
    every = list(asked(board, Prometheus(system.prometheus, {}), shown))

    assert every
    assert [] == [f"{title}: {expression}" for title, expression, data in every if not data]


def draw(system, shown, name, picture):
    """Draw a dashboard as it was at the end of *shown*."""
    render.main(
        [
            *(name, "--prometheus", system.prometheus, "--output", str(picture)),
            *("--last", f"{shown.end - shown.start:.0f}s", "--end", f"{shown.end:.3f}"),
        ]
    )

    assert picture.read_bytes().startswith(b"\x89PNG")


@pytest.mark.parametrize("name", BOARDS)
def test_picture(system, shown, pictures, name):
    """Each dashboard can be drawn."""
    draw(system, shown, name, pictures / f"{name}.png")


def overview(title, number=0):
    """Return the expression of a query of a panel of the overview."""
    board = json.loads((render.FOLDER / "overview.json").read_text())
    (panel,) = [each for each in board["panels"] if each["title"] == title]
    return panel["targets"][number]["expr"]


def test_panels_count_what_happened(system, shown):
    """Bars add up to the events, and numbers have what happened before the first scrape."""
    prometheus = Prometheus(system.prometheus, {})
    bar_s = 15
    until_last_bar = Range(shown.start, shown.end + bar_s)
    (bars,) = prometheus.over_time(overview("Resumes and reconnects"), until_last_bar, bar_s)
    (failed,) = prometheus.at_end(overview("Failed in this range"), shown)

    assert counted(system.prometheus, "receiver_resumes_total") == {
        (): sum(value for value in bars.values if not math.isnan(value))
    }
    assert [1] == failed.values


def test_timeline_shows_what_is_short(system, shown):
    """Each replica drained in the roll, one was missing after the kill, and both were full."""
    states = Prometheus(system.prometheus, {}).over_time(
        overview("Replicas over time"), shown, shown.step(800)
    )
    drained, missed, full = (
        {each.labels["replica"] for each in states if state in each.values} for state in (1, 2, 3)
    )

    assert 2 == len(drained) == len(full)
    assert 1 == len(missed)


AT = {
    "killed": ("Missing replicas", 1),
    "rolled": ("Missing replicas", 0),
    "full": ("Store is full in", 0),
}
"""What a panel of the overview says at a moment of trouble."""


@pytest.mark.parametrize("moment", AT)
def test_overview_at(system, moments, pictures, shown, moment):
    """During a trouble the overview says so, and can be drawn."""
    then = Range(shown.start, moments[moment])
    draw(system, then, "overview", pictures / f"overview-{moment}.png")
    title, value = AT[moment]
    (found,) = Prometheus(system.prometheus, {}).at_end(overview(title), then)

    assert [value] == found.values
