"""
A TCP relay between senders and receivers that behaves like a bad network.

The relay cuts, resets and stalls connections, flips bits, limits the rate and adds latency. It can
answer in place of the receiver, and choose among receivers as a load balancer does.
"""

import asyncio
import json
import socket
import struct
from collections import deque
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass

PIECE = 64 * 1024
PATIENCE_S = 20
"""The seconds that `until` waits."""

LINGER = struct.pack("ii", 1, 0)
"""A value of SO_LINGER: closing the socket resets the connection."""


def free_port():
    """Return a port on which no program listens at the moment."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        return server.getsockname()[1]


@dataclass(frozen=True)
class Toxics:
    """A bad network; the names come from https://github.com/Shopify/toxiproxy."""

    latency_s: float = 0
    """In each direction."""
    rate: float = 0
    """Bytes per second in each direction; 0 for no limit."""
    slice_bytes: int = PIECE
    """The largest piece that the relay passes at once."""


class Wire:
    """One connection through the relay: the sender's end and the receiver's."""

    def __init__(self, receiver, near, far):
        self.receiver = receiver
        """The relay's choice: a port, or an object with one."""
        self.near = near
        self.far = far
        self.orphaned = False
        """Whether the sender's end was cut, but not the receiver's."""
        self.heard = bytearray()
        """The receiver's bytes, with the headers of WebSocket between its messages."""

    @property
    def claims(self):
        """Return for each stream, in order, `opened` and the messages after it."""
        claims = []
        for message in _messages(self.heard):
            if message["type"] == "opened":
                claims.append([])
            if claims:
                claims[-1].append(message)
        return claims

    @property
    def failed(self):
        """Return the code of the receiver's error; 0 if the receiver sent no error."""
        return max((each.get("code", 0) for each in _messages(self.heard)), default=0)

    def close(self):
        """End the connection at both ends."""
        for _, writer in (self.near, self.far):
            writer.transport.abort()


