"""Lines of one stream can be joined over both logs and the manifest, by the fields of the table."""

import asyncio
import json
import re
import signal
from pathlib import Path

from tests.support.commands import COMMANDS, sending, started
from tests.support.relay import Relay
from tests.support.sounds import write

OPERATIONS = (Path(__file__).parents[2] / "docs" / "operations.md").read_text()

FIRST = {"timestamp", "level", "event"}


def table():
    """Return for each field of operations.md where it is: receiver, sender, manifest."""
    text = OPERATIONS[OPERATIONS.index("| field | receiver |") :].partition("\n\n")[0]
    rows = re.findall(r"^\| (`.*?`) \| (.*?) \| (.*?) \| (.*?) \|", text, re.MULTILINE)
    return {field: places for names, *places in rows for field in re.findall(r"\w+", names)}


def fields(lines):
    return set().union(*(line.keys() for line in lines))


async def test_fields_are_the_same_on_both_ends(tmp_path):
    """Over a lost connection, each field is where the table says, with the same value."""
    path, store = write(tmp_path / "talk.wav", 400_000), tmp_path / "store"
    env = {
        "RECEIVER_HOST": "127.0.0.1",
        "RECEIVER_PORT": "0",
        "RECEIVER_METRICS_PORT": "0",
        "RECEIVER_STORE": str(store),
        "RECEIVER_RESERVE_BYTES": "0",
        "RECEIVER_REPLICA": "north-1",
        "RECEIVER_DRAIN_LEAD": "0",
        "RECEIVER_LOG_LEVEL": "debug",
    }
    async with started(COMMANDS / "receiver", "serve", env=env) as receiver:
        port = int((await receiver.said("receiver_ready"))["url"].rpartition(":")[2])
        async with Relay(port, cuts=[1_200_000]).listen() as proxy:
            async with sending(path, "--to", proxy.url, "--log-level", "debug") as sender:
                assert 0 == await sender.ended()
        await receiver.said("recording_written")
        receiver.interrupt(signal.SIGTERM)
        await receiver.ended()
    (manifest,) = (store / "audio").glob("talk-*.json")
    written = json.loads(await asyncio.to_thread(manifest.read_text))

    ours, theirs = receiver.log, sender.log
    kept = fields([written, written["receipt"], *written["connections"]])
    documented = table()
    for field, places in documented.items():
        for place, seen in zip(places, (fields(ours), fields(theirs), kept), strict=True):
            assert (field in seen) is (place != "no"), (field, place)
    shared = fields(ours) & fields(theirs) - FIRST
    assert shared <= documented.keys(), "a field that both ends have stands in the table"
    assert {"north-1"} == {line["replica"] for line in ours}
    for line in (*ours, *theirs):
        assert ["timestamp", "level", "event"] == list(line)[:3]

    def values(lines, event, *names):
        return [tuple(line[name] for name in names) for line in lines if line["event"] == event]

    names = ("stream", "instance", "epoch", "offset")
    opened = values(ours, "stream_opened", *names)
    assert opened == values(theirs, "claim_accepted", *names)
    receipt, connections = written["receipt"], written["connections"]
    assert opened == [
        (receipt["stream"], each["instance"], each["epoch"], each["offset"]) for each in connections
    ]
    assert values(ours, "stream_opened", "peer") == [(each["peer"],) for each in connections]
    assert {"north-1"} == {each["replica"] for each in connections}
    ((ended, replica, peer),) = values(theirs, "stream_ended", "result", "replica", "peer")
    assert ("sent", "north-1", proxy.url.partition("//")[2]) == (ended, replica, peer)
