"""Work in the receiver's event loop: it takes chunks as they come, and calls inline processors."""

import asyncio
import threading
import time

import numpy as np
import pytest

from receiver.processing import stage
from receiver.processing.processor import is_inline
from sonoduct import wire
from tests.support.faulty import Hang
from tests.support.rawclient import PATIENCE_S, digest, outbound, running, sound, speaking
from tests.support.rawsocket import BINARY, TEXT, frame, open_socket

FRAMES = 1000


@pytest.fixture
def large_blocks(monkeypatch):
    """Let a chunk be too large for the event loop: as it is, no chunk is."""
    monkeypatch.setattr(stage, "INLINE_BYTES", 256 * 1024)


FIRST, REST = 0x02, 0x80
"""The opcodes of a binary message in two fragments."""


async def claimed(receiver):
    """Open a stream on a connection of raw bytes; return both halves."""
    half = outbound()
    peer = await open_socket(receiver.port, wire.SUBPROTOCOL)
    await send(peer, frame(TEXT, wire.encode_control(half.greet()).encode()))
    opened = await hear(peer, b'"opened"')
    half.feed(wire.decode_control(opened[opened.index(b"{") :].decode()))
    return peer, half


async def send(peer, data):
    """Send *data* in one call."""
    await asyncio.get_running_loop().sock_sendall(peer, data)


async def hear(peer, what):
    """Read until *what* came; return the message with it."""
    heard = b""
    async with asyncio.timeout(PATIENCE_S):
        while what not in heard:
            more = await asyncio.get_running_loop().sock_recv(peer, 4096)
            assert more, f"closed before {what}: {heard}"
            heard += more
    return heard


def fragmented(message):
    """Return *message* in two fragments."""
    middle = len(message) // 2
    return frame(FIRST, message[:middle]) + frame(REST, message[middle:])


async def test_whole_chunks_do_not_overtake_fragmented_ones():
    """Fragments go through the library's queue; the messages after them wait behind them."""
    payload = sound(10 * FRAMES)
    async with running() as receiver:
        peer, half = await claimed(receiver)
        messages = []
        for number in range(10):
            part = payload[number * FRAMES * 4 : (number + 1) * FRAMES * 4]
            message = b"".join(half.chunk(FRAMES, part))
            messages.append(fragmented(message) if number % 3 == 1 else frame(BINARY, message))
        eos = frame(TEXT, wire.encode_control(half.eos()).encode())
        await send(peer, b"".join(messages) + eos)
        answer = await hear(peer, b'"committed"')
        peer.close()

    assert digest(payload).encode() in answer


async def test_a_chunk_does_not_overtake_the_end_of_its_stream():
    """A chunk after eos is refused, also while the eos waits for the processors."""
    payload = sound(FRAMES)
    async with running() as receiver:
        peer, half = await claimed(receiver)
        first = frame(BINARY, b"".join(half.chunk(FRAMES, payload)))
        eos = frame(TEXT, wire.encode_control(half.eos()).encode())
        late = frame(BINARY, wire.encode_chunk(1, FRAMES, FRAMES, payload))
        await send(peer, first + eos + late)
        answer = await hear(peer, b'"error"')
        peer.close()

    assert b'"committed"' in answer
    assert b'"seen":"chunk","expected":"a hello"' in answer


async def test_nothing_is_taken_after_a_fault():
    """After a bad chunk, the receiver takes no chunk, not even one that continues the stream."""
    seen = Inline()
    async with running(seen) as receiver:
        peer, half = await claimed(receiver)
        good = frame(BINARY, b"".join(half.chunk(FRAMES, sound(FRAMES))))
        bad = frame(BINARY, wire.encode_chunk(1, 5 * FRAMES, FRAMES, sound(FRAMES)))
        fits = frame(BINARY, wire.encode_chunk(1, FRAMES, FRAMES, sound(FRAMES)))
        await send(peer, good + bad + 20 * fits)
        answer = await hear(peer, b'"error"')
        chunks = receiver.value("receiver_chunks_received_total", dialect="sonoduct")
        peer.close()

    assert b'"code":4416' in answer
    assert 1 == chunks


class Inline:
    """A factory of inline processors, which note each call and its thread."""

    __name__ = "Inline"
    inline = True

    def __init__(self, fault=None):
        self.blocks, self.offsets, self.threads, self.framed = [], [], [], []
        self._fault = fault

    def __call__(self):
        return self

    def open(self, stream):
        self.framed.append(threading.current_thread())

    def process(self, samples, offset):
        self.blocks.append(samples)
        self.offsets.append(offset)
        self.threads.append(threading.current_thread())
        if self._fault is not None and offset:
            self._fault()
        return {"at": offset}

    def close(self):
        self.framed.append(threading.current_thread())
        return {"blocks": len(self.blocks)}


