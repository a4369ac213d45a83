"""The honest side: live streams and newcomers, in a process of their own, and what they measure."""

import asyncio
import hashlib
import time
import uuid
from contextlib import suppress
from dataclasses import dataclass, field

import numpy as np
import uvloop
from websockets.asyncio.client import connect

from sonoduct import wire
from sonoduct.wire import Phase

RATE = 16_000
CHUNK_S = 0.1
CHUNK_BYTES = int(RATE * CHUNK_S) * 2
PING_S = 0.25
NEWCOMER_S = 0.5
SOON_S = 2.0
"""Of a newcomer, from its connection to its receipt."""
END_S = 20.0
"""For the receipts, after the last chunk."""
AGAIN_S = 0.2
LIVE, NEW = "127.0.0.2", "127.0.0.3"
FORMAT = wire.Format(samplerate=RATE, channels=1, encoding=wire.Encoding.S16LE)
MOST_S = 600
"""Of a live stream."""


@dataclass
class Found:
    """What the honest side has measured; times are those of the machine's steady clock."""

    pings: list = field(default_factory=list)
    """Time, and seconds to the pong."""
    acks: list = field(default_factory=list)
    """Time at which a chunk was sent, and seconds until it was acknowledged as durable."""
    newcomers: list = field(default_factory=list)
    """Time at which one came, and seconds until its receipt; None without one in time."""
    receipts: list = field(default_factory=list)
    """SHA-256 of each live stream with a receipt of exactly its audio."""
    faults: list = field(default_factory=list)
    """What has ended a connection."""
    behind: int = 0
    """Streams that had to continue behind what was acknowledged."""


def outbound(name):
    """Return the sender's half of a new stream."""
    hello = wire.Hello(stream=uuid.uuid4().hex, instance=uuid.uuid4().hex, name=name, format=FORMAT)
    return wire.Outbound(hello)


def joining(url, address, token="", **how):
    """Connect from *address*, with *token* if there is one."""
    return connect(
        url,
        subprotocols=[wire.SUBPROTOCOL],
        compression=None,
        local_addr=(address, 0),
        additional_headers={"Authorization": f"Bearer {token}"} if token else None,
        ping_interval=None,
        close_timeout=1,
        **how,
    )


