"""Receivers that are replaced one by one, as in a deployment, during streams in real time."""

import asyncio
import itertools

import pytest

from tests.faults.processes.balancer import Balancer
from tests.support.evidence import RATE, make, require_all
from tests.support.extent import either, percentiles, slowness, spread
from tests.support.receivers import Receiver, serving
from tests.support.streams import Track, playing, progress, send_again

pytestmark = pytest.mark.faults

TRACKS, RECEIVERS = 60, 3
LIVE = {"chunk_frames": 1600}
"""Ten chunks in a second."""

MOST_S = 2.0
"""The longest time that a stream gets no acknowledgement, for 99 of 100 streams and restarts."""

CALM_S = 2.0
"""So long nothing happens at first: how long streams stall on this machine anyway comes on top."""

ENDED_S = 25.0


def sounds(folder, chance):
    """Yield files of four to eight seconds."""
    for number in itertools.count():
        yield make(folder, number, int(chance.uniform(4, 8) * RATE))


class Stalls:
    """The longest time without progress of each track."""

    def __init__(self, tracks):
        self._now = asyncio.get_running_loop().time
        self._tracks = tracks
        self._places = {}
        self._longest = {}

    def take(self):
        """Return the longest stall of each track since the last call."""
        self._longest, longest = {}, self._longest
        return list(longest.values())

    async def watch(self):
        """Watch all tracks; run this as a task."""
        while True:
            now = self._now()
            for track in self._tracks:
                place, since = self._places.setdefault(track, (track.place, now))
                self._longest[track] = max(self._longest.get(track, 0), now - since)
                if track.place > place:
                    self._places[track] = track.place, now
            await asyncio.sleep(0.02)


async def restart(receiver, balancer):
    """Replace *receiver* by a new process; return the seconds of its end and start."""
    now = asyncio.get_running_loop().time
    begun = now()

    assert 0 == await receiver.stop()
    ended = now()
    await receiver.start()
    started = now()
    await balancer.sees(receiver)
    return ended - begun, started - ended


async def test_a_rolling_restart_fails_no_stream(tmp_path, chance, say):
    """Each stream resumes at another receiver within two seconds, and arrives whole."""
    receivers = [Receiver(tmp_path / "store", "--drain-lead", "0.5") for _ in range(RECEIVERS)]
    balancer, files, stalls, times = Balancer(receivers), sounds(tmp_path, chance), [], []
    async with serving(*receivers), balancer.listen() as url:
        tracks = [Track(url, files, **LIVE) for _ in range(TRACKS)]
        async with playing(tracks):
            await progress(tracks)
            meter = Stalls(tracks)
            watching = asyncio.create_task(meter.watch())
            await asyncio.sleep(CALM_S)
            calm = meter.take()
            for number in range(either(3, 100)):
                times.append(await restart(receivers[number % RECEIVERS], balancer))
                await progress(tracks)
                stalls += meter.take()
            watching.cancel()
        sent = [each for track in tracks for each in track.sent]
        await send_again(url, sent)
        await require_all(tmp_path / "store", sent)
    endings, starting = zip(*times, strict=True)
    say(f"{len(endings)} restarts, {len(sent)} streams; to end: {spread(endings)}")
    say(f"longest stall of each stream: {spread(calm)} before")
    say(f"in each restart: {spread(stalls)}")

    assert max(endings) < ENDED_S
    assert percentiles(stalls)[2] < MOST_S * slowness(starting) + percentiles(calm)[2]
