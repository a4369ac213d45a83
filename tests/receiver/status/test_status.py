"""The commands `receiver status` and `receiver streams` against real receivers."""

import asyncio
import io
import json
import re
from contextlib import suppress
from functools import partial

import pytest
from prometheus_client import CollectorRegistry
from rich.console import Console

from receiver.__main__ import app
from receiver.status import show
from receiver.status.replicas import ask, ask_connections, find, split_address
from receiver.status.screen import ASCII_BARS, connections_table, duration, sparkline
from receiver.status.show import show_status, show_streams, with_rates
from sonoduct.runtime.metrics import metrics_endpoint
from tests.support.commands import COMMANDS, started
from tests.support.rawclient import FORMAT, running, sound, speaking
from tests.support.relay import free_port
from tests.support.strangers import http_server

FREE = {
    "RECEIVER_HOST": "127.0.0.1",
    "RECEIVER_PORT": "0",
    "RECEIVER_METRICS_PORT": "0",
    "RECEIVER_STORE": "none",
    "RECEIVER_DRAIN_LEAD": "0",
}


async def answered(command, capsys, *names, **how):
    """Run a command in this process; return its exit code, standard output and standard error."""
    code = await asyncio.to_thread(partial(command, names, interval=0.1, **how))
    said = capsys.readouterr()
    return code, said.out, said.err


async def test_a_live_receiver(capsys):
    """Both commands show the stream that is under way, as tables and as JSON."""
    env = FREE | {"RECEIVER_REPLICA": "n1"}
    async with started(COMMANDS / "receiver", "serve", env=env) as on:
        ready = await on.said("receiver_ready")
        place = f"127.0.0.1:{ready['metrics_port']}"
        async with speaking(ready["url"], name="talk \x1b[31m") as client:
            await client.greet()
            await client.send(sound(FORMAT.samplerate))
            await client.acknowledged()
            silent = f"127.0.0.1:{free_port()}"
            shown = await answered(show_status, capsys, place, once=True, as_json=False)
            status = await answered(show_status, capsys, place, once=False, as_json=True)
            streams = await answered(show_streams, capsys, place, as_json=False)
            listed = await answered(show_streams, capsys, place, silent, as_json=True)

    assert [0, 0, 0, 1] == [code for code, *_ in (shown, status, streams, listed)]
    assert "Connection refused" in listed[2], "the others are listed, and the silent one is named"
    assert re.search(r"^n1 +ready +1 ", shown[1], re.MULTILINE)
    row = json.loads(status[1])
    assert ("n1", "ready", 1, None) == (
        *(row["replica"], row["state"], row["streams"], row["store_full_in"]),
    )
    assert "\x1b" not in streams[1]
    assert re.search(r"talk .*n1 +s16le 8000 Hz 2 ch +1\.0 ", streams[1])
    connection = json.loads(listed[1])
    assert ("n1", 1.0, 0.0) == (
        *(connection["replica"], connection["received_s"], connection["audio_rate"]),
    )


async def test_replicas_that_do_not_answer(capsys):
    """`status` shows each in its row; both commands exit with 1 and name the place."""
    silent = f"127.0.0.1:{free_port()}"
    names = (silent, "nowhere.invalid")
    status = await answered(show_status, capsys, *names, once=True, as_json=False)
    streams = await answered(show_streams, capsys, *names, as_json=False)

    assert 1 == status[0] == streams[0]
    assert re.search(rf"^{silent} +gone +Connection refused", status[1], re.MULTILINE)
    assert re.search(r"^nowhere.invalid +gone", status[1], re.MULTILINE)
    assert f"receiver: {silent}: Connection refused" in streams[2]


async def test_a_server_that_is_no_receiver():
    """Another server's metrics, or its error, are a fault with a reason."""
    with metrics_endpoint(CollectorRegistry(), "127.0.0.1", 0) as port:
        (answer,) = await asyncio.to_thread(ask, [("127.0.0.1", port)])
        connections, (fault,) = await asyncio.to_thread(ask_connections, [("127.0.0.1", port)])
    async with http_server(500) as url:
        place = split_address(url.partition("//")[2])
        (broken,) = await asyncio.to_thread(ask, [place])

    assert "no receiver answers here" == answer.fault
    assert ([], True) == (connections, fault.startswith(f"127.0.0.1:{port}: "))
    assert "HTTP Error 500" in broken.fault


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("receiver", ("receiver", 8767)),
        ("10.0.0.1:9999", ("10.0.0.1", 9999)),
        ("[::1]:80", ("::1", 80)),
    ],
)
def test_addresses(text, expected):
    """A host, with or without a port."""
    assert expected == split_address(text)


