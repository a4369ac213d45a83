"""Live input: the sender takes it without a pause, also without a receiver."""

import asyncio
import fcntl
import os

import numpy as np

from tests.support.commands import sending
from tests.support.recorder import SMALL, Recorder, listening
from tests.support.relay import Relay, free_port

RAW = ("-", "--raw", "s16le:8000:1", "--progress", "never")
PIECE = 16 * 1024
PIECE_S = 0.01
PIECES = 75
"""For one absence of the receiver: more than the pipe holds."""
CAPACITY = 1024 * 1024
"""The bytes that the kernel keeps for a slow reader: 64 pieces."""


class Writer:
    """Writes to a pipe at a steady rate, and fails if a write would block."""

    def __init__(self):
        self.reading, self._writing = os.pipe()
        fcntl.fcntl(self._writing, fcntl.F_SETPIPE_SZ, CAPACITY)
        os.set_blocking(self._writing, False)
        self._random = np.random.default_rng(0)
        self.written = b""

    async def write(self, pieces):
        """Write *pieces* pieces of noise."""
        for _ in range(pieces):
            piece = self._random.bytes(PIECE)
            assert os.write(self._writing, piece) == PIECE, "the writer was blocked"
            self.written += piece
            await asyncio.sleep(PIECE_S)

    def close(self):
        """End the input."""
        os.close(self._writing)


async def test_the_writer_never_waits_for_the_network():
    """The receiver starts late, then stalls, each time beyond patience: every frame arrives."""
    recorder, writer, port = Recorder(), Writer(), free_port()
    short = ("--connect-timeout", "0.2", "--patience", "0.2", "--silence-timeout", "0.2")
    async with Relay(port).listen() as proxy:
        async with sending(*RAW, "--to", proxy.url, *short, stdin=writer.reading) as program:
            os.close(writer.reading)
            await program.said("stream_started")
            await writer.write(PIECES)
            refused = proxy.accepted
            async with listening(recorder, port=port, **SMALL):
                await recorder.until(lambda: recorder.takes and recorder.takes[0].frames)
                proxy.flowing.clear()
                await writer.write(PIECES)
                proxy.flowing.set()
                await writer.write(10)
                writer.close()
                code = await program.ended()
            received = recorder.takes[-1]

    assert refused >= 2
    assert len(writer.written) == (2 * PIECES + 10) * PIECE
    assert 0 == code
    assert received.gapless
    expected = np.frombuffer(writer.written, "<i2") / np.float32(2**15)
    assert np.array_equal(expected, received.samples[:, 0])
