"""Receivers that lie: each keeps a sender waiting, takes its memory, or breaks the protocol."""

import asyncio
import base64
import hashlib
import itertools
import json
import struct
from contextlib import asynccontextmanager, suppress

from websockets.asyncio.server import serve

from sonoduct import wire

from .strangers import opened, url_of

HTTP_101 = (
    "HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
    "Sec-WebSocket-Accept: {accept}\r\nSec-WebSocket-Protocol: {subprotocol}\r\n{more}\r\n"
)
MAGIC = b"258EAFA5-E914-47DA-95CA-C5AB0DC85B11"
PAUSE_S = 0.02
CLOSE = 0x88
"""The first byte of a close frame."""


@asynccontextmanager
async def speaking(serve_one, **how):
    """Serve each connection with *serve_one*, which gets the library's connection."""

    async def guarded(connection):
        with suppress(Exception):  # the sender goes away in the middle
            await serve_one(connection)

    async with serve(
        guarded,
        "127.0.0.1",
        0,
        **{"subprotocols": [wire.SUBPROTOCOL], **how},
        compression=None,
        max_size=None,
        close_timeout=0.1,
        ping_interval=None,
    ) as server:
        yield url_of(server)


@asynccontextmanager
async def raw(serve_one):
    """Serve each connection with *serve_one*, which gets the request's bytes and the streams."""
    tasks = set()

    async def guarded(reader, writer):
        tasks.add(asyncio.current_task())
        with suppress(OSError, asyncio.IncompleteReadError, asyncio.CancelledError):
            await serve_one(await reader.readuntil(b"\r\n\r\n"), reader, writer)
        writer.transport.abort()

    server = await asyncio.start_server(guarded, "127.0.0.1", 0)
    async with server:
        yield url_of(server)
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks)


def accepted(request, subprotocol=wire.SUBPROTOCOL, more=""):
    """Return the answer to the handshake *request*."""
    key = next(
        line.split(b":")[1].strip()
        for line in request.split(b"\r\n")
        if line.lower().startswith(b"sec-websocket-key")
    )
    accept = base64.b64encode(hashlib.sha1(key + MAGIC).digest()).decode()  # noqa: S324  # RFC 6455
    return HTTP_101.format(accept=accept, subprotocol=subprotocol, more=more).encode()


def frame(first, payload=b""):
    """Return a frame with *first* as its first byte."""
    if len(payload) < 126:  # RFC 6455, section 5.2
        return bytes((first, len(payload))) + payload
    return struct.pack("!BBH", first, 126, len(payload)) + payload


def after_handshake(*pieces, endless=b"", reads=True, pause=0.0):
    """Send *pieces* after the handshake, then *endless* again and again."""

    async def serve_one(request, reader, writer):
        writer.write(accepted(request) + b"".join(pieces))
        reading = asyncio.ensure_future(_read_all(reader)) if reads else None
        try:
            while endless:
                writer.write(endless)
                await writer.drain()
                await asyncio.sleep(pause)
            await (reading or asyncio.sleep(60))
        finally:
            if reading:
                reading.cancel()

    return raw(serve_one)


async def _read_all(reader):
    """Read until the sender closes, or says that it will."""
    while data := await reader.read(65536):
        if data[0] == CLOSE:
            return


def answering(*pieces, endless=b"", pause=0.0):
    """Answer the request with *pieces*, then *endless* again and again."""

    async def serve_one(_request, _reader, writer):
        for piece in itertools.chain(pieces, itertools.repeat(endless) if endless else ()):
            writer.write(piece)
            await writer.drain()
            await asyncio.sleep(pause)

    return raw(serve_one)


def saying(*messages, endless=None, first=None, pause=PAUSE_S):
    """Answer hello with opened, take everything, say *messages*, and repeat *endless*."""

    async def serve_one(connection):
        await connection.recv()
        await connection.send(first or opened())
        for message in messages:
            await connection.send(message)
        taking = asyncio.ensure_future(_take_all(connection))
        try:
            while endless:
                await connection.send(endless)
                await asyncio.sleep(pause)
            await taking
        finally:
            taking.cancel()

    return speaking(serve_one)


async def _take_all(connection):
    async for _ in connection:
        pass


