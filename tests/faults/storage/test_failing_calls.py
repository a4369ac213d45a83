"""A receiver whose disk refuses a single call, and then works."""

import asyncio
import itertools
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import pytest

from receiver.stores.journal import Layout, PosixDisk
from receiver.stores.journal.committer import GROUP_S
from receiver.stores.journal.reader import Part
from sender.sources.file import AudioFile
from tests.faults.storage.tracing import injecting, require_strace
from tests.support.clients import connected
from tests.support.evidence import RATE, make, require_all
from tests.support.extent import either, spread
from tests.support.receivers import Receiver, serving
from tests.support.streams import MICROPHONE, send_again
from tests.support.waits import until

pytestmark = pytest.mark.faults

COMMIT_S = GROUP_S + 0.02
"""A bit more than a group of chunks waits; each commit writes once and syncs once."""

MOST_S = 5.0
"""From a call that fails to the next acknowledgement."""


@dataclass(frozen=True)
class Fault:
    """Calls that fail, in strace's words, and the effect that a sender sees."""

    calls: str
    fatal: bool
    """Whether the connection ends, since what the segment holds cannot be trusted any more."""
    first: int = 1
    most: int = 10**9
    """Calls of the kind that there are at most."""
    about: Callable[[Path], Path] = lambda part: part
    """What the calls are about, by the first segment of the stream."""


FAULTS = {
    "sync": Fault("fdatasync:error=EIO:when={}", fatal=True),
    "write": Fault("writev:error=EIO:when={}", fatal=True),
    "full": Fault("writev:error=ENOSPC:when={}", fatal=False, first=2),
    "quota": Fault("writev:error=EDQUOT:when={}", fatal=False, first=2),
    "claim": Fault("openat:error=ENOSPC:when={}", fatal=False, most=1),
    "folder": Fault("fsync:error=EIO:when={}", fatal=True, most=1, about=lambda part: part.parent),
}


class Victim:
    """One receiver, and the streams whose calls fail."""

    def __init__(self, folder):
        folder.mkdir()
        self.receiver = Receiver(folder / "store", "--reserve-bytes", "0")
        self.sent = []
        self.stalls = []
        """Of each stream, the longest time between two acknowledgements."""
        self._folder = folder
        self._numbers = itertools.count()

    async def suffer(self, fault, when):
        """Send a stream while its call number *when* fails."""
        seconds = 0.3 + COMMIT_S * when
        while not await self._send(fault, when, int(seconds * RATE)):
            seconds *= 2  # several threads made the calls, and each counts its own

            assert seconds < 60, f"no call {when} of {fault.calls}"

    async def _send(self, fault, when, frames):
        path = make(self._folder, next(self._numbers), frames)
        source = AudioFile(path)
        layout = Layout(PosixDisk(), self.receiver.store)
        paths = [fault.about(layout.journal(source.stream).folder / Part(1, 0).name)]
        calls = fault.calls.format(when)
        async with connected(self.receiver.url, **MICROPHONE) as client:
            transfer = client.transfer(source)
            async with injecting(self.receiver.pid, calls, paths=paths) as tracer:
                carrying = asyncio.create_task(client.carry(transfer))
                measuring = asyncio.create_task(longest_stall(transfer.outbound, carrying))
                await until(lambda: tracer.injected or carrying.done())
                audio = transfer.outbound.durable < frames
            self.stalls.append(await measuring)
            receipt = await carrying
        source.close()
        self.sent.append((path, receipt))

        # The end of a stream is written at once or not at all: its sender comes back for it.
        assert transfer.reconnects == (tracer.injected > 0 and (fault.fatal or not audio)), calls
        return tracer.injected


async def longest_stall(outbound, carrying):
    """Return the longest time without progress of *outbound* until *carrying* ends."""
    now = asyncio.get_running_loop().time
    longest, last = 0.0, now()
    while not carrying.done():
        place = outbound.durable
        _, at = await until(lambda place=place: outbound.durable > place or carrying.done())
        longest, last = max(longest, at - last), at
    return longest


async def suffer(folder, fault):
    """Let every call of *fault* fail, one in each stream; return the victim."""
    victim = Victim(folder)
    async with serving(victim.receiver):
        for when in range(fault.first, min(either(10, 50), fault.most) + 1):
            await victim.suffer(fault, when)
        await send_again(victim.receiver.url, victim.sent)
        await require_all(victim.receiver.store, victim.sent)
    return victim


async def test_a_call_that_fails_is_neither_believed_nor_tried_twice(tmp_path, say):
    """After a full disk, the call is repeated; any other failure ends the segment."""
    require_strace()
    async with asyncio.TaskGroup() as group:
        tasks = [
            group.create_task(suffer(tmp_path / name, fault)) for name, fault in FAULTS.items()
        ]
    stalls = [each for task in tasks for each in task.result().stalls]
    say(f"{len(stalls)} streams; longest stall of each: {spread(stalls)}")

    assert max(stalls) < MOST_S