@pytest.mark.parametrize("text", ["", "http://receiver", "a:b", "a:99999", "user@host/path"])
def test_wrong_addresses(text):
    """The error names the text and what is expected."""
    with pytest.raises(ValueError, match="expected HOST or HOST:PORT"):
        split_address(text)


def test_a_name_stands_for_all_of_its_addresses():
    """Each is found once, of one family."""
    found = find([("localhost", 1), ("127.0.0.1", 1), ("127.0.0.1", 2)])

    assert len(set(found)) == len(found)
    assert {port for _, port in found} == {1, 2}


def test_rates_of_connections():
    """They are differences between two looks; of a new connection, since it began."""
    old = {"replica": "a", "peer": "p", "stream": "s", "received_s": 2.0, "received_bytes": 100}
    later = {**old, "received_s": 5.0, "received_bytes": 400, "connected_s": 9.0}
    new = {**later, "peer": "q", "connected_s": 2.5}

    first, second = with_rates([old], [later, new], 1.5)

    assert (2.0, 200.0) == (first["audio_rate"], first["bytes_rate"])
    assert (2.0, 160.0) == (second["audio_rate"], second["bytes_rate"])


def test_the_one_furthest_behind_comes_first():
    """A stuck sender among a hundred is in the first row."""
    rest = {"replica": "a", "peer": "p", "instance": "i", "format": "f", "dialect": "d"}
    zero = {"received_s": 0.0, "audio_rate": 0.0, "bytes_rate": 0.0, "idle_s": 0.0}
    rows = [
        {**rest, **zero, "name": name, "behind_s": behind, "unacknowledged_s": 0.0}
        for name, behind in (("fine", 0.1), ("stuck", 30.0), ("slow", 2.0))
    ]
    console = Console(width=200)
    with console.capture() as captured:
        console.print(connections_table(rows))

    names = [line.split()[0] for line in captured.get().splitlines()[1:]]
    assert ["stuck", "slow", "fine"] == names


def test_sparklines():
    """The highest value has the highest bar; without audio all are low."""
    assert "▁▅█" == sparkline([0, 1, 2])
    assert "__" == sparkline([0, 0], ASCII_BARS)
    assert "" == sparkline([])


@pytest.mark.parametrize(
    ("seconds", "shown"),
    [(0.04, "0.0 s"), (99.0, "99.0 s"), (600, "10 min"), (36_000, "10 h"), (1e6, "12 days")],
)
def test_durations(seconds, shown):
    """They have the unit that people would use."""
    assert shown == duration(seconds)


def test_wrong_usage():
    """A replica's address is checked before anything is asked."""
    assert {"status", "streams"} <= set(app)


async def test_a_terminal_is_drawn_again_and_again(monkeypatch):
    """On a terminal `status` goes on until Ctrl-C: bars grow, and a replica that ends is gone."""
    console = Console(file=io.StringIO(), force_terminal=True, width=200)
    monkeypatch.setattr(show, "results_console", lambda: console)
    async with running(replica="n1") as live:
        endpoint = metrics_endpoint(live.registry, "127.0.0.1", 0, labels={"replica": "n1"})
        place = f"127.0.0.1:{endpoint.__enter__()}"
        looks = iter([lambda: None] * 3 + [lambda: endpoint.__exit__(None, None, None)])

        def wait(_seconds):
            """Do what happens between two looks; then Ctrl-C comes."""
            if (event := next(looks, None)) is None:
                raise KeyboardInterrupt
            event()

        monkeypatch.setattr(show.time, "sleep", wait)

        def look():
            with suppress(KeyboardInterrupt):
                show_status([place], once=False, interval=1, as_json=False)

        await asyncio.to_thread(look)
    screen = console.file.getvalue()

    assert re.search(r"n1 +\x1b\[32mready", screen)
    assert ["▁▁", "▁▁▁", "▁▁▁▁"] == re.findall(r"▁+", screen)
    assert re.search(r"n1 +\x1b\[1;31mgone.*Connection refused", screen)