def ending(*messages, endless=None, cut=False, **how):
    """Acknowledge everything; after eos say *messages*, and repeat *endless* or cut."""

    async def serve_one(connection):
        await connection.recv()
        await connection.send(opened(window=2**40, max_chunk=65536))
        units = 0
        while isinstance(message := await connection.recv(), bytes):
            units += int.from_bytes(message[8:12], "little")
            await connection.send(ack(units))
        for each in messages:
            await connection.send(each.replace("DIGEST", json.loads(message)["digest"]))
        while endless:
            await connection.send(ack(units) if endless is ack else endless)
            await asyncio.sleep(PAUSE_S)
            if cut:
                return
        await connection.wait_closed()

    return speaking(serve_one, **how)


def ack(units, epoch=1, **changed):
    """Return an ack of *units*, as text."""
    usual = {"type": "ack", "epoch": epoch, "durable": 0, "received": units, "window": 2**40}
    return json.dumps({**usual, **changed})


def receipt(**changed):
    """Return a committed message whose receipt has *changed* facts, as text."""
    usual = {
        "stream": "0" * 32,
        "units": 16_000,
        "digest": "DIGEST",
        "frames": 16_000,
        "samplerate": 16_000,
        "channels": 1,
        "seconds": 1.0,
        "durable": False,
    }
    return json.dumps({"type": "committed", "epoch": 1, "receipt": {**usual, **changed}})


def to_and_fro():
    """On each connection, acknowledge a little, in turn less and more, and cut it."""
    turns = itertools.cycle((1000, 500))

    async def serve_one(connection):
        await connection.recv()
        await connection.send(opened(max_chunk=2000))
        await connection.recv()
        await connection.send(ack(next(turns)))

    return speaking(serve_one)


def closing(code, message=None, taken=None):
    """Answer each hello with *message* and a close *code*; add each connection to *taken*."""

    async def serve_one(connection):
        if taken is not None:
            taken.append(connection)
        await connection.recv()
        if message:
            await connection.send(message)
        await connection.close(code, "\x1b[31mbecause\u202e")

    return speaking(serve_one)


def deaf():
    """Open the stream with all credit, and read nothing."""

    async def serve_one(request, _reader, writer):
        writer.transport.pause_reading()
        terms = opened(window=2**62, max_chunk=2**45).encode()
        writer.write(accepted(request) + frame(0x81, terms))
        await asyncio.sleep(60)

    return raw(serve_one)


EVENT = json.dumps({"type": "event", "processor": "p", "offset": 0, "values": {}})
OPENED = frame(0x81, opened().encode())
LIARS = {
    "events, no acks": lambda: saying(endless=EVENT),
    "works for ever after eos": lambda: ending(endless=ack),
    "events for ever after eos": lambda: ending(endless=EVENT),
    "works for ever, each time cut": lambda: ending(endless=ack, cut=True),
    "acks of no epoch, never opened": lambda: saying(
        endless=ack(0, epoch=0), first=ack(0, epoch=0)
    ),
    "held for ever": lambda: closing(4423),
    "drains for ever": lambda: closing(1012, '{"type":"drain","retry_ms":0}'),
    "to and fro": to_and_fro,
    "terms of 2^45": lambda: saying(first=opened(window=2**62, max_chunk=2**45)),
    "window of 2^62, chunks of 2": lambda: saying(first=opened(window=2**62, max_chunk=2)),
    "reads nothing": deaf,
    "pings": lambda: after_handshake(endless=frame(0x89, b"x" * 125) * 500, reads=False),
    "fragments": lambda: after_handshake(frame(0x01, b"{"), endless=frame(0x00) * 500),
    "a text, a byte at a time": lambda: after_handshake(OPENED[:2], endless=b" ", pause=PAUSE_S),
    "an answer without end": lambda: answering(
        b"HTTP/1.1 200 OK\r\nContent-Length: 9999999999\r\n\r\n", endless=b"x" * 65536
    ),
    "headers without end": lambda: answering(b"HTTP/1.1 101 OK\r\n", endless=b"A: b\r\n" * 1000),
    "a header without end": lambda: answering(b"HTTP/1.1 101 OK\r\nA: ", endless=b"b" * 65536),
    "a handshake, a byte at a time": lambda: answering(
        b"HTTP/1.1 101 ", endless=b"O", pause=PAUSE_S
    ),
}
"""Those that hold a sender or take its memory, and how to start each."""
