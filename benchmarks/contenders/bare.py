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
from runtime.memory import reuse_freed_memory

from . import Contender, require

WAV_HEADER_BYTES = 44


def count(pipe):
    """Add up the bytes of every message, and answer the sum to the text that ends a stream."""

    async def each(connection):
        total = 0
        with suppress(ConnectionClosed):  # live streams just go
            async for message in connection:
                if isinstance(message, str):
                    await connection.send(str(total))
                else:
                    total += len(message)

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


def send(pipe, url, sounds):
    """The same payload in messages of our chunks' size, read before: no decoding counts."""
    (sound,) = sounds
    data = memoryview(sound.path.read_bytes())[WAV_HEADER_BYTES:]
    size = Limits().max_chunk(Limits().window_bytes)
    reuse_freed_memory()
    pipe.send("ready")
    pipe.recv()

    async def run():
        started = time.perf_counter()
        async with connect(url, compression=None) as connection:
            for start in range(0, len(data), size):
                await connection.send(data[start : start + size])
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
