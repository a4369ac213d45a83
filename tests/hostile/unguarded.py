"""
A receiver without one of its guards: `python -m tests.hostile.unguarded GUARD serve …`.

An attack that does no harm to it would show nothing.
"""

import math
import sys


def metering():
    """Serve every client as fast as it sends, and no connection in slices."""
    from receiver.connections import frames, intake

    look = intake.Intake.look

    def never_crowded(self, now, seconds):
        look(self, now, seconds)
        self.crowded = False

    intake.Intake.look = never_crowded
    frames.SLICE = math.inf


def places():
    """Give every address all places, and let nothing give way."""
    from receiver.connections import intake, server

    intake.Intake.let_in = lambda self, _meter: _count(self, 1)
    intake.Intake.let_on = lambda self, _meter: _count(self, -1)

    def require_place(self, _meter, _quota, *, token):
        if self.taken >= self.most:
            raise intake.Full("connections", "all taken")

    intake.Intake.require_place = require_place
    intake.Intake.is_short = False
    server.Server._make_room = lambda *_: False
    server.Server._require_rate = lambda *_: None


def _count(intake, more):
    intake.half += more
    return True


def handshakes():
    """Wait for ever for a handshake, and give places without end."""
    from receiver.connections import intake, server

    places()
    intake.Intake.require_place = lambda *_, **__: None
    serve = server.serve
    server.serve = lambda *given, **how: serve(*given, **{**how, "open_timeout": None})


def unread():
    """Answer pings whose answers are not read."""
    from websockets.asyncio.server import ServerConnection

    from receiver.connections.websocket import GuardedConnection

    GuardedConnection.pause_writing = ServerConnection.pause_writing
    GuardedConnection.holds_back = False
    metering()


def chunk_cost():
    """Count a chunk with its bytes, however few they are, and meter nothing."""
    from receiver.streams import registry

    registry.CHUNK_COST = 0
    metering()


def queues():
    """Read on while messages wait, and meter nothing."""
    from receiver.connections.websocket import GuardedConnection, WebSocketLink

    GuardedConnection.holds_back = False
    WebSocketLink.hold_little = lambda _self: None
    chunk_cost()


def credit():
    """Take what comes, whatever the window says."""
    from sonoduct.wire.credit import Grant

    Grant.spend = Grant.add
    metering()


def claims():
    """Let everyone claim a stream as often as they like."""
    from receiver.streams.claims import ClaimRate

    ClaimRate.count = lambda *_: None
    metering()


def beginnings():
    """Begin a stream on the disk with its hello, and let hellos come as fast as they like."""
    from receiver.stores.journal.claim import JournalClaim

    made = JournalClaim.__init__

    def begun(self, *given):
        made(self, *given)
        if self._writer is None and self.receipt is None:
            self._start()

    JournalClaim.__init__ = begun
    metering()


def inodes():
    """Keep no inode for streams that are open."""
    from receiver.stores.journal import disk

    disk.INODES = 0


def quotas():
    """Let files become as much as they like."""
    from receiver.streams import quotas

    quotas.ADDRESS_SHARE = math.inf


def metrics():
    """Give the endpoint of metrics as many threads as there are connections."""
    from sonoduct.runtime import web

    web.CONNECTIONS = 10**6
    web.SECONDS = 3600.0


def turns():
    """Decode files in the order in which they come."""
    from receiver.streams import turns

    def first(self):
        waiting = [each for tickets in self._waiting.values() for each in tickets]
        if not waiting or self._running.total() >= self._at_once:
            return None
        ticket = min(waiting, key=lambda each: each.number)
        self._leave(ticket)
        self._running[ticket.owner] += 1
        return ticket

    turns.Turns.next = first


def tokens():
    """Keep all streams under the ids that their senders say, and look at no prefix."""
    from receiver.clients import Client

    Client.own = lambda _self, hello, *_given, **_how: hello


def access():
    """Let everyone in."""
    from receiver.clients import Client
    from receiver.connections.access import Access

    Access.require_host = Access.require_origin = lambda *_: None
    Access.client = lambda _self, address, *_: Client(address)
    Access.own = lambda _self, _client, hello, **_: hello


def compression():
    """Agree to compression, as the library does by default."""
    from receiver.connections import server

    serve = server.serve
    server.serve = lambda *given, **how: serve(*given, **{**how, "compression": "deflate"})


GUARDS = {
    each.__name__: each
    for each in (
        *(
            beginnings,
            inodes,
            quotas,
            metering,
            queues,
            places,
            handshakes,
            unread,
            chunk_cost,
            credit,
            claims,
            metrics,
            turns,
        ),
        *(tokens, access, compression),
    )
}


if __name__ == "__main__":
    GUARDS[sys.argv.pop(1)]()
    from receiver.__main__ import main

    main()