class Live:
    """A stream at the speed of its samples; it comes back after each lost connection."""

    def __init__(self, number, found, over):
        self.half = outbound(f"live {number}")
        self.begun = asyncio.Event()
        self._found, self._over = found, over
        self._noise = np.random.default_rng(number).bytes(CHUNK_BYTES * 64)
        self._since = 0.0
        self._sent = {}
        self._acknowledged = 0
        self._sum = hashlib.sha256()

    def _part(self, unit, units):
        begin = unit * 2 % len(self._noise)
        data = self._noise[begin : begin + units * 2]
        return data + self._noise[: units * 2 - len(data)]

    async def run(self, url, token):
        """Send until the run is over, then end the stream."""
        end = None
        while self.half.phase is not Phase.DONE:
            try:
                async with joining(url, LIVE, token) as connection:
                    await self._connected(connection)
            except asyncio.CancelledError:
                raise
            except Exception as exc:  # noqa: BLE001  # whatever it is, the stream continues
                self._found.faults.append(repr(exc)[:200])
            self.half.lose()
            if self._over.is_set():
                end = end or time.monotonic() + END_S
                if time.monotonic() > end:
                    return
            await asyncio.sleep(AGAIN_S)

    async def _connected(self, connection):
        half = self.half
        await connection.send(wire.encode_control(half.greet()))
        opened = wire.decode_control(await connection.recv(decode=True))
        if isinstance(opened, wire.Opened) and opened.offset < self._acknowledged:
            self._found.behind += 1
        half.feed(opened)
        now = time.monotonic()
        self._found.acks += [(sent, now - sent) for sent in self._sent.values()]
        self._sent.clear()
        self.begun.set()
        self._since = self._since or time.monotonic()
        tasks = [
            asyncio.create_task(each)
            for each in (self._read(connection), self._ping(connection), self._send(connection))
        ]
        try:
            await tasks[0]
        finally:
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)

    async def _read(self, connection):
        async for text in connection:
            message = wire.decode_control(text)
            self.half.feed(message)
            if isinstance(message, wire.Ack):
                self._acknowledged = max(self._acknowledged, message.durable)
                now = time.monotonic()
                for unit in [each for each in self._sent if each <= message.durable]:
                    sent = self._sent.pop(unit)
                    self._found.acks.append((sent, now - sent))
            if isinstance(message, wire.Committed):
                self._found.receipts.append(self._digest(message.receipt.frames))
                return

    def _digest(self, units):
        whole = self._noise * (units * 2 // len(self._noise) + 1)
        return hashlib.sha256(whole[: units * 2]).hexdigest()

    async def _ping(self, connection):
        while True:
            sent = time.monotonic()
            with suppress(TimeoutError):
                await asyncio.wait_for(await connection.ping(), END_S)
            self._found.pings.append((sent, time.monotonic() - sent))
            await asyncio.sleep(PING_S)

    async def _send(self, connection):
        half, units = self.half, CHUNK_BYTES // 2
        while True:
            due = int((time.monotonic() - self._since) / CHUNK_S) * units
            if half.read_from >= due:
                if self._over.is_set():
                    break
                await asyncio.sleep(CHUNK_S / 4)
                continue
            known = half.position - half.read_from
            if known > 0:
                known = min(known, units)
                half.skip(known, self._part(half.read_from, known))
                continue
            while half.room < CHUNK_BYTES:
                await asyncio.sleep(0.01)
            await connection.send(b"".join(half.chunk(units, self._part(half.position, units))))
            self._sent[half.position] = time.monotonic()
        await connection.send(wire.encode_control(half.eos()))


async def _newcomer(url, token, found):
    came = time.monotonic()
    took = None
    try:
        async with asyncio.timeout(SOON_S), joining(url, NEW, token) as connection:
            half = outbound("newcomer")
            await connection.send(wire.encode_control(half.greet()))
            half.feed(wire.decode_control(await connection.recv(decode=True)))
            payload = bytes(CHUNK_BYTES)
            await connection.send(b"".join(half.chunk(len(payload) // 2, payload)))
            await connection.send(wire.encode_control(half.eos()))
            while half.phase is not Phase.DONE:
                half.feed(wire.decode_control(await connection.recv(decode=True)))
            took = time.monotonic() - came
    except Exception as exc:  # noqa: BLE001  # it has no receipt
        found.faults.append(f"newcomer: {exc!r}"[:200])
    found.newcomers.append((came, took))


async def _newcomers(url, token, found, over):
    async with asyncio.TaskGroup() as tasks:
        while not over.is_set():
            tasks.create_task(_newcomer(url, token, found))
            await asyncio.sleep(NEWCOMER_S)


async def _side(pipe, url, count, tokens):
    found, over = Found(), asyncio.Event()
    live = [Live(number, found, over) for number in range(count)]
    async with asyncio.TaskGroup() as tasks:
        running = [tasks.create_task(each.run(url, tokens.get("studio", ""))) for each in live]
        for each in live:
            await each.begun.wait()
        tasks.create_task(_newcomers(url, tokens.get("newcomer", ""), found, over))
        pipe.send("ready")
        await asyncio.to_thread(pipe.recv)
        over.set()
        _, late = await asyncio.wait(running, timeout=2 * END_S)
        for each in late:
            each.cancel()
    return found


def honest(pipe, url, count, tokens):
    """Run *count* live streams, and newcomers, until the pipe says so; return what they found."""
    pipe.send(uvloop.run(_side(pipe, url, count, tokens)))
