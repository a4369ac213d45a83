"""A connection of the sender: chunks, which it frames itself."""

import asyncio
import os
from contextlib import asynccontextmanager, suppress

import pytest
import uvloop
from websockets.asyncio.server import serve
from websockets.exceptions import ConnectionClosed
from websockets.frames import Opcode

from sender.websocket import LinkClosedError, Meter, open_link

HEADER = bytes(range(32))


@asynccontextmanager
async def linked():
    """Yield a link to a server of the library, and the messages that the server gets."""
    heard = asyncio.Queue()

    async def handle(connection):
        with suppress(ConnectionClosed):
            async for message in connection:
                heard.put_nowait(message)

    async with serve(handle, "127.0.0.1", 0) as server:
        port = server.sockets[0].getsockname()[1]
        link = await open_link(f"ws://127.0.0.1:{port}", None)
        try:
            yield link, heard
        finally:
            await link.close()


@pytest.mark.parametrize("size", [0, 1, 93, 94, 95, 65_503, 65_504, 300_001])
async def test_a_chunk_of_any_size(size):
    """The library reads the same bytes; its lengths have three forms (RFC 6455, section 5.2)."""
    payload = os.urandom(size)
    async with linked() as (link, heard):
        await link.send_chunk(HEADER, memoryview(payload))

        assert HEADER + payload == await heard.get()


async def test_no_two_masks_are_equal():
    """The mask has to be unpredictable (RFC 6455, section 5.3): a proxy may look at the bytes."""
    written = []
    async with linked() as (link, heard):
        write, transport = link._connection.transport.writelines, link._connection.transport
        link._connection.transport = Recording(transport, written, write)
        for _ in range(16):
            await link.send_chunk(HEADER, b"sound")
            await heard.get()
        link._connection.transport = transport

    assert 16 == len(set(written))


class Recording:
    """A transport that notes the bytes that are written by `writelines`."""

    def __init__(self, transport, written, write):
        self._transport, self._written, self._write = transport, written, write

    def writelines(self, parts):
        """Note *parts* and write them."""
        self._written.append(b"".join(parts))
        self._write(parts)

    def __getattr__(self, name):
        return getattr(self._transport, name)


def test_a_chunk_after_the_connection_was_cut_off():
    """At the latest with the second one the sender hears of it, and never of a closed handle."""

    async def send():
        async with linked() as (link, _):
            link._connection.transport.abort()
            with pytest.raises(LinkClosedError):
                await link.send_chunk(HEADER, b"sound")
                await link.send_chunk(HEADER, b"sound")

    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        runner.run(send())


def test_pings_have_a_rate():
    """A thousand at once, then ten in a second."""
    meter = Meter(0.0)
    assert [""] * 1000 == [meter.excess(Opcode.PING, 0.0) for _ in range(1000)]
    assert "more than 1000 pings" == meter.excess(Opcode.PING, 0.0)

    assert [""] * 11 == [meter.excess(Opcode.PING, 1.2) for _ in range(11)]
    assert "" != meter.excess(Opcode.PING, 1.2)


def test_fragments_have_a_number():
    """It counts for each message, and control frames in between count as none."""
    meter = Meter(0.0)
    for _ in range(3):
        frames = [Opcode.TEXT, *[Opcode.CONT, Opcode.PONG] * 63]
        assert {""} == {meter.excess(each, 0.0) for each in frames}

    assert "more than 64 fragments" == meter.excess(Opcode.CONT, 0.0)
