"""
Thousands of live streams from one process, at a small part of the receiver's costs.

It speaks just enough WebSocket: one handshake, frames with an empty mask, and it reads nothing but
the first answer. A client that is worth its name takes about ten times as long for each chunk.
"""

import asyncio
import base64
import os
import re
import struct
import time
from dataclasses import dataclass

from sonoduct.runtime.loop import run_loop
from sonoduct.wire import SUBPROTOCOL, Encoding, Format, Hello, encode_chunk, encode_control

from .probe import stamp

RATE = 16_000
CONNECTING = 32
"""Handshakes at once."""

SETTLE_S = 1.0
"""Before figures are taken."""

BINARY, TEXT = 0x82, 0x81


@dataclass(frozen=True)
class Load:
    """What to send."""

    streams: int
    chunk_s: float
    """Seconds of audio in a chunk; 0 for silence on the line."""
    seconds: float
    """How long figures are taken."""
    bare: bool = False
    """The same bytes without our protocol, for a server that only counts."""


def generate(pipe, url, load):
    """Connect; say `begin` and `end` around the time that counts, and how many chunks went out."""
    pipe.send("ready")
    pipe.recv()
    run_loop(_generate(pipe, url, load))
    pipe.recv()


async def _generate(pipe, url, load):
    host, _, port = url.removeprefix("ws://").rpartition(":")
    loop, turns = asyncio.get_running_loop(), asyncio.Semaphore(CONNECTING)

    async def connect(number):
        async with turns:
            _, peer = await loop.create_connection(
                lambda: _Peer(url, load.bare, number), host, port
            )
            await asyncio.wait_for(peer.opened.wait(), 30)
            return peer

    began = time.monotonic()
    peers = await asyncio.gather(*(connect(number) for number in range(load.streams)))
    if not load.chunk_s:
        seconds, units = time.monotonic() - began, sum(peer.offset for peer in peers)
        await asyncio.sleep(SETTLE_S)
        pipe.send({"event": "connected", "seconds": seconds, "units": units})
        return
    await _stream(pipe, peers, load)
    if lost := sum(peer.transport.is_closing() for peer in peers):
        raise ConnectionError(f"{lost} of {load.streams} streams were cut off")


async def _stream(pipe, peers, load):
    """Each stream's chunks are due at their own times, spread evenly."""
    frames = round(load.chunk_s * RATE)
    tail = os.urandom(frames * 2 - 8)
    began = time.monotonic()
    starts, ends = began + SETTLE_S, began + SETTLE_S + load.seconds
    sent = counted = 0
    begun = False
    while (now := time.monotonic()) < ends:
        if not begun and now >= starts:
            begun, counted = True, sent
            pipe.send({"event": "begin"})
        due = int((now - began) / load.chunk_s * len(peers))
        for turn in range(sent, due):
            chunk, number = divmod(turn, len(peers))
            payload = stamp(time.monotonic()) + tail
            message = payload if load.bare else encode_chunk(1, chunk * frames, frames, payload)
            peers[number].transport.write(_frame(BINARY, message))
        sent = max(sent, due)
        await asyncio.sleep(0.001)
    pipe.send({"event": "end", "chunks": sent - counted, "seconds": load.seconds})


class _Peer(asyncio.Protocol):
    def __init__(self, url, bare, number):
        self.opened = asyncio.Event()
        self.transport = None
        self.offset = 0
        """The unit at which the receiver wants the stream to continue."""
        self._url, self._bare, self._number = url, bare, number
        self._heard = b""

    def connection_made(self, transport):
        self.transport = transport
        key = base64.b64encode(os.urandom(16)).decode()
        lines = [
            "GET / HTTP/1.1",
            f"Host: {self._url.removeprefix('ws://')}",
            "Upgrade: websocket",
            "Connection: Upgrade",
            f"Sec-WebSocket-Key: {key}",
            "Sec-WebSocket-Version: 13",
        ]
        lines += [] if self._bare else [f"Sec-WebSocket-Protocol: {SUBPROTOCOL}"]
        transport.write("\r\n".join([*lines, "", ""]).encode())

    def data_received(self, data):
        if self.opened.is_set():
            return
        greeted = b"\r\n\r\n" in self._heard
        self._heard += data
        if not greeted and b"\r\n\r\n" in self._heard:
            if self._bare:
                self.opened.set()
            else:
                self.transport.write(_frame(TEXT, self._hello().encode()))
        if b'"opened"' in self._heard and (offset := _OFFSET.search(self._heard)):
            self.offset = int(offset[1])
            self.opened.set()

    def _hello(self):
        return encode_control(hello_of(self._number))


_OFFSET = re.compile(rb'"offset":(\d+)[,}]')


def hello_of(number):
    """Return what the stream of this *number* says first."""
    return Hello(
        stream=f"{number:032x}",
        instance="0" * 32,
        name=f"live {number}",
        format=Format(samplerate=RATE, channels=1, encoding=Encoding.S16LE),
    )


def _frame(kind, message):
    size = len(message)
    if size < 126:  # noqa: PLR2004  # RFC 6455, section 5.2
        return struct.pack("!BBI", kind, 0x80 | size, 0) + message
    return struct.pack("!BBHI", kind, 0x80 | 126, size, 0) + message
