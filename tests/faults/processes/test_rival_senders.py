"""Two processes that send the same files at the same time."""

import asyncio
import itertools
import signal
from contextlib import AsyncExitStack

import pytest

from receiver.stores.journal import Layout, PosixDisk
from sender.sources.file import AudioFile
from sonoduct.wire import Receipt
from tests.support.commands import outcomes, sending
from tests.support.evidence import RATE, make, require_all
from tests.support.extent import FULL, either
from tests.support.receivers import Receiver, serving
from tests.support.streams import Track
from tests.support.waits import ended, until

pytestmark = pytest.mark.faults

HOW = ("--realtime", "--speed", "8", "--connect-timeout", "60")

TAKEOVER_S = 10 if FULL else 3
"""Without progress, until another sender may go on; 10 s is the default."""

BACKOFF_S = 11
"""What a sender that was refused for so long waits at most until it asks again."""

KILLED_S = 15
"""From the kill of a sender to progress by another one, at most."""


def written(store, path):
    """Return the number of bytes in the journal of the stream of *path*."""
    source = AudioFile(path)
    source.close()
    folder = Layout(PosixDisk(), store).journal(source.stream).folder
    return sum(each.stat().st_size for each in folder.glob("*.seg"))


@pytest.mark.parametrize("receivers", [1, 2])
async def test_both_succeed_and_each_stream_is_there_once(tmp_path, say, receivers):
    """One sends; the other waits or finds it complete, at the same receiver or at another."""
    count, sounds, reports = either(10, 250), tmp_path / "sounds", []
    sounds.mkdir()
    paths = [make(sounds, number, (2 + number % 3) * RATE) for number in range(count)]
    places = [Receiver(tmp_path / "store") for _ in range(receivers)]
    async with AsyncExitStack() as stack:
        senders = []
        for number, place in zip(range(2), itertools.cycle(places), strict=False):
            reports.append(tmp_path / f"{number}.jsonl")
            how = (*HOW, "--report", reports[-1], "--to", place.url)
            senders.append(await stack.enter_async_context(sending(sounds, *how)))
        for each in senders:  # both look for the receivers when those start
            await each.until(lambda p=each: any("retrying" in line for line in p.errors))
        await stack.enter_async_context(serving(*places))

        assert [0, 0] == [await ended(each, either(60, 1800)) for each in senders]
        held = sum("is held" in line for each in senders for line in each.errors)
        found = [outcomes(each) for each in reports]
        receipts = [Receipt(**found[0][each.name]["receipt"]) for each in paths]
        await require_all(tmp_path / "store", list(zip(paths, receipts, strict=True)))
    results = [[each[path.name]["result"] for path in paths] for each in found]
    say(f"{count} streams, {held} times held, {results[0].count('sent')} sent by the first")

    assert held
    for path in paths:
        assert found[0][path.name]["receipt"] == found[1][path.name]["receipt"]
    assert all("sent" in both for both in zip(*results, strict=True))


async def outlive(holder, rival, path, end):
    """
    Send *path* by a process of *holder* and by *rival*; end the first one by *end*.

    Returns the seconds from that end until this process made progress.
    """
    now = asyncio.get_running_loop().time
    track = Track(rival.url, iter([path]), realtime=False)
    async with sending(path, "--realtime", "--to", holder.url) as other:
        await until(lambda: written(holder.store, path) > 10_000)
        running = asyncio.create_task(track.run())
        await until(lambda: track.transfer and track.transfer.reconnects)
        await end(holder, other)
        ended = now()
        at = await track.progress((0, 0))
        track.leave()
        await running
        if end is pause_sender:  # the stream is complete when it wakes
            other.interrupt(signal.SIGCONT)

            assert 0 == await other.ended()
    return at - ended, track.sent


async def kill_sender(_receiver, program):
    program.interrupt(signal.SIGKILL)


async def pause_sender(_receiver, program):
    program.interrupt(signal.SIGSTOP)


async def kill_both(receiver, program):
    program.interrupt(signal.SIGKILL)
    await receiver.kill()


async def test_a_stream_passes_on_when_its_holder_is_gone(tmp_path, say):
    """It passes at once if a receiver sees the end, otherwise after a silence."""
    ends = (kill_sender, pause_sender, kill_both)
    paths = [make(tmp_path, number, 60 * RATE) for number in range(len(ends))]
    options = ("--takeover-timeout", TAKEOVER_S)
    first, second, third = (Receiver(tmp_path / "store", *options) for _ in range(3))
    async with serving(first, second, third):
        async with asyncio.TaskGroup() as group:
            tasks = [
                group.create_task(outlive(holder, second, path, end))
                for path, holder, end in zip(paths, (first, first, third), ends, strict=True)
            ]
        waits, sent = zip(*(task.result() for task in tasks), strict=True)
        await require_all(tmp_path / "store", [each for part in sent for each in part])
    say(", ".join(f"{end.__name__} {wait:.1f} s" for end, wait in zip(ends, waits, strict=True)))

    assert waits[0] < KILLED_S
    assert min(waits[1:]) > TAKEOVER_S - 1
    assert max(waits) < TAKEOVER_S + BACKOFF_S
