"""Senders and receivers over a bad network."""

import asyncio
from itertools import count
from pathlib import Path

import numpy as np
import pytest
import soundfile

from sender.sources.file import AudioFile
from tests.support.clients import connected
from tests.support.commands import watching
from tests.support.evidence import RATE, make, require_all
from tests.support.extent import either
from tests.support.receivers import Receiver, serving
from tests.support.relay import Relay, Toxics
from tests.support.waits import until

pytestmark = pytest.mark.faults

KIB = 1024
MEGABYTE_FRAMES = 4 * (KIB * KIB // 4 // 2)
"""Of 16 bit mono; `make` gives each fourth file that kind."""

MEGABIT = 1_000_000 / 8
MEMORY_KIB = 16 * KIB
"""What a sender may need beyond what it needs when idle."""


@pytest.fixture(name="receiver")
async def _receiver(tmp_path):
    receiver = Receiver(tmp_path / "store")
    async with serving(receiver):
        yield receiver


async def send(url, path, **settings):
    """Send *path*; return it with its receipt, and the number of new connections."""
    async with connected(url, patience=120, **settings) as client:
        source = AudioFile(path)
        transfer = client.transfer(source)
        try:
            receipt = await client.carry(transfer)
        finally:
            source.close()
    return path, receipt, transfer.reconnects


async def gathered(jobs, at_once):
    """Await *jobs*, at most *most* at once; return their results."""
    free = asyncio.Semaphore(at_once)

    async def one(job):
        async with free:
            return await job

    async with asyncio.TaskGroup() as group:
        tasks = [group.create_task(one(each)) for each in jobs]
    return [each.result() for each in tasks]


async def test_a_reset_after_any_kilobyte(tmp_path, receiver, chance, say):
    """After a reset at any byte, the next connection sends the missing frames."""
    places = chance.sample(range(1, KIB), either(20, KIB - 1))

    async def reset(number, place):
        path = make(tmp_path, 4 * number, MEGABYTE_FRAMES)
        async with Relay(receiver.port, toxics=Toxics(), resets=[place * KIB]).listen() as network:
            return await send(network.url, path, chunk_frames=1500)

    results = await gathered([reset(*each) for each in enumerate(places)], at_once=8)
    await require_all(receiver.store, [each[:2] for each in results])
    say(f"{len(places)} resets")

    assert {1} == {reconnects for *_, reconnects in results}


async def test_a_network_that_is_silent_for_a_while(tmp_path, receiver, chance, say):
    """No end is told of the silence; after it, or on a new connection, every frame arrives."""
    cuts = [chance.uniform(0.1, either(2, 30)) for _ in range(either(10, 300))]

    async def pass_over(number, seconds):
        path = make(tmp_path, number, 2 * RATE)
        async with Relay(receiver.port, toxics=Toxics()).listen() as network:
            sending = asyncio.create_task(send(network.url, path, realtime=True, chunk_frames=400))
            place = (number % 10 + 1) * 4000
            await until(lambda: network.passed > place or sending.done())
            await network.pause(seconds)
            return await sending

    results = await gathered([pass_over(*each) for each in enumerate(cuts)], at_once=20)
    await require_all(receiver.store, [each[:2] for each in results])
    say(f"{len(cuts)} cuts, {sum(cuts):.0f} s in all")


async def test_a_slow_network(tmp_path, receiver, say):
    """Slices of a byte, high latency, a megabit per second: every stream still arrives."""
    now = asyncio.get_running_loop().time
    bad = {
        "slices of 1 byte": (Toxics(slice_bytes=1), 0.5),
        "1 Mbit/s": (Toxics(rate=MEGABIT), 6),
        "2 s away": (Toxics(latency_s=either(1, 2)), 10),
        "1 Mbit/s, 0.2 s away": (Toxics(latency_s=0.1, rate=MEGABIT), 6),
    }
    numbers = count()

    async def bear(toxics, seconds):
        path = make(tmp_path, 4 * next(numbers), int(seconds * RATE))
        async with Relay(receiver.port, toxics=toxics).listen() as network:
            begun = now()
            result = await send(network.url, path)
            return *result, network.passed / (now() - begun)

    results = await gathered([bear(*each) for each in bad.values()], at_once=4)
    await require_all(receiver.store, [each[:2] for each in results])
    used = [rate / MEGABIT for *_, rate in results]
    say(f"of the megabit in a second, {used[1]:.0%} were used, at a distance {used[3]:.0%}")

    assert {0} == {reconnects for *_, reconnects, _ in results}
    assert used[1] > 0.8


def memory(pid, what):
    """Return the memory of *pid* in KiB: VmRSS now, VmHWM at most so far."""
    lines = Path(f"/proc/{pid}/status").read_text().splitlines()
    return next(int(line.split()[1]) for line in lines if line.startswith(what))


async def test_a_sender_needs_little_memory_however_slow_the_network(tmp_path, receiver, say):
    """The sender does not read frames that it has no room for."""
    inbox, path = tmp_path / "inbox", tmp_path / "long.wav"
    inbox.mkdir()
    sound = np.random.default_rng(1).integers(-(2**15), 2**15, (8 * KIB * KIB, 2), np.int16)
    soundfile.write(path, sound, RATE)
    async with (
        Relay(receiver.port, toxics=Toxics(rate=either(16, 1) * KIB * KIB)).listen() as network,
        watching(inbox, network.url) as program,
    ):
        await program.said("sender_watching")
        idle = memory(program.process.pid, "VmRSS")
        path.rename(inbox / path.name)
        await until(lambda: network.passed > 4 * KIB * KIB)
        await network.pause(1)
        await until(lambda: any("stream_ended" in line for line in program.errors))
        most = memory(program.process.pid, "VmHWM")
    say(f"{idle / KIB:.0f} MiB idle, {most / KIB:.0f} MiB at most")

    assert most - idle < MEMORY_KIB
