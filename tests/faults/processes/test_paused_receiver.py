"""A receiver that is paused, loses its streams to another one, and wakes up."""

import asyncio
import itertools
from contextlib import AsyncExitStack, suppress

import pytest

from sonoduct import wire
from tests.support.evidence import RATE, make, require_all
from tests.support.extent import either
from tests.support.receivers import Receiver, serving
from tests.support.relay import Relay
from tests.support.streams import Track, playing, progress, send_again
from tests.support.waits import until

pytestmark = pytest.mark.faults

TRACKS = 3

QUICK = {"realtime": True, "speed": 30, "chunk_frames": 4000}
"""A megabyte and more in each second: there is always something that is not durable yet."""

FENCED = wire.Fenced.close_code

CLAIMED = (wire.Phase.OPEN, wire.Phase.ENDING)
"""While a stream is in one of these, the last claim that was opened is on it."""

NOTICED_S = 2
"""A receiver that wakes with nothing to write notices nothing; so long is waited for one."""


def sounds(folder, chance):
    """Yield files of about a second each."""
    for number in itertools.count():
        yield make(folder, number, int(chance.uniform(15, 45) * RATE))


async def swap(switches, pair, tracks):
    """
    Pause the first of *pair*, let streams continue at the second, then resume the first.

    Returns the first one's stale connections, each with the connection that continued its stream.
    """
    old, new = pair
    old.pause()
    left = [(each, each.place, each.transfer, each.transfer.reconnects) for each in tracks]
    claimed = [each.transfer.outbound.phase in CLAIMED for each in tracks]
    pair.reverse()
    orphans = [switch.orphan(old) for switch in switches]
    await asyncio.gather(*(each.progress(place) for each, place, *_ in left))
    heirs = [switch.carrying(new) for switch in switches]
    old.resume()
    went_on = [transfer.reconnects > before for *_, transfer, before in left]
    return [
        (orphan[-1], heir[0])
        for orphan, heir, *both in zip(orphans, heirs, claimed, went_on, strict=True)
        if all(both) and orphan and heir and heir[0].claims
    ]


def require_harmless(orphan, heir):
    """Require that every promise on *orphan* is true on *heir*."""
    (mine, *messages), (claimed, *_) = orphan.claims[-1], heir.claims[0]

    # Both have the first one if the orphan has not begun the stream: nothing is stored then.
    assert claimed["epoch"] > mine["epoch"] or claimed["epoch"] == 1
    for message in messages:
        match message:
            case {"type": "ack", "durable": durable}:
                assert durable <= claimed["offset"], "a false promise"
            case {"type": "committed", "receipt": receipt}:
                assert receipt == claimed["receipt"], "a false receipt"


async def test_a_paused_receiver_wakes_to_no_effect(tmp_path, chance, say):
    """It promises nothing beyond the other one's start, and adds no sample to a stream."""
    pair = [Receiver(tmp_path / "store"), Receiver(tmp_path / "store")]
    files, count, fenced = sounds(tmp_path, chance), either(20, 300), 0
    async with serving(*pair), AsyncExitStack() as stack:
        switches = [Relay(lambda: pair[0], listens=True) for _ in range(TRACKS)]
        for each in switches:
            await stack.enter_async_context(each.listen())
        tracks = [Track(each.url, files, **QUICK) for each in switches]
        async with playing(tracks):
            for _ in range(count):
                await progress(tracks)
                await asyncio.sleep(chance.uniform(0, 0.1))  # any moment
                pairs = await swap(switches, pair, tracks)
                with suppress(TimeoutError):
                    await until(lambda p=pairs: all(orphan.failed for orphan, _ in p), NOTICED_S)
                for orphan, heir in pairs:
                    require_harmless(orphan, heir)
                    fenced += orphan.failed == FENCED
                    orphan.close()
        sent = [each for track in tracks for each in track.sent]
        await send_again(pair[0].url, sent)
        await require_all(tmp_path / "store", sent)
    say(f"{count} pauses, {len(sent)} streams, {fenced} connections that heard 4409")

    assert fenced >= count