async def opened(client):
    """Greet; return when the processors are open and idle."""
    await client.greet()
    await client.send(sound(10))
    await client.until(wire.Event)


@pytest.mark.usefixtures("large_blocks")
async def test_an_inline_processor_is_called_where_chunks_are_taken():
    """The event loop calls it for a chunk, a thread for a larger one, and the order is kept."""
    processor, payload = Inline(), sound(200_000)
    async with running(processor) as receiver, speaking(receiver.url) as client:
        await opened(client)
        for end in (1000, 66_000, 132_000, 133_000, 134_000, 200_000):
            await client.send(payload[: end * 4], 280_000)
            await client.until(wire.Event, lambda event, end=end: event.offset < end)
        receipt = await client.commit()

    here = [thread is threading.main_thread() for thread in processor.threads[1:]]
    sizes = [len(block) * 4 for block in processor.blocks[1:]]
    assert [size <= stage.INLINE_BYTES for size in sizes] == here
    assert {True, False} == set(here)
    assert [threading.main_thread()] * 2 == processor.framed
    assert sorted(processor.offsets) == processor.offsets
    assert np.frombuffer(payload, "<i2").size == sum(block.size for block in processor.blocks)
    assert {"inline": {"blocks": len(sizes) + 1}} == receipt.processors


@pytest.mark.usefixtures("large_blocks")
async def test_small_blocks_do_not_overtake_a_large_one():
    """While a thread has blocks for the processor, later small blocks go to the thread as well."""
    with Hang() as hang:
        processor, payload = Inline(hang), sound(80_000)
        async with running(processor) as receiver, speaking(receiver.url) as client:
            await opened(client)
            await client.send(payload[:280_000], 280_000)
            assert await asyncio.to_thread(hang.entered.acquire, timeout=PATIENCE_S)
            await client.send(payload, 4000)
            await client.acknowledged()
            hang.released.set()
            receipt = await client.commit()

    assert threading.main_thread() not in processor.threads[1:3]
    assert sorted(processor.offsets) == processor.offsets
    assert ({}, 80_000) == (receipt.failures, receipt.frames)


@pytest.mark.parametrize("fault", [ValueError, SystemExit], ids=["error", "exit"])
async def test_an_inline_processor_that_raises_is_cut_off(fault):
    """If a processor raises in the event loop, the stream and the receiver continue without it."""

    def fail():
        raise fault("no more")

    payload = sound(5000)
    async with running(Inline(fail)) as receiver, speaking(receiver.url) as client:
        await opened(client)
        await client.send(payload, 4000)
        receipt = await client.commit()
        failures = receiver.value(
            "receiver_processor_failures_total", processor="inline", reason="raised"
        )

    reason = f"{fault.__name__}: no more"
    assert ({"inline": reason}, {}) == (receipt.failures, receipt.processors)
    assert digest(payload) == receipt.digest
    assert {"error": reason} in [event.values for event in client.all(wire.Event)]
    assert 1 == failures


@pytest.mark.usefixtures("large_blocks")
async def test_calls_are_counted_wherever_they_are_made():
    """The histogram counts each call, in the event loop and in a thread, in the right bucket."""
    async with running(Inline(lambda: time.sleep(0.02))) as receiver:
        async with speaking(receiver.url) as client:
            await opened(client)
            await client.send(sound(80_000), 280_000)
            await client.send(sound(80_100), 400)
            await client.commit()

        name = "receiver_processing_duration_seconds"
        counted = [
            receiver.value(f"{name}_{what}", processor="inline", **label)
            for what, label in (
                ("count", {}),
                ("bucket", {"le": "0.01"}),
                ("bucket", {"le": "10.0"}),
            )
        ]
        seconds = receiver.value(f"{name}_sum", processor="inline")

    assert [4, 1, 4] == counted
    assert 0.06 <= seconds


@pytest.mark.parametrize("word", ["inline", "prompt"])
@pytest.mark.parametrize(("value", "expected"), [(True, True), (False, False), ("yes", False)])
def test_a_processor_is_inline_only_if_it_says_so(word, value, expected):
    """A thread calls a processor unless its class says `inline`, or `prompt`, the former name."""
    factory = type("Factory", (), {word: value})

    assert expected == is_inline(factory)
    assert not is_inline(lambda: None)
