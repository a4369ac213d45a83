"""Peers that send and never read."""

import asyncio

import pytest

import receiver.connections.server
from receiver.connections.websocket import GuardedConnection
from sonoduct import wire
from sonoduct.runtime.loop import run_loop
from tests.support.rawclient import PATIENCE_S, digest, running, sound, speaking
from tests.support.rawsocket import BINARY, PING, flood, frame, open_socket

MOST = 24 * 1024 * 1024
"""Bytes of a flood: more than all buffers of the kernel between two sockets."""

PINGS = frame(PING, bytes(125)) * 50
FLOODS = {
    "pings": (wire.SUBPROTOCOL, PINGS * 10),
    # Samples fill the queue of messages; when that empties, reading must not resume.
    "pings between samples": (None, (PINGS + frame(BINARY, bytes(4)) * 10) * 10),
}


class Watched(GuardedConnection):
    """A guarded connection that reports when it stops reading because its peer does not read."""

    stopped: asyncio.Event
    transports: list[asyncio.Transport]

    def pause_writing(self):
        super().pause_writing()
        self.transports.append(self.transport)
        self.stopped.set()


async def unread(subprotocol, block):
    """Flood a receiver until it stops reading; meanwhile, another stream must pass."""
    Watched.stopped, Watched.transports = asyncio.Event(), []
    async with running() as inside, speaking(inside.url) as other:
        await other.greet()
        peer = await open_socket(inside.port, subprotocol)
        flooding = asyncio.create_task(flood(peer, block, MOST))
        async with asyncio.timeout(PATIENCE_S):
            await Watched.stopped.wait()
        await other.send(sound(3000))
        receipt = await other.commit()
        reads = [each.is_reading() for each in Watched.transports]
        over = flooding.done()
        flooding.cancel()
        peer.close()

    assert digest(sound(3000)) == receipt.digest
    assert (False, False) == (over, any(reads))


@pytest.mark.parametrize("kind", FLOODS)
@pytest.mark.parametrize("run", [asyncio.run, run_loop], ids=["asyncio", "uvloop"])
def test_the_receiver_stops_reading_a_peer_that_never_reads(kind, run, monkeypatch):
    """If a peer reads no answer to its PINGs, the receiver stops reading, with either loop."""
    monkeypatch.setattr(receiver.connections.server, "GuardedConnection", Watched)

    run(unread(*FLOODS[kind]))


def test_without_the_guard_the_receiver_reads_the_whole_flood(monkeypatch):
    """Without the guard, the library reads the whole flood, and its memory grows."""

    class Unguarded(Watched):
        pause_writing = receiver.connections.server.ServerConnection.pause_writing
        holds_back = False

    monkeypatch.setattr(receiver.connections.server, "GuardedConnection", Unguarded)

    async def flooded():
        async with running() as inside:
            peer = await open_socket(inside.port, wire.SUBPROTOCOL)
            async with asyncio.timeout(PATIENCE_S):
                await flood(peer, FLOODS["pings"][1], MOST)
            peer.close()

    run_loop(flooded())
