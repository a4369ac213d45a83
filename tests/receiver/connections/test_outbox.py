"""The time at which events are sent: at once, or together a moment later."""

import asyncio

import pytest

from receiver.connections import outbox
from receiver.connections.outbox import Outbox
from receiver.dialects.sonoduct import Sonoduct
from sonoduct import wire
from tests.support.rawclient import PATIENCE_S


class Reader:
    """A peer that reads every text."""

    has_room = True

    def __init__(self):
        self.heard = []
        self.writes = 0
        self._news = asyncio.Event()

    def send_now(self, texts):
        """Take *texts*."""
        self.writes += bool(texts)
        self.heard += map(wire.decode_control, texts)
        self._news.set()

    async def until(self, number):
        """Wait for *count* messages; return their offsets."""
        async with asyncio.timeout(PATIENCE_S):
            while len(self.heard) < number:
                self._news.clear()
                await self._news.wait()
        return [event.offset for event in self.heard]


def event(offset):
    """Return an event of a processor."""
    return wire.Event(processor="levels", offset=offset, values={})


@pytest.fixture
async def reader():
    """Return a peer of `box`."""
    return Reader()


@pytest.fixture
async def box(reader):
    """Return an outbox without acks."""
    return Outbox(reader, Sonoduct(), lambda: None)


async def test_an_event_alone_is_sent_at_once(box, reader):
    """An event without a recent message before it is sent at once."""
    box.put(event(1))

    assert [event(1)] == reader.heard


async def test_events_that_follow_soon_are_sent_together(box, reader):
    """Close events are gathered and all arrive, without another message to send them."""
    for offset in range(10):
        box.put(event(offset))

    assert [event(0)] == reader.heard
    assert list(range(10)) == await reader.until(10)


async def test_gathered_events_go_with_the_next_message(box, reader):
    """They are sent before the message, in their order."""
    last = wire.Cancelled(epoch=1)
    for message in (event(0), event(1), last):
        box.put(message)

    assert [event(0), event(1), last] == reader.heard


async def test_no_event_is_left_out_while_the_peer_reads(box, reader):
    """However many events come in one moment, a peer that reads gets all of them."""
    many = 10 * outbox.EVENTS
    for offset in range(many):
        box.put(event(offset))

    assert list(range(many)) == await reader.until(many)
    assert 0 == box.dropped


async def test_gathered_events_are_one_message_for_a_sender_that_takes_it(reader):
    """Events that were gathered arrive in one message; an event alone stays an event."""
    dialect = Sonoduct()
    hello = wire.Hello(stream="0" * 32, instance="a", kind=wire.Kind.FILE, batches=True)
    list(dialect.decode(wire.encode_control(hello)))
    box = Outbox(reader, dialect, lambda: None)
    last = wire.Cancelled(epoch=1)
    for message in (event(0), event(1), event(2), last):
        box.put(message)

    assert [event(0), wire.Events(events=[event(1), event(2)]), last] == reader.heard


async def test_what_waits_goes_out_in_one_write(box, reader):
    """Gathered events and the message after them wake the peer once."""
    for message in (event(0), event(1), event(2), wire.Cancelled(epoch=1)):
        box.put(message)

    assert 2 == reader.writes
