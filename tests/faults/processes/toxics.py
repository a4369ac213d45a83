"""
A TCP proxy that is a bad network: slow, far away, in slices, cut for a while, reset.

The names are those of https://github.com/Shopify/toxiproxy where it has one.
"""

import asyncio
import socket
import struct
from collections import deque
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass

BUFFER_BYTES = 64 * 1024
"""On the way in one direction; more waits at its sender."""

LINGER = struct.pack("ii", 1, 0)
"""Have a socket be reset when it is closed."""


@dataclass(frozen=True)
class Toxics:
    """What the network does to every connection."""

    latency_s: float = 0
    """In each direction."""
    rate: float = 0
    """Bytes in a second, in each direction; 0 for any number."""
    slice_bytes: int = BUFFER_BYTES
    """Passed on at once, at most."""


class Network:
    """
    Passes bytes on between senders and whatever listens on the port *target*.

    Each of *resets* makes one connection, in turn, end with a reset when so many bytes of its
    sender have passed, the handshake's included; None spares a connection.
    """

    def __init__(self, target, toxics, resets=()):
        self.url = ""
        self.passed = 0
        """Bytes from senders, on all connections."""
        self.accepted = 0
        self._target = target
        self._toxics = toxics
        self._resets = deque(resets)
        self._up = asyncio.Event()
        self._up.set()
        self._tasks = set()

    @asynccontextmanager
    async def listen(self):
        """Accept connections while the context is open."""
        server = await asyncio.start_server(self._accept, "127.0.0.1", 0)
        self.url = f"ws://127.0.0.1:{server.sockets[0].getsockname()[1]}"
        try:
            yield self
        finally:
            server.close()
            for task in self._tasks:
                task.cancel()
            await asyncio.gather(*self._tasks, return_exceptions=True)

    async def cut(self, seconds):
        """Have nothing pass for *seconds*, without any sign of it, in either direction."""
        self._up.clear()
        await asyncio.sleep(seconds)
        self._up.set()

    def _accept(self, reader, writer):
        self.accepted += 1
        task = asyncio.create_task(self._serve(reader, writer))
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def _serve(self, reader, writer):
        reset = self._resets.popleft() if self._resets else None
        writers = [writer]
        try:
            far_reader, far_writer = await asyncio.open_connection("127.0.0.1", self._target)
            writers.append(far_writer)
            await self._join((reader, far_writer, reset), (far_reader, writer, None))
        except OSError:
            pass  # the target does not listen
        finally:
            for each in writers:
                each.get_extra_info("socket").setsockopt(
                    socket.SOL_SOCKET, socket.SO_LINGER, LINGER
                )
                each.transport.abort()

    async def _join(self, *ways):
        """Carry bytes both ways, until one of them ends."""
        lines = [asyncio.Queue(maxsize=256) for _ in ways]
        readers, writers = [], []
        for line, (reader, writer, reset) in zip(lines, ways, strict=True):
            readers.append(asyncio.create_task(self._read(line, reader)))
            writers.append(asyncio.create_task(self._write(line, writer, reset)))
        try:
            await asyncio.wait(writers, return_when=asyncio.FIRST_COMPLETED)
        finally:
            for each in (*readers, *writers):
                each.cancel()
            await asyncio.gather(*readers, *writers, return_exceptions=True)

    async def _read(self, line, reader):
        now = asyncio.get_running_loop().time
        with suppress(OSError):
            while data := await reader.read(min(BUFFER_BYTES, self._toxics.slice_bytes)):
                await line.put((now() + self._toxics.latency_s, data))
        await line.put((0, b""))

    async def _write(self, line, writer, reset):
        """Pass on what is due, until the end, or until the reset is."""
        now, free, count = asyncio.get_running_loop().time, 0.0, 0
        while (item := await line.get())[1]:
            due, data = item
            await asyncio.sleep(max(0, max(due, free) - now()))
            await self._up.wait()
            if self._toxics.rate:
                free = max(now(), free) + len(data) / self._toxics.rate
            part = data if reset is None else data[: max(0, reset - count)]
            writer.write(part)
            await writer.drain()
            count += len(data)
            self.passed += len(part) if reset is not None else len(data)
            if reset is not None and count >= reset:
                return
