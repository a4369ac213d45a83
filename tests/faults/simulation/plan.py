"""The properties of one run, drawn from its seed."""

from __future__ import annotations

import random
import struct
from pathlib import Path

import xxhash

from sonoduct import wire

FORMAT = wire.Format(samplerate=8000, channels=1, encoding=wire.Encoding.S16LE)
UNIT_BYTES = FORMAT.frame_bytes
STREAM = "ab" * 16
FOLDER = Path("/streams/ab") / STREAM
HELLO = wire.Hello(stream=STREAM, instance="a", format=FORMAT)
TROUBLES = 8
RECORD_BYTES = wire.HEADER_BYTES + UNIT_BYTES


def audio(start, stop):
    """Return the source between two units; each unit depends only on its place."""
    return b"".join(struct.pack("<H", unit * 40503 & 0xFFFF) for unit in range(start, stop))


class Broken(AssertionError):
    """A promise is broken."""


class Plan:
    """The length, the troubles and the interleaving of a run."""

    def __init__(self, seed):
        rng = random.Random(seed)
        self.seed = seed
        self.units = rng.randint(12, 40)
        self.source = audio(0, self.units)
        self.most_units = rng.randint(1, 3)
        """In a chunk."""
        self.window = rng.choice([2, 4, 8]) * (RECORD_BYTES + 2 * UNIT_BYTES)
        self.roll_bytes = rng.choice([300, 400, 1 << 26])
        self.trouble = rng.choice([0.01, 0.03, 0.06, 0.12])
        """The chance of a fault, at each step."""
        self.cuts = rng.choice([0.0, 0.1, 0.3])
        """The chance that the power fails, at each fault."""
        self.weights = [rng.choice([0, 1, 3]) for _ in range(TROUBLES)] + [1]
        """How often each other fault comes; the last one is not left out."""
        self.speeds = rng.choice([[1], [1, 1, 0.1], [1, 0.1, 0.02]])
        """Of the actors, each of which has one of them."""
        self.refusals = rng.choice([0.0, 0.0, 0.01, 0.05, 0.15])
        """The chance of an error, at each call that can have one."""
        self.glances = rng.choice([0.0, 0.05, 0.3])
        """The chance that others have a turn, at each read of an open file."""
        self.burst = rng.choice([1, 2, 5])
        """How many calls a connection makes, on the average, until another one has its turn."""
        self.troubled = rng.choice([150, 300])
        """How many steps there are, until it gets calm."""
        self.thin_every = random.Random(f"thin {seed}").choice([1, 2, 3, 100])
        """Claims after which the segments of empty ones are removed."""
        self.roll_records = random.Random(f"records {seed}").choice([3, 5, 1 << 12])
        self.terms = wire.Terms(self.window, 3 * UNIT_BYTES, wire.Level.DURABLE, kept=True)
        self.receipt = wire.Receipt(
            stream=STREAM,
            units=self.units,
            digest=xxhash.xxh3_128(self.source).hexdigest(),
            frames=self.units,
            samplerate=FORMAT.samplerate,
            channels=FORMAT.channels,
            seconds=self.units / FORMAT.samplerate,
            durable=True,
        )
