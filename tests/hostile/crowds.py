"""Crowds: connections that take places, files, threads and handshakes from the others."""

import asyncio
import random
import socket
from contextlib import suppress

from sonoduct import wire
from tests.hostile.floods import stream
from tests.hostile.honest import joining
from tests.hostile.intruder import ADDRESS, PAUSE_S, WAIT_S, Attacker, swallow
from tests.support.rawsocket import BINARY, HANDSHAKE, TEXT, frame

AT_ONCE = 50


async def held(aim):
    """Hold 600 streams of one frame, and take each lost place again."""
    attacker = Attacker(aim)

    async def one():
        half = stream(name="held")
        try:
            async with joining(aim.url, ADDRESS, aim.token, open_timeout=WAIT_S) as connection:
                await connection.send(wire.encode_control(half.greet()))
                half.feed(wire.decode_control(await connection.recv(decode=True)))
                await connection.send(b"".join(half.chunk(1, b"ab")))
                attacker.counts["held"] += 1
                left = max(0.0, attacker.until - asyncio.get_running_loop().time())
                with suppress(TimeoutError):
                    async with asyncio.timeout(left):
                        async for _ in connection:
                            pass
                connection.transport.abort()
        except Exception as exc:  # noqa: BLE001  # it comes again
            attacker.counts[type(exc).__name__] += 1
            await asyncio.sleep(10 * PAUSE_S)

    await attacker.many(600, one)
    return attacker.counts


def silent(count, port="port", *, begin=b"", byte=b"", pause=0.5, handshake=False):
    """
    Return an attack with *count* connections.

    Each sends *begin*, then one *byte* each *pause* seconds, and never a request; with *handshake*
    it makes a good handshake instead, and says nothing more.
    """

    async def attack(aim):
        attacker = Attacker(aim)
        place = ("127.0.0.1", getattr(aim, port))
        gate = asyncio.Semaphore(AT_ONCE)

        async def one():
            async with gate:
                if handshake:
                    made = await attacker.connect(aim.subprotocol)
                else:
                    made = await _bare(attacker, place)
            if made is None:
                await asyncio.sleep(5 * PAUSE_S)
                return
            reader, writer = made
            writer.write(begin)
            reading = asyncio.create_task(swallow(reader))
            while not attacker.over and not reading.done():
                if byte:
                    writer.write(byte)
                await asyncio.wait([reading], timeout=pause)
            attacker.counts["ended by the receiver"] += reading.done()
            reading.cancel()
            writer.transport.abort()

        await attacker.many(count, one)
        return attacker.counts

    return attack


async def _bare(attacker, place):
    made = socket.socket()
    made.setblocking(False)
    try:
        made.bind((ADDRESS, 0))
        async with asyncio.timeout(WAIT_S):
            await asyncio.get_running_loop().sock_connect(made, place)
    except (OSError, TimeoutError):
        made.close()
        attacker.counts["not connected"] += 1
        return None
    attacker.counts["connected"] += 1
    return await asyncio.open_connection(sock=made)


async def garbage(aim):
    """Send inputs that are wrong in every layer: HTTP, frames, JSON, and chunks."""
    attacker = Attacker(aim)
    most = 500 if aim.quick else 10_000

    async def one(seed):
        chance = random.Random(seed)
        begins = chance.random() < 0.1
        if begins:
            made = await _bare(attacker, ("127.0.0.1", aim.port))
        else:
            made = await attacker.connect(chance.choice([aim.subprotocol, None]))
        if made is None:
            await asyncio.sleep(PAUSE_S)
            return
        reader, writer = made
        writer.write(_spoilt(chance, begins=begins))
        with suppress(OSError, TimeoutError):
            async with asyncio.timeout(0.05):
                await swallow(reader)
        writer.transport.abort()
        attacker.counts["inputs"] += 1

    async def some(first):
        for seed in range(first, most, 16):
            if attacker.over:
                return
            with suppress(OSError, EOFError):
                await one(seed)

    async with asyncio.TaskGroup() as tasks:
        for first in range(16):
            tasks.create_task(some(first))
    return attacker.counts


def _spoilt(chance, *, begins):
    """Return a few good messages with a few bytes changed, behind a handshake if it *begins*."""
    good = frame(TEXT, wire.encode_control(stream(name="garbage").greet()).encode())
    chunk = frame(BINARY, wire.encode_chunk(1, 0, 4, bytes(8)))
    data = bytearray(HANDSHAKE.format(target="/").encode() + b"\r\n" if begins else b"")
    for _ in range(chance.randrange(1, 4)):
        data += chance.choice([good, chunk, chance.randbytes(40)])
    for _ in range(chance.randrange(1, 6)):
        at = chance.randrange(len(data))
        if chance.random() < 0.5:
            data[at] = chance.randrange(256)
        else:
            data[at : at + chance.randrange(4)] = chance.randbytes(chance.randrange(4))
    return data


HALF_OPEN = silent(5000)
SLOWLORIS = silent(4000, begin=b"GET / HTTP/1.1\r\nHost: localhost\r\nX: ", byte=b"a")
CONNECTIONS = silent(5000, handshake=True)
METRICS = silent(600, "metrics_port")
