"""A TCP proxy with which tests spoil a connection: cut it, reset it, stall it, flip a bit."""

import asyncio
import socket
from collections import deque
from contextlib import asynccontextmanager, suppress

PIECE = 16 * 1024
PATIENCE_S = 20
"""How long a test waits for something that is bound to happen."""


def free_port():
    """A port that nobody listens on at the moment."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        return server.getsockname()[1]


class Proxy:
    """
    Passes bytes on between senders and whatever listens on the port *target*.

    Bytes are counted on their way from the sender, from the handshake's first on, and for each
    connection anew. *cuts* and *flips* name one such byte for each connection in turn: the first
    that does not arrive, and one that arrives with a bit flipped; None spares a connection.
    *answers* are what connections get in turn instead of the target: bytes, as of a gateway.
    """

    def __init__(self, target, *, cuts=(), flips=(), answers=()):
        self.target = target
        self.answers = deque(answers)
        self.cuts = deque(cuts)
        self.flips = deque(flips)
        self.resets = False
        """Whether new connections are reset at once."""
        self.accepted = 0
        self.passed = 0
        """Bytes that went from senders to the target, on all connections."""
        self.url = ""
        self.flowing = asyncio.Event()
        """While this is clear nothing passes in either direction."""
        self.flowing.set()
        self._news = asyncio.Event()
        self._connections = set()

    @asynccontextmanager
    async def listen(self):
        """Accept connections while the context is open."""
        server = await asyncio.start_server(self._accept, "127.0.0.1", 0)
        self.url = f"ws://127.0.0.1:{server.sockets[0].getsockname()[1]}"
        try:
            yield self
        finally:
            server.close()
            self.cut()
            await asyncio.gather(*self._connections, return_exceptions=True)

    def cut(self):
        """Cut every connection."""
        for task in self._connections:
            task.cancel()

    async def until(self, reached):
        """Wait until *reached* returns something true."""
        async with asyncio.timeout(PATIENCE_S):
            while not reached():
                self._news.clear()
                await self._news.wait()

    def _accept(self, reader, writer):
        self.accepted += 1
        self._news.set()
        task = asyncio.create_task(self._serve(reader, writer))
        self._connections.add(task)
        task.add_done_callback(self._connections.discard)

    async def _serve(self, reader, writer):
        cut = self.cuts.popleft() if self.cuts else None
        flip = self.flips.popleft() if self.flips else None
        writers = [writer]
        try:
            if self.resets:
                return
            await self.flowing.wait()
            if (answer := self.answers.popleft() if self.answers else None) is not None:
                await reader.read(PIECE)
                writer.write(answer)
                return
            far_reader, far_writer = await asyncio.open_connection("127.0.0.1", self.target)
            writers.append(far_writer)
            up = asyncio.create_task(self._up(reader, far_writer, cut, flip))
            down = asyncio.create_task(self._down(far_reader, writer))
            try:
                await asyncio.wait({up, down}, return_when=asyncio.FIRST_COMPLETED)
            finally:
                up.cancel()
                down.cancel()
                await asyncio.gather(up, down, return_exceptions=True)
        except OSError:
            pass  # the target does not listen
        finally:
            for each in writers:
                each.transport.abort() if self.resets else each.close()

    async def _up(self, reader, writer, cut, flip):
        count = 0
        while data := bytearray(await reader.read(PIECE)):
            if flip is not None and count <= flip < count + len(data):
                data[flip - count] ^= 1
            await self._pass(data if cut is None else data[: cut - count], writer)
            count += len(data)
            self.passed += len(data)
            self._news.set()
            if cut is not None and count >= cut:
                return

    async def _down(self, reader, writer):
        while data := await reader.read(PIECE):
            await self._pass(data, writer)

    async def _pass(self, data, writer):
        await self.flowing.wait()
        with suppress(ConnectionError):
            writer.write(data)
            await writer.drain()
