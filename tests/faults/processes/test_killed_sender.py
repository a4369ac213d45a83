"""A sender that is killed, again and again, and started again with the same files."""

import asyncio
import signal
from contextlib import suppress
from pathlib import Path

import pytest

from tests.faults.processes.evidence import RATE, make, require_all
from tests.faults.processes.extent import either, percentiles, slowness, spread
from tests.faults.processes.receivers import Receiver, serving
from tests.faults.processes.waiting import ended, until
from tests.integration.commands import outcomes, sending
from wire import Receipt

pytestmark = pytest.mark.faults

MOST_S = 1.5
"""From the end of its start to progress, in 95 of 100 cases."""

CLAIM_BYTES = 2_000
"""What a claim writes before there is any audio, at most."""

HOW = ("--realtime", "--speed", "3", "--chunk-frames", "400", "--jobs", "4")


def segments(store):
    """The segments that there are, with their sizes; each claim has one of its own."""
    found = {}
    for path in Path(store).glob("streams/*/*/*.seg"):
        with suppress(FileNotFoundError):  # its stream gets complete just now
            found[path] = path.stat().st_size
    return found


def further(before, now):
    """Whether there is audio of a claim that came after *before*."""
    return any(size > CLAIM_BYTES for path, size in now.items() if path not in before)


async def kill_often(receiver, sounds, count, chance):
    """Send *sounds* with *count* processes and kill each; return what the first progress took."""
    now, starting, going_on = asyncio.get_running_loop().time, [], []
    for _ in range(count):
        begun, before = now(), segments(receiver.store)
        async with sending(sounds, *HOW, "--to", receiver.url) as program:
            if chance.random() < 0.2:  # a kill while it starts is one, too
                await asyncio.sleep(chance.uniform(0, 0.8))
                continue
            await program.until(
                lambda p=program: any("stream_started" in line for line in p.errors)
            )
            ready = now()
            _, at = await until(lambda b=before: further(b, segments(receiver.store)))
            starting.append(ready - begun)
            going_on.append(at - ready)
            await asyncio.sleep(chance.uniform(0, 0.3))  # any moment
            program.interrupt(signal.SIGKILL)
    return starting, going_on


async def test_a_sender_that_is_killed_loses_nothing(tmp_path, chance, say):
    """Started again, it goes on where the receiver says; each file is there once, bit for bit."""
    count, sounds, report = either(20, 500), tmp_path / "sounds", tmp_path / "report"
    sounds.mkdir()
    paths = [make(sounds, n, int(chance.uniform(1, 4) * RATE)) for n in range(either(40, 1000))]
    receiver = Receiver(tmp_path / "store")
    async with serving(receiver):
        starting, going_on = await kill_often(receiver, sounds, count, chance)
        async with sending(sounds, "--report", report, "--to", receiver.url) as program:
            assert 0 == await ended(program, either(60, 600))
        found = outcomes(report)
        sent = [(each, Receipt(**found[each.name]["receipt"])) for each in paths]
        await require_all(receiver.store, sent)
    known = sum(each["result"] == "known" for each in found.values())
    say(f"{count} kills, {len(sent)} streams, {known} of them complete before the last start")
    say(f"to start: {spread(starting)}; to go on: {spread(going_on)}")

    assert percentiles(going_on)[1] < MOST_S * slowness(starting)


# A stream from standard input, which the sender spools, belongs here: killed, started again on the
# same spool, it has to be complete as files are.
