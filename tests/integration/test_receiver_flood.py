"""Peers that send and never read."""

import asyncio

import pytest

import receiver
import receiver.connections.server
from sonoduct import wire
from sonoduct.runtime.loop import run_loop
from tests.support.rawclient import digest, running, sound, speaking
from tests.support.rawsocket import BINARY, PING, flood, frame, open_socket

PINGS = frame(PING, bytes(125)) * 50
FLOODS = {
    "pings": (wire.SUBPROTOCOL, PINGS * 10),
    # Samples fill the queue of messages; when that empties, reading must not resume.
    "pings between samples": (None, (PINGS + frame(BINARY, bytes(4)) * 10) * 10),
}


async def unread(subprotocol, block, **times):
    """Flood a receiver while another stream passes; return whether it stopped reading."""
    async with running() as inside, speaking(inside.url) as other:
        await other.greet()
        peer = await open_socket(inside.port, subprotocol)
        stopped = await flood(peer, block, **times)
        await other.send(sound(3000))
        receipt = await other.commit()
        peer.close()

    assert digest(sound(3000)) == receipt.digest
    return stopped


@pytest.mark.parametrize("kind", FLOODS)
@pytest.mark.parametrize("run", [asyncio.run, run_loop], ids=["asyncio", "uvloop"])
def test_who_never_reads_is_not_read_for_long(kind, run):
    """Answers to PING are bounded by not reading more of them, with either event loop."""
    assert run(unread(*FLOODS[kind]))


def test_the_library_alone_would_read_on(monkeypatch):
    """The flood is one: without the guard it goes on, and so does the receiver's memory."""
    monkeypatch.setattr(
        receiver.connections.server,
        "GuardedConnection",
        receiver.connections.server.ServerConnection,
    )

    # A busy machine may keep it from reading for a moment, but not for so long.
    assert not run_loop(unread(*FLOODS["pings"], seconds=1.2, stall=1.1))