class Relay:
    """
    Passes bytes between senders and receivers.

    *target* is a port, or a function that returns a receiver (an object with a `port`) for each
    connection, or None to refuse it.

    *cuts*, *flips* and *resets* each have one number for each connection, in order of arrival. A
    number counts bytes from the first byte of the sender's handshake. The byte of *cuts* is the
    first one that does not arrive. The byte of *flips* arrives with a flipped bit. After the byte
    of *resets*, the relay resets both ends. None means no fault on that connection.
    *answers* has bytes for each connection: a gateway's answer instead of a receiver's.
    """

    def __init__(
        self,
        target,
        *,
        cuts=(),
        flips=(),
        resets=(),
        answers=(),
        toxics=None,
        listens=False,
    ):
        """If the relay *listens*, it keeps the receivers' bytes."""
        self.target = target
        self.answers = deque(answers)
        self.cuts = deque(cuts)
        self.flips = deque(flips)
        self.resets = deque(resets)
        self.refusing = False
        """Whether the relay resets new connections at once."""
        self.accepted = 0
        self.passed = 0
        """Bytes from senders to receivers, on all connections."""
        self.url = ""
        self.flowing = asyncio.Event()
        """While this is clear, no byte passes in either direction."""
        self.flowing.set()
        self.wires = []
        """The open connections, the newest last."""
        self._toxics = toxics
        self._listens = listens
        self._news = asyncio.Event()
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
            self.cut()
            await asyncio.gather(*self._tasks, return_exceptions=True)

    def cut(self):
        """Cut every connection."""
        for task in self._tasks:
            task.cancel()

    async def pause(self, seconds):
        """Stop the flow in both directions for *seconds*; neither end is told."""
        self.flowing.clear()
        await asyncio.sleep(seconds)
        self.flowing.set()

    def orphan(self, receiver):
        """Cut the senders' ends of *receiver*'s connections only; return the connections."""
        found = self.carrying(receiver)
        for each in found:
            each.orphaned = True
            each.near[1].transport.abort()
        return found

    def carrying(self, receiver):
        """Return the connections between senders and *receiver*, the newest last."""
        return [each for each in self.wires if each.receiver is receiver and not each.orphaned]

    async def until(self, reached):
        """Wait until *reached* returns something true; the relay asks it after each piece."""
        async with asyncio.timeout(PATIENCE_S):
            while not reached():
                self._news.clear()
                await self._news.wait()

    def _accept(self, reader, writer):
        self.accepted += 1
        self._news.set()
        task = asyncio.create_task(self._serve(reader, writer))
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def _serve(self, *near):
        faults = [each.popleft() if each else None for each in (self.cuts, self.flips, self.resets)]
        receiver, writers, reset = None, [near[1]], self.refusing
        try:
            if self.refusing:
                return
            await self.flowing.wait()
            if self.answers and (answer := self.answers.popleft()) is not None:
                await near[0].read(PIECE)
                near[1].write(answer)
                return
            if (receiver := self.target() if callable(self.target) else self.target) is None:
                return
            far = await asyncio.open_connection("127.0.0.1", getattr(receiver, "port", receiver))
            writers.append(far[1])
            wire = Wire(receiver, near, far)
            self.wires.append(wire)
            try:
                reset = await self._join(wire, *faults)
            finally:
                self.wires.remove(wire)
        except OSError:
            pass  # the receiver does not listen
        finally:
            for each in writers:
                if reset:
                    each.get_extra_info("socket").setsockopt(
                        socket.SOL_SOCKET, socket.SO_LINGER, LINGER
                    )
                    each.transport.abort()
                else:
                    each.close()

    async def _join(self, wire, cut, flip, reset):
        """Carry bytes in both directions until one ends; return whether to reset both ends."""
        up = asyncio.create_task(self._up(wire, cut, flip, reset))
        down = asyncio.create_task(self._down(wire))
        try:
            await asyncio.wait({up, down}, return_when=asyncio.FIRST_COMPLETED)
            if wire.orphaned:
                await down
            return up.done() and up.result()
        finally:
            up.cancel()
            down.cancel()
            await asyncio.gather(up, down, return_exceptions=True)

    async def _up(self, wire, cut, flip, reset):
        count, stop = 0, cut if reset is None else reset
        async for data in self._arriving(wire.near[0]):
            if flip is not None and count <= flip < count + len(data):
                data[flip - count] ^= 1
            part = data if stop is None else data[: stop - count]
            await self._pass(part, wire.far[1])
            count += len(data)
            self.passed += len(data)
            self._news.set()
            if stop is not None and count >= stop:
                break
        return reset is not None and count >= reset

    async def _down(self, wire):
        async for data in self._arriving(wire.far[0]):
            if self._listens:
                wire.heard += data
            if not wire.orphaned:
                await self._pass(data, wire.near[1])

    async def _pass(self, data, writer):
        await self.flowing.wait()
        with suppress(ConnectionError):
            writer.write(data)
            await writer.drain()

    async def _arriving(self, reader):
        """Yield the bytes of *reader* at the times when the bad network delivers them."""
        if self._toxics is None:
            with suppress(OSError):
                while data := await reader.read(PIECE):
                    yield bytearray(data)
            return
        now, free, line = asyncio.get_running_loop().time, 0.0, asyncio.Queue(maxsize=256)
        reading = asyncio.create_task(self._read(reader, line))
        try:
            while (item := await line.get())[1]:
                due, data = item
                await asyncio.sleep(max(0, max(due, free) - now()))
                if self._toxics.rate:
                    free = max(now(), free) + len(data) / self._toxics.rate
                yield bytearray(data)
        finally:
            reading.cancel()

    async def _read(self, reader, line):
        """Fill the queue *line* with each piece and the time at which it arrives."""
        now = asyncio.get_running_loop().time
        with suppress(OSError):
            while data := await reader.read(self._toxics.slice_bytes):
                await line.put((now() + self._toxics.latency_s, data))
        await line.put((0, b""))


def _messages(heard):
    """Yield the JSON objects in *heard*; the bytes between them are not JSON."""
    decoder, text, at = json.JSONDecoder(), heard.decode("latin-1"), 0
    while (at := text.find('{"type"', at)) >= 0:
        try:
            found, end = decoder.raw_decode(text, at)
        except ValueError:
            return  # the rest has not arrived yet
        yield found
        at = end
