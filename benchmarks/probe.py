"""A processor that notes when a chunk is an array; its process writes that down when it ends."""

import atexit
import os
import time
from pathlib import Path

import numpy as np

from receiver.processors.levels import Levels

from .lag import Lag

FILE = "BENCHMARK_ARRIVALS"
"""Environment variable: where to; the loop's lags go beside it."""

LAGS = "lags.npy"

ARRIVAL = np.dtype([("stream", "S32"), ("frame", "<i8"), ("arrived", "<f8"), ("stamp", "<f8")])
STAMP_FRAMES = 4


class Arrivals:
    """`benchmarks.probe:Arrivals`. The first samples may be a time: `stamp`."""

    inline = True
    seen = []  # noqa: RUF012  # of all streams; a list takes from several threads at once

    lag = None

    def open(self, stream):
        """Remember whose chunks these are; the first has the loop watched."""
        self.stream = stream.id
        Arrivals.lag = Arrivals.lag or Lag()

    def process(self, samples, offset):
        """Note the time."""
        first = samples[:STAMP_FRAMES].tobytes()
        self.seen.append((self.stream, offset + len(samples), time.monotonic(), first))

    def close(self):
        """Nothing to report."""


class TimedLevels(Levels):
    """`benchmarks.probe:TimedLevels`: the built-in processor, which notes arrivals besides."""

    def open(self, stream):
        """See Levels."""
        super().open(stream)
        self._arrivals = Arrivals()
        self._arrivals.open(stream)

    def process(self, samples, offset):
        """Note the time, then look at the levels."""
        self._arrivals.process(samples, offset)
        return super().process(samples, offset)


def stamp(now):
    """Return *now* as the bytes of four 16 bit samples."""
    return int(now * 1e9).to_bytes(8, "little")


def _write():
    rows = [
        (stream, frame, arrived, _stamped(first)) for stream, frame, arrived, first in Arrivals.seen
    ]
    np.save(os.environ[FILE], np.array(rows, ARRIVAL))
    if Arrivals.lag:
        np.save(Path(os.environ[FILE]).with_name(LAGS), np.array(Arrivals.lag.seen))


def _stamped(first):
    sixteen = np.frombuffer(first, "<f4")[:STAMP_FRAMES] * np.float32(32768)
    return int.from_bytes(sixteen.astype("<i2").tobytes(), "little") / 1e9


if FILE in os.environ:
    atexit.register(_write)
