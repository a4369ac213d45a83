"""The bare library: websockets without compression, on uvloop; its receiver only counts."""

import asyncio
import time
from contextlib import contextmanager, suppress

import uvloop
from websockets.asyncio.client import connect
from websockets.asyncio.server import serve as listen
from websockets.exceptions import ConnectionClosed

from benchmarks.processes import Program, child
from receiver.settings import Limits
from sonoduct.runtime.loop import reuse_freed_memory

from . import Contender, require

WAV_HEADER_BYTES = 44
MESSAGE_BYTES = Limits().max_chunk(Limits().window_bytes)


def only_length():
    """Do nothing with messages but count them."""
    return len


def count(pipe, taking=only_length):
    """
    Add up the bytes of every message, and answer the sum to the text that ends a stream.

    For each connection, *taking* returns a function that takes a message and returns its bytes.
    """

    async def each(connection):
        total, take = 0, taking()
        with suppress(ConnectionClosed):  # live streams just go
            async for message in connection:
                if isinstance(message, str):
                    await connection.send(str(total))
                else:
                    total += take(message)

    reuse_freed_memory()

    async def run():
        settings = {"compression": None, "max_size": None, "ping_interval": 20}
        async with listen(each, "127.0.0.1", 0, backlog=4096, **settings) as server:
            pipe.send(f"ws://127.0.0.1:{server.sockets[0].getsockname()[1]}")
            await asyncio.Event().wait()

    uvloop.run(run())


@contextmanager
def serve(_folder):
    """A server that counts."""
    with child(count) as running:
        yield Program(running.pid, running.hear())


def payload(sound):
    """Read the file now, and return its samples in messages of our chunks' size."""
    data = memoryview(sound.path.read_bytes())[WAV_HEADER_BYTES:]
    return (data[start : start + MESSAGE_BYTES] for start in range(0, len(data), MESSAGE_BYTES))


def send(pipe, url, sounds, messages=payload):
    """What *messages* yields; it does before what does not count."""
    (sound,) = sounds
    parts = messages(sound)
    reuse_freed_memory()
    pipe.send("ready")
    pipe.recv()

    async def run():
        started = time.perf_counter()
        async with connect(url, compression=None) as connection:
            for part in parts:
                await connection.send(part)
            await connection.send("Done")
            counted = await connection.recv()
            return time.perf_counter() - started, counted

    seconds, counted = uvloop.run(run())
    pipe.send({"seconds": seconds, "bytes": int(counted)})
    pipe.recv()


def check(answer, sounds, _folder):
    """Every byte was counted."""
    require("bytes", answer["bytes"], sounds[0].payload_bytes)


BARE = Contender("bare library", serve, send, check)
