"""A real receiver, and a client whose every message the test chooses."""

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
"""The seconds that a test waits for an event that must come."""

FORMAT = wire.Format(samplerate=8000, channels=2, encoding=wire.Encoding.S16LE)

LEAST = receiver.settings.MINIMUM_WINDOW
SMALL = {"max_connections": 16, "memory_bytes": 16 * LEAST, "window_bytes": LEAST}
"""Limits of a receiver that grants each stream the smallest window."""


def sound(frames, format_=FORMAT, seed=0):
    """Return reproducible bytes of *frames* frames; in each encoding they are finite numbers."""
    generator = np.random.default_rng(seed)
    if format_.encoding is wire.Encoding.F32LE:
        samples = generator.uniform(-1, 1, (frames, format_.channels))
        return samples.astype("<f4").tobytes()
    return generator.bytes(frames * format_.frame_bytes)


def digest(payload, format_=FORMAT):
    """Return the digest of a stream that consists of *payload*."""
    whole = wire.Digest()
    whole.update(0, len(payload) // format_.frame_bytes, payload)
    return whole.hexdigest()


class Running:
    """A receiver in the test's own event loop, with its metrics."""

    def __init__(self, inside, registry):
        self.inside = inside
        self.url = inside.url
        self.port = inside.port
        self.registry = registry

    def value(self, name, **labels):
        """Return the value of a metric, as a scrape would see it, or None."""
        return self.registry.get_sample_value(name, labels)

    async def until(self, name, reached, **labels):
        """Poll a metric until *reached* returns something true for its value; return the value."""
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

    `greet`, `send` and `commit` follow the protocol, by wire.Outbound. `say` and `connection.send`
    send any message.
    """

    def __init__(self, connection, outbound):
        self.connection = connection
        self.outbound = outbound
        self.heard = []
        """All messages that came, in order."""

    async def say(self, message):
        """Send a control message, whether or not the protocol allows it now."""
        await self.connection.send(wire.encode_control(message))

    async def chunk(self, payload, offset=None, epoch=None):
        """Send a well-formed chunk, whether or not the protocol allows it now."""
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
        """Return the next message of *kind* for which *reached* returns something true."""
        while not (isinstance(message := await self.next(), kind) and reached(message)):
            pass
        return message

    async def closed(self):
        """Read until the receiver closes the connection; return the close's code and reason."""
        try:
            while True:
                await self.next()
        except ConnectionClosed as exc:
            assert exc.rcvd is not None, f"lost without a close code: {exc!r}"
            return exc.rcvd.code, exc.rcvd.reason

    def all(self, kind):
        """Return the messages of *kind* that have come."""
        return [message for message in self.heard if isinstance(message, kind)]

    async def greet(self):
        """Claim the stream; return the receiver's answer."""
        await self.say(self.outbound.greet())
        return await self.until(wire.Opened | wire.Error)

    async def send(self, source, chunk_bytes=8192):
        """Send the part of *source* beyond `outbound.position`, as credit allows."""
        outbound, width = self.outbound, self.outbound.hello.unit_bytes
        while (start := outbound.read_from * width) < len(source):
            known = (outbound.position - outbound.read_from) * width
            if known > 0:
                outbound.skip(known // width, source[start : start + known])
                continue
            part = source[start : start + min(chunk_bytes, outbound.max_chunk) // width * width]
            while outbound.room < len(part):
                await self.until(wire.Ack)
            await self.connection.send(b"".join(outbound.chunk(len(part) // width, part)))

    async def commit(self):
        """End the stream; return the receipt."""
        await self.say(self.outbound.eos())
        return (await self.until(wire.Committed)).receipt

    async def acknowledged(self):
        """Wait until the receiver has acknowledged every sent unit as received."""
        await self.until(wire.Ack, lambda ack: ack.received == self.outbound.position)

    def abort(self):
        """End the connection without a close, as a machine that loses power does."""
        self.outbound.lose()
        self.connection.transport.abort()

    def start(self, **hello):
        """Choose another stream for the next `greet`."""
        self.outbound = outbound(**hello)


def outbound(stream=None, instance="one", format_=FORMAT, **hello):
    """Return the sender's half of a stream."""
    stream = stream or uuid.uuid4().hex
    return wire.Outbound(wire.Hello(stream=stream, instance=instance, format=format_, **hello))


@asynccontextmanager
async def speaking(url, half=None, *, token="", tls=None, **hello):
    """
    Connect for a stream, perhaps with a *token*, and with *tls* settings.

    *half*, from an earlier connection, resumes its stream.
    """
    async with connect(
        url,
        subprotocols=[Subprotocol(wire.SUBPROTOCOL)],
        compression=None,
        close_timeout=2,
        additional_headers={"Authorization": f"Bearer {token}"} if token else None,
        ssl=tls,
    ) as connection:
        yield Client(connection, half or outbound(**hello))
