"""Hours of many streams, while receivers die and restart."""

import asyncio
import itertools
from pathlib import Path

import pytest

from tests.faults.processes.balancer import Balancer
from tests.support.clients import connected
from tests.support.commands import watching
from tests.support.evidence import RATE, make, manifests, unfinished
from tests.support.extent import either
from tests.support.receivers import Receiver, serving
from tests.support.sounds import same, samples
from tests.support.waits import until

pytestmark = pytest.mark.faults

STREAMS = 50
SECONDS, KILL_S = either((120, 30), (24 * 3600, 60))
LONGEST_S = either(12, 300)
"""Of a stream."""

GROWTH_KIB = 8 * 1024
"""What a process may grow by, once it has been busy for a third of the time."""

FILES = 8
"""How many more of them it may have open; connections come and go."""

HOW = ("--jobs", STREAMS, "--realtime", "--chunk-frames", 1600, "--log-level", "warning")


class Usage:
    """The memory and the open files of a process over time."""

    def __init__(self, pid):
        self._proc = Path(f"/proc/{pid}")
        self._memory = []
        self._files = []

    def look(self):
        """Note both at this moment."""
        lines = (self._proc / "status").read_text().splitlines()
        self._memory.append(next(int(each.split()[1]) for each in lines if "VmRSS" in each))
        self._files.append(len(list((self._proc / "fd").iterdir())))

    @property
    def growth(self):
        """Return the growth of memory, in KiB, and of files, from the second third to the last."""
        third = len(self._memory) // 3
        return tuple(
            max(each[-third:]) - max(each[third:-third]) for each in (self._memory, self._files)
        )

    def __str__(self):
        return f"{max(self._memory) / 1024:.0f} MiB, {max(self._files)} files"


class Inbox:
    """A folder that always has files to send; arrived files are compared and removed."""

    def __init__(self, folder, store, chance):
        self.waiting = {}
        """Paths by what their sender calls them."""
        self.arrived = 0
        self._folder = folder
        self._store = store
        self._chance = chance
        self._numbers = itertools.count()
        self._drafts = folder.with_name("drafts")
        for each in (folder, self._drafts):
            each.mkdir()

    def feed(self):
        """Write a few more files than there are streams."""
        while len(self.waiting) < STREAMS + 10:
            frames = int(self._chance.uniform(LONGEST_S / 4, LONGEST_S) * RATE)
            path = make(self._drafts, next(self._numbers), frames)
            path = path.rename(self._folder / path.name)
            self.waiting[str(path)] = path

    def check(self):
        """Compare the arrived recordings, and remove them."""
        for manifest in manifests(self._store).values():
            path = self.waiting.pop(manifest["name"])
            recording = self._store / "audio" / manifest["recording"]

            assert same(samples(path), samples(recording)), path
            for each in (path, recording, recording.with_suffix(".json")):
                each.unlink()
            self.arrived += 1

    async def finish(self, url):
        """Send the files without a recording again, and wait for their recordings."""
        async with connected(url) as client:
            for path in list(self.waiting.values()):
                await client.send(path)
        await until(lambda: self.check() or not self.waiting)


async def soak(inbox, victims, usages, balancer):
    """Feed, check and kill for the whole time; return the number of kills."""
    now = asyncio.get_running_loop().time
    end, kill, turn = now() + SECONDS, now() + KILL_S, itertools.cycle(victims)
    kills = 0
    while now() < end:
        inbox.feed()
        inbox.check()
        for usage in usages:
            usage.look()
        if now() > kill:
            victim = next(turn)
            await victim.kill()
            await victim.start()
            await balancer.sees(victim)
            kill, kills = kill + KILL_S, kills + 1
        await asyncio.sleep(0.5)
    return kills


async def test_nothing_is_lost_and_nothing_grows(tmp_path, chance, say):
    """Every stream arrives, and no process needs more memory or files over time."""
    receivers = [Receiver(tmp_path / "store") for _ in range(3)]
    balancer = Balancer(receivers)
    inbox = Inbox(tmp_path / "inbox", tmp_path / "store", chance)
    async with serving(*receivers), balancer.listen() as url:
        inbox.feed()
        async with watching(tmp_path / "inbox", url, *HOW) as sender:
            usages = [Usage(receivers[0].pid), Usage(sender.process.pid)]
            kills = await soak(inbox, receivers[1:], usages, balancer)
        await inbox.finish(url)
        await until(lambda: not unfinished(tmp_path / "store"))
    say(f"{SECONDS} s, {kills} kills, {inbox.arrived} streams")
    say(f"the receiver that survived: {usages[0]}; the sender: {usages[1]}")

    for usage in usages:
        memory, files = usage.growth
        assert memory < GROWTH_KIB
        assert files <= FILES
