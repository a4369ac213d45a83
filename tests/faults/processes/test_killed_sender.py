"""A sender that is killed repeatedly, and started again with the same files."""

import asyncio
import os
import signal
import threading
from contextlib import asynccontextmanager, suppress
from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest
import soundfile

from sonoduct.wire import Receipt
from tests.support.commands import outcomes, sending
from tests.support.evidence import RATE, make, require_all, unfinished
from tests.support.extent import either, percentiles, slowness, spread
from tests.support.receivers import Receiver, serving
from tests.support.waits import ended, until

pytestmark = pytest.mark.faults

MOST_S = 1.5
"""From the end of its start to progress, in 95 of 100 cases."""

CLAIM_BYTES = 2_000
"""What a claim writes before there is any audio, at most."""

RAW = ("-", "--raw", "s16le:16000:1", "--progress", "never")

PIECE, PIECE_S = 4096, 0.02
"""What a pipe takes at once, and how often: about 200 kB in a second."""

HELD_BYTES = 64 * 1024
"""What a sender has between the pipe and the spool, at most: the piece that it has just read."""

HOW = ("--realtime", "--speed", "3", "--chunk-frames", "400", "--jobs", "4")


def segments(store):
    """Return the existing segments with their sizes; each claim has its own."""
    found = {}
    for path in Path(store).glob("streams/*/*/*.seg"):
        with suppress(FileNotFoundError):  # its stream gets complete just now
            found[path] = path.stat().st_size
    return found


def further(before, now):
    """Return whether there is audio of a claim after *before*."""
    return any(size > CLAIM_BYTES for path, size in now.items() if path not in before)


async def kill_often(receiver, sounds, count, chance):
    """Send *sounds* with *count* processes and kill each; return the seconds to first progress."""
    now, starting, going_on = asyncio.get_running_loop().time, [], []
    for _ in range(count):
        begun, before = now(), segments(receiver.store)
        async with sending(sounds, *HOW, "--to", receiver.url) as program:
            if chance.random() < 0.2:  # also kill while it starts
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
    """Each run resumes at the receiver's offset; each file is recorded once, bit for bit."""
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


class Tap:
    """A pipe with constant noise; the bytes in it outlive each reader."""

    def __init__(self, seed):
        self.end, self._input = os.pipe()
        """What a sender gets as standard input."""
        self.written = bytearray()
        self._noise = np.random.default_rng(seed)
        self._closed = threading.Event()
        self._thread = threading.Thread(target=self._run)

    @asynccontextmanager
    async def running(self):
        """Write noise during the context; close the pipe at the end."""
        self._thread.start()
        try:
            yield self
        finally:
            await self.close()
            os.close(self.end)

    async def close(self):
        """End the noise."""
        self._closed.set()
        await asyncio.to_thread(self._thread.join)

    def _run(self):
        while not self._closed.wait(PIECE_S):
            piece = self._noise.integers(-(2**15), 2**15, PIECE // 2, np.int16).tobytes()
            self.written += piece
            os.write(self._input, piece)
        os.close(self._input)

    def place(self, sound):
        """Return where *sound* begins in the written noise, and where it ends."""
        start = self.written.find(sound[:64])

        assert self.written[start : start + len(sound)] == sound
        return start, start + len(sound)


async def tap_often(receiver, tap, options, count, chance):
    """Send the noise of *tap* with *count* processes, and kill each at a random moment."""
    for _ in range(count):
        before = segments(receiver.store)
        async with sending(*options, stdin=tap.end) as program:
            await until(lambda b=before: further(b, segments(receiver.store)))
            await asyncio.sleep(chance.uniform(0, 0.3))
            program.interrupt(signal.SIGKILL)


async def test_a_pipe_loses_nothing_that_was_taken_from_it(tmp_path, chance, say):
    """The next sender completes a killed sender's spool; the other bytes are still in the pipe."""
    count, receiver = either(10, 250), Receiver(tmp_path / "store")
    tap = Tap(chance.randrange(10**6))
    options = (*RAW, "--spool", tmp_path / "spool", "--to", receiver.url)
    async with serving(receiver), tap.running():
        await tap_often(receiver, tap, options, count, chance)
        before = segments(receiver.store)
        async with sending(*options, stdin=tap.end) as program:
            await until(lambda: further(before, segments(receiver.store)))  # nothing is an error
            await tap.close()
            assert 0 == await ended(program, either(60, 600)), program.errors
        await until(lambda: not unfinished(receiver.store))
    paths = list((receiver.store / "audio").glob("*.wav"))
    places = sorted(tap.place(soundfile.read(each, dtype="int16")[0].tobytes()) for each in paths)
    gaps = [later[0] - earlier[1] for earlier, later in pairwise([(0, 0), *places])]
    say(f"{count} kills, {len(places)} streams, {sum(gaps)} bytes died with those who had them")

    assert len(places) > count
    assert all(0 <= each <= HELD_BYTES for each in gaps)
    assert len(tap.written) == places[-1][1]
    assert [] == list((tmp_path / "spool").rglob("*.spool"))
