"""What attackers have in common: where they aim, and clients that keep to no protocol."""

import asyncio
import os
import time
from collections import Counter
from contextlib import suppress
from dataclasses import dataclass

import uvloop

from benchmarks.processes import more_descriptors
from sonoduct import wire
from tests.support.rawsocket import HANDSHAKE

ADDRESS = "127.0.0.9"
NICE = 10
"""Attackers come from other machines, and take no processor from the honest ones."""
TURN_S = 0.002
PAUSE_S = 0.02
WAIT_S = 2.0
"""For one answer of the receiver."""
MOST_WAITING = 256 * 1024


@dataclass(frozen=True)
class Aim:
    """What an attacker is told."""

    url: str
    port: int
    metrics_port: int
    seconds: float
    quick: bool
    token: str = ""
    honest_token: str = ""
    store: str = ""

    @property
    def subprotocol(self):
        """Return the protocol of senders."""
        return wire.SUBPROTOCOL


class Attacker:
    """The clients of one attack, until its time is over."""

    def __init__(self, aim):
        self.aim = aim
        self.until = time.monotonic() + aim.seconds
        self.counts = Counter()
        """What they have done, and what became of it."""

    @property
    def over(self):
        """Return whether the time is over."""
        return time.monotonic() > self.until

    async def connect(self, subprotocol=None, target="/", more="", port=None):
        """Connect and make the handshake; return the reader and the writer, or None."""
        try:
            async with asyncio.timeout(WAIT_S):
                reader, writer = await asyncio.open_connection(
                    "127.0.0.1", port or self.aim.port, local_addr=(ADDRESS, 0)
                )
        except (OSError, TimeoutError):
            self.counts["not connected"] += 1
            return None
        offer = f"Sec-WebSocket-Protocol: {subprotocol}\r\n" if subprotocol else ""
        if self.aim.token:
            offer += f"Authorization: Bearer {self.aim.token}\r\n"
        try:
            writer.write((HANDSHAKE.format(target=target) + offer + more + "\r\n").encode())
            async with asyncio.timeout(WAIT_S):
                answer = await reader.readuntil(b"\r\n\r\n")
        except (OSError, TimeoutError, asyncio.IncompleteReadError):
            writer.transport.abort()
            self.counts["no answer"] += 1
            return None
        status = answer[9:12].decode(errors="replace")
        self.counts[status] += 1
        if status != "101":
            writer.transport.abort()
            return None
        return reader, writer

    async def again(self, client, *arguments):
        """Run *client* until the time is over; when it ends, run it again."""
        while not self.over:
            with suppress(OSError, EOFError):
                await client(*arguments)
            await asyncio.sleep(PAUSE_S)

    async def pour(self, writer, block, messages, begin=b""):
        """Send *block*, which has so many *messages*, again and again."""
        writer.write(begin)
        transport = writer.transport
        while not self.over and not transport.is_closing():
            if transport.get_write_buffer_size() > MOST_WAITING:
                await asyncio.sleep(TURN_S)
                continue
            writer.write(block)
            self.counts["messages"] += messages
            await asyncio.sleep(0)
        transport.abort()

    async def many(self, count, client, *arguments):
        """Run *count* clients at once, each again and again."""
        async with asyncio.TaskGroup() as tasks:
            for _ in range(count):
                tasks.create_task(self.again(client, *arguments))


async def swallow(reader):
    """Read until the connection ends."""
    with suppress(OSError):
        while await reader.read(65536):
            pass


def attacking(pipe, name, aim):
    """Run the attack with *name* when the pipe says so; return what it says."""
    from tests.hostile.attacks import ATTACKS

    attack = next(each.run for each in ATTACKS if each.name == name)
    os.nice(NICE)
    more_descriptors()
    pipe.send("ready")
    pipe.recv()
    pipe.send(uvloop.run(attack(aim)))
