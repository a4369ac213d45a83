"""A receiver that is killed repeatedly while streams come in."""

import asyncio
import itertools
from dataclasses import dataclass, field

import pytest

from tests.support.evidence import RATE, make, require_all
from tests.support.extent import either, percentiles, slowness, spread
from tests.support.receivers import Receiver, serving
from tests.support.streams import Track, playing, progress, send_again

pytestmark = pytest.mark.faults

LANES = 2
"""Receivers, each with its own store; they are killed independently."""

TRACKS = 4
"""Streams that a receiver has when it is killed."""

MOST_S = 1.5
"""From a receiver that is ready again to an acknowledgement, in 95 of 100 cases."""


@dataclass
class Seconds:
    """The measured times."""

    starting: list[float] = field(default_factory=list)
    from_kill: list[float] = field(default_factory=list)
    """Until a stream went on."""
    from_ready: list[float] = field(default_factory=list)
    streams: int = 0


def sounds(folder, chance):
    """Yield files of one to four seconds, so that kills also fall on their beginnings and ends."""
    for number in itertools.count():
        yield make(folder, number, int(chance.uniform(1, 4) * RATE))


async def kill_often(receiver, tracks, count, chance, seconds):
    """Kill *receiver* *count* times, and start it again each time."""
    now = asyncio.get_running_loop().time
    while count > 0:
        await asyncio.sleep(chance.uniform(0, 0.3))  # any moment
        await receiver.kill()
        killed, count = now(), count - 1
        again = count and chance.random() < 0.2
        if again:  # also while it starts
            await receiver.begin()
            await asyncio.sleep(chance.uniform(0, 0.8))
            await receiver.kill()
            count -= 1
        places, begun = [(each, each.place) for each in tracks], now()
        await receiver.start()
        ready = now()
        reached = await asyncio.gather(*(each.progress(place) for each, place in places))
        seconds.starting.append(ready - begun)
        if not again:  # senders wait longer after two
            seconds.from_kill += [at - killed for at in reached]
            seconds.from_ready += [at - ready for at in reached]


async def lane(folder, count, chance, seconds):
    """Kill one receiver *count* times; check its recordings at the end."""
    folder.mkdir()
    receiver, files = Receiver(folder / "store"), sounds(folder, chance)
    tracks = [Track(receiver.url, files) for _ in range(TRACKS)]
    async with serving(receiver):
        async with playing(tracks):
            await progress(tracks)
            await kill_often(receiver, tracks, count, chance, seconds)
        sent = [each for track in tracks for each in track.sent]
        await send_again(receiver.url, sent)
        await require_all(receiver.store, sent)
    seconds.streams += len(sent)


async def test_a_receiver_that_is_killed_loses_nothing(tmp_path, chance, say):
    """After each restart, streams resume at once; at the end, each sample is there once."""
    count, seconds = either(40, 1000), Seconds()
    async with asyncio.TaskGroup() as lanes:
        for number in range(LANES):
            folder = tmp_path / str(number)
            lanes.create_task(lane(folder, count // LANES, chance, seconds))
    say(f"{count} kills, {seconds.streams} streams; to start: {spread(seconds.starting)}")
    say(f"to go on, from the kill: {spread(seconds.from_kill)}")
    say(f"to go on, from being ready: {spread(seconds.from_ready)}")

    assert percentiles(seconds.from_ready)[1] < MOST_S * slowness(seconds.starting)
