"""Floods: more messages than a receiver can take, of every kind."""

import asyncio
import uuid
from contextlib import suppress

from sonoduct import wire
from tests.hostile.honest import joining
from tests.hostile.intruder import ADDRESS, TURN_S, Attacker, swallow
from tests.support.rawsocket import BINARY, PING, TEXT, frame

MONO = wire.Format(samplerate=16_000, channels=1, encoding=wire.Encoding.S16LE)
PIECE = 0x02
"""The first fragment of a binary message."""
MORE, LAST = 0x00, 0x80
BLOCK = 2000


def stream(**hello):
    """Return the sender's half of a stream."""
    usual = {"stream": uuid.uuid4().hex, "instance": uuid.uuid4().hex, "format": MONO}
    return wire.Outbound(wire.Hello(**{**usual, **hello}))


def chunks(connections):
    """Return an attack with chunks of one frame, within the credit that the receiver gives."""

    async def attack(aim):
        attacker = Attacker(aim)

        async def one():
            half = stream(name="chunks")
            async with joining(aim.url, ADDRESS, aim.token, max_queue=None) as connection:
                await connection.send(wire.encode_control(half.greet()))
                half.feed(wire.decode_control(await connection.recv(decode=True)))

                async def read():
                    with suppress(Exception):
                        async for text in connection:
                            half.feed(wire.decode_control(text))

                reading = asyncio.create_task(read())
                transport = connection.transport
                while not attacker.over and not reading.done():
                    if half.room < 2 or transport.get_write_buffer_size() > 1 << 18:
                        await asyncio.sleep(TURN_S)
                        continue
                    block = []
                    while len(block) < 200 and half.room >= 2:
                        block.append(frame(BINARY, b"".join(half.chunk(1, b"ab"))))
                    transport.write(b"".join(block))
                    attacker.counts["messages"] += len(block)
                    await asyncio.sleep(0)
                attacker.counts["held bytes"] += half.unacknowledged
                transport.abort()
                reading.cancel()

        async def guarded():
            try:
                await one()
            except Exception as exc:  # noqa: BLE001  # it comes again
                attacker.counts[type(exc).__name__] += 1

        await attacker.many(connections, guarded)
        return attacker.counts

    return attack


def blocks(block, messages, *, subprotocol=None, begin=b"", reads=True, connections=8):
    """Return an attack that sends *block* again and again, of so many *messages*."""

    async def attack(aim):
        attacker = Attacker(aim)

        async def one():
            made = await attacker.connect(subprotocol)
            if made is None:
                return
            reader, writer = made
            reading = None
            if reads:
                reading = asyncio.create_task(swallow(reader))
                reading.add_done_callback(lambda _task: writer.transport.abort())
            else:
                writer.transport.pause_reading()
            await attacker.pour(writer, block, messages, begin)
            if reading is not None:
                reading.cancel()

        await attacker.many(connections, one)
        return attacker.counts

    return attack


def hello_bytes():
    """Return the frame of a hello."""
    return frame(TEXT, wire.encode_control(stream(name="flood").greet()).encode())


def fragments(size):
    """Return messages of 32 fragments with *size* bytes each, as one block, and their count."""
    middle = frame(MORE, bytes(size)) * 30
    return (frame(PIECE, bytes(size)) + middle + frame(LAST, bytes(size))) * 60, 60 * 32


async def window_cheat(aim):
    """Send far more than the window, and read no ack."""
    attacker = Attacker(aim)

    async def one():
        made = await attacker.connect(aim.subprotocol)
        if made is None:
            return
        _, writer = made
        writer.transport.pause_reading()
        half = stream(name="cheat")
        writer.write(frame(TEXT, wire.encode_control(half.greet()).encode()))
        await asyncio.sleep(0.1)
        payload, unit = bytes(32_768), 0
        while not attacker.over and not writer.transport.is_closing():
            if writer.transport.get_write_buffer_size() > 1 << 20:
                await asyncio.sleep(TURN_S)
                continue
            message = wire.encode_chunk(1, unit, len(payload) // 2, payload)
            head = bytes([BINARY, 0x80 | 127]) + len(message).to_bytes(8) + bytes(4)
            writer.write(head + message)
            unit += len(payload) // 2
            attacker.counts["bytes"] += len(payload)
            await asyncio.sleep(0)
        writer.transport.abort()

    await attacker.many(8, one)
    return attacker.counts


PINGS_READ = blocks(frame(PING, b"x" * 4) * BLOCK, BLOCK, subprotocol=wire.SUBPROTOCOL)
PINGS_UNREAD = blocks(
    frame(PING, bytes(125)) * BLOCK, BLOCK, subprotocol=wire.SUBPROTOCOL, reads=False
)
PLAIN = blocks(frame(BINARY, bytes(4)) * BLOCK, BLOCK)
TEXTS = blocks(frame(TEXT, b"x") * BLOCK, BLOCK)
EMPTY = blocks(frame(BINARY, b"") * BLOCK, BLOCK)
FRAGMENTS = blocks(*fragments(1))
EMPTY_FRAGMENTS = blocks(frame(MORE, b"") * BLOCK, BLOCK, begin=frame(PIECE, b""))
