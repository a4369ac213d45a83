"""Compressed chunks become samples in order; a bad chunk stops the chunks behind it."""

import threading
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager

import pytest

from receiver.streams.pcm import BATCH, Unpacking
from sonoduct import wire
from sonoduct.audio.flac import pack
from tests.support.rawclient import sound

FLAC = wire.Format(
    samplerate=8000,
    channels=2,
    encoding=wire.Encoding.S16LE,
    compression=wire.Compression.FLAC,
)
WIDTH = FLAC.frame_bytes
SOUND = sound(4000)


def chunk(number, frames=100, *, good=True):
    """Return the *number*-th chunk of the sound."""
    samples = SOUND[number * frames * WIDTH : (number + 1) * frames * WIDTH]
    payload = pack(samples, FLAC) if good else b"fLaC"
    return wire.Chunk(1, number * frames, frames, wire.encode_chunk(1, 0, frames, payload))


class Listener:
    """Keeps the samples; refuses them from the chunk *full* on."""

    def __init__(self, full=99):
        self.accepted = []
        self.refused = []
        self._full = full

    def accept(self, chunk):
        if len(self.accepted) == self._full:
            raise wire.TooLarge("stream bytes", seen=2, expected=1)
        self.accepted.append(chunk)

    def refuse(self, error):
        self.refused.append(error)

    @property
    def samples(self):
        """Return the accepted samples."""
        return b"".join(chunk.canonical for chunk in self.accepted)


@contextmanager
def unpacking(listener):
    """Return an Unpacking, and a gate that holds its only thread while the gate is not set."""
    gate = threading.Event()
    with ThreadPoolExecutor(1) as threads:
        threads.submit(gate.wait)
        try:
            yield Unpacking(FLAC, threads, listener.accept, listener.refuse), gate
        finally:
            gate.set()


async def test_chunks_are_accepted_in_order():
    """Several batches come in order, each with the messages as sent, for the journal."""
    listener, chunks = Listener(), [chunk(number) for number in range(2 * BATCH + 1)]
    with unpacking(listener) as (made, gate):
        for each in chunks:
            made.put(each)
        gate.set()
        await made.settled()

    assert [each.message for each in chunks] == [each.message for each in listener.accepted]
    assert SOUND[: len(listener.samples)] == listener.samples
    assert (2 * BATCH + 1) * 100 * WIDTH == len(listener.samples)
    assert [] == listener.refused


async def test_nothing_behind_a_bad_chunk_is_accepted():
    """Chunks behind it are refused, in the same batch and later."""
    listener = Listener()
    with unpacking(listener) as (made, gate):
        for number in range(BATCH + 4):
            made.put(chunk(number, good=number != 2))
        gate.set()
        await made.settled()
        made.put(chunk(2))
        await made.settled()

    assert [0, 100] == [each.offset for each in listener.accepted]
    assert [wire.Malformed] == [type(each) for each in listener.refused]
    assert listener.refused == [made.failure]


async def test_a_store_that_takes_no_more_is_a_failure():
    """An error of the listener ends the stream as a bad chunk does."""
    listener = Listener(full=2)
    with unpacking(listener) as (made, gate):
        for number in range(4):
            made.put(chunk(number))
        gate.set()
        await made.settled()

    assert 2 == len(listener.accepted)
    assert ["stream bytes 2, expected 1"] == [str(each) for each in listener.refused]


@pytest.mark.parametrize("good", [True, False])
async def test_after_a_newer_claim_nothing_is_accepted(good):
    """After a newer claim, chunks under way are dropped."""
    listener = Listener()
    with unpacking(listener) as (made, gate):
        for number in range(BATCH + 4):
            made.put(chunk(number, good=good))
        made.drop()
        gate.set()
        await made.settled()

    assert ([], []) == (listener.accepted, listener.refused)


async def test_a_fault_of_ours_is_a_failure(monkeypatch):
    """If our code raises, the stream fails instead of waiting for ever."""
    listener = Listener()
    monkeypatch.setattr("receiver.streams.pcm.unpack", lambda *_: 1 / 0)
    with unpacking(listener) as (made, gate):
        made.put(chunk(0))
        gate.set()
        await made.settled()

    assert ["unpacking: ZeroDivisionError('division by zero')"] == [
        str(e) for e in listener.refused
    ]
