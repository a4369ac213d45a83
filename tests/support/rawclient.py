"""Clients that speak to a real receiver by hand, and the receiver that they speak to."""

import asyncio
import uuid
from contextlib import asynccontextmanager

import numpy as np
from prometheus_client import CollectorRegistry
from websockets.asyncio.client import connect
from websockets.exceptions import ConnectionClosed
from websockets.typing import Subprotocol

import receiver
import receiver.settings
from sonoduct import wire

PATIENCE_S = 10
"""How long a test waits for something that is bound to happen."""

FORMAT = wire.Format(samplerate=8000, channels=2, encoding=wire.Encoding.S16LE)

LEAST = receiver.settings.MINIMUM_WINDOW
SMALL = {"max_connections": 16, "memory_bytes": 16 * LEAST, "window_bytes": LEAST}
"""Limits of a receiver that grants each stream the smallest window."""


def sound(frames, format_=FORMAT, seed=0):
    """Reproducible bytes of *frames* frames that are finite numbers in each encoding."""
    generator = np.random.default_rng(seed)
    if format_.encoding is wire.Encoding.F32LE:
        samples = generator.uniform(-1, 1, (frames, format_.channels))
        return samples.astype("<f4").tobytes()
    return generator.bytes(frames * format_.frame_bytes)


def digest(payload, format_=FORMAT):
    """The digest of a stream that consists of *payload*."""
    whole = wire.Digest()
    whole.update(0, len(payload) // format_.frame_bytes, payload)
    return whole.hexdigest()


class Running:
    """A receiver in the test's own loop, with its metrics at hand."""

    def __init__(self, inside, registry):
        self.inside = inside
        self.url = inside.url
        self.port = inside.port
        self.registry = registry

    def value(self, name, **labels):
        """A sample of the metrics, as a scrape would see it."""
        return self.registry.get_sample_value(name, labels)

    async def until(self, name, reached, **labels):
        """Poll a metric, for what nothing else tells of; return the value that is *reached*."""
        async with asyncio.timeout(PATIENCE_S):
            while not reached(value := self.value(name, **labels)):
                await asyncio.sleep(0.01)
        return value


@asynccontextmanager
async def running(*processors, limits=None, **settings):
    """Run a receiver with *processors*, and with *limits* in place of the defaults."""
    registry = CollectorRegistry()
    bounds = receiver.Limits(**(limits or {}))
    chosen = {"host": "127.0.0.1", "port": 0, "drain_lead": 0, "store": "none", **settings}
    async with receiver.serve(
        receiver.Settings(**chosen, limits=bounds), processors=processors, registry=registry
    ) as inside:
        yield Running(inside, registry)


class Client:
    """
    One connection that speaks sonoduct.v1.

    `greet`, `send`, `commit` behave well, by way of wire.Outbound; `say` and `connection.send` say
    whatever the test likes.
    """

    def __init__(self, connection, outbound):
        self.connection = connection
        self.outbound = outbound
        self.heard = []
        """Everything that came, in order."""

    async def say(self, message):
        """Send a control message, whether or not it is its turn."""
        await self.connection.send(wire.encode_control(message))

    async def chunk(self, payload, offset=None, epoch=None):
        """Send a well-formed chunk, whether or not it is its turn."""
        units = len(payload) // self.outbound.hello.unit_bytes
        offset = self.outbound.position if offset is None else offset
        epoch = self.outbound.epoch if epoch is None else epoch
        await self.connection.send(wire.encode_chunk(epoch, offset, units, payload))

    async def next(self):
        """Return the next message."""
        async with asyncio.timeout(PATIENCE_S):
            message = wire.decode_control(await self.connection.recv(decode=True))
        self.heard.append(message)
        if not isinstance(message, wire.Error | wire.Drain):
            self.outbound.feed(message)
            if self.outbound.phase is wire.Phase.PROVING:
                self.outbound.trust()
        return message

    async def until(self, kind, reached=lambda _message: True):
        """Return the next message that is a *kind* and *reached*."""
        while not (isinstance(message := await self.next(), kind) and reached(message)):
            pass
        return message

    async def closed(self):
        """Take what still comes; return the code and the reason of the close."""
        try:
            while True:
                await self.next()
        except ConnectionClosed as exc:
            assert exc.rcvd is not None, f"lost without a close code: {exc!r}"
            return exc.rcvd.code, exc.rcvd.reason

    def all(self, kind):
        """The messages that have come and are a *kind*."""
        return [message for message in self.heard if isinstance(message, kind)]

    async def greet(self):
        """Claim the stream; return what opened it."""
        await self.say(self.outbound.greet())
        return await self.until(wire.Opened | wire.Error)

    async def send(self, source, chunk_bytes=8192):
        """Send what *source* has beyond `outbound.position`, as credit allows."""
        outbound, width = self.outbound, self.outbound.hello.unit_bytes
        while (start := outbound.read_from * width) < len(source):
            known = (outbound.position - outbound.read_from) * width
            if known > 0:
                outbound.skip(known // width, source[start : start + known])
                continue
            part = source[start : start + min(chunk_bytes, outbound.max_chunk) // width * width]
            while outbound.room < len(part):
                await self.until(wire.Ack)
            await self.connection.send(outbound.chunk(len(part) // width, part))

    async def commit(self):
        """End the stream; return the receipt."""
        await self.say(self.outbound.eos())
        return (await self.until(wire.Committed)).receipt

    async def acknowledged(self):
        """Wait until everything that was sent is acknowledged as received."""
        await self.until(wire.Ack, lambda ack: ack.received == self.outbound.position)

    def abort(self):
        """Vanish without a word, as a machine that loses power does."""
        self.outbound.lose()
        self.connection.transport.abort()

    def start(self, **hello):
        """Turn to another stream, for the next `greet`."""
        self.outbound = outbound(**hello)


def outbound(stream=None, instance="one", format_=FORMAT, **hello):
    """The sender's half of a stream."""
    stream = stream or uuid.uuid4().hex
    return wire.Outbound(wire.Hello(stream=stream, instance=instance, format=format_, **hello))


@asynccontextmanager
async def speaking(url, half=None, **hello):
    """Connect for a stream; *half* is that of an earlier connection, to resume it."""
    async with connect(
        url, subprotocols=[Subprotocol(wire.SUBPROTOCOL)], compression=None, close_timeout=2
    ) as connection:
        yield Client(connection, half or outbound(**hello))
