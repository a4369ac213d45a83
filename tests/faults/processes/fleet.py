"""Several receivers behind one switch, which asks each whether it is ready."""

import asyncio
import itertools
import random
from contextlib import asynccontextmanager

from tests.faults.processes.evidence import RATE, make
from tests.faults.processes.receivers import serving
from tests.faults.processes.streams import Track
from tests.support.relay import Relay

ASK_S = 0.2
"""Between questions, as a load balancer asks."""

LIVE = {"realtime": True, "chunk_frames": 800, "patience": 60}
"""20 chunks in each second of 16 kHz."""


class Fleet:
    """What a gateway does with its replicas: those that are ready, the least busy first."""

    def __init__(self, receivers):
        self.receivers = receivers
        self.switch = Relay(self._choose)
        self._ready = set(receivers)

    def _choose(self):
        ready = [each for each in self.receivers if each in self._ready]
        random.shuffle(ready)  # of equals; many senders may come at once
        return min(ready, key=lambda each: len(self.switch.carrying(each)), default=None)

    async def ask(self):
        """Ask all of them, again and again; run this as a task."""
        while True:
            for receiver, ready in zip(
                self.receivers,
                await asyncio.gather(*(_ready(each.port) for each in self.receivers)),
                strict=True,
            ):
                (self._ready.add if ready else self._ready.discard)(receiver)
            await asyncio.sleep(ASK_S)


@asynccontextmanager
async def fleet(*receivers):
    """Run *receivers* behind a switch."""
    made = Fleet(receivers)
    async with serving(*receivers), made.switch.listen():
        asking = asyncio.create_task(made.ask())
        try:
            yield made
        finally:
            asking.cancel()


def crowd(folder, url, size, seconds):
    """*size* tracks that each send files of about *seconds* (from, to)."""
    numbers = itertools.count()
    least, most = seconds
    return [Track(url, _files(folder, numbers, least, most), **LIVE) for _ in range(size)]


def _files(folder, numbers, least, most):
    for number in numbers:
        yield make(folder, number, int((least + number % 7 / 6 * (most - least)) * RATE))


async def _ready(port):
    try:
        async with asyncio.timeout(ASK_S * 5):
            reader, writer = await asyncio.open_connection("127.0.0.1", port)
            writer.write(b"GET /readyz HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n")
            status = await reader.readline()
            writer.transport.abort()
    except OSError:  # a TimeoutError is one
        return False
    return b" 200 " in status


class Stalls:
    """For how long each track stood still; run `watch` as a task."""

    def __init__(self, tracks):
        self.longest = dict.fromkeys(tracks, 0.0)
        self._tracks = tracks

    async def watch(self):
        """Look at the places of all tracks, often."""
        now = asyncio.get_running_loop().time
        since = {each: (each.place, now()) for each in self._tracks}
        while True:
            await asyncio.sleep(0.02)
            for each, (place, moved) in since.items():
                if each.place != place:
                    since[each] = (each.place, now())
                else:
                    self.longest[each] = max(self.longest[each], now() - moved)

    def reset(self):
        """Begin anew; return what was seen so far."""
        seen = list(self.longest.values())
        self.longest = dict.fromkeys(self._tracks, 0.0)
        return seen
