"""Streams whose receiver was killed: what a claim costs then, and until all have another one."""

import os
import time
from functools import partial

from benchmarks.contenders import require
from benchmarks.load import RATE, Load, generate, hello_of
from benchmarks.processes import child, receiver
from benchmarks.results import SECONDS, Case
from benchmarks.rounds import scratch
from benchmarks.usage import Meter
from benchmarks.watching import MANY, WAIT_S
from receiver.stores.journal import PosixDisk
from receiver.stores.journal.fence import claim
from receiver.stores.journal.journal import Journal
from receiver.stores.journal.writer import ROLL_BYTES, ROLL_RECORDS, Writer
from sonoduct.wire import HEADER_BYTES, Chunk, encode_chunk

WIDTH = 2
LIVE_BYTES = round(0.06 * RATE) * WIDTH
KINDS = {"20 bytes": 20, "60 ms": LIVE_BYTES, "256 KiB": 256 * 1024}
MANY_SEGMENTS = "60 ms, 5000 segments"
CPU = "CPU ms per claim"
TAKEOVER_S = 10.0

LIVE_ROUNDS = 2
"""To write the journals takes much longer than to take them over."""

MINUTES = 1, 3
"""Of audio in the journals of live streams: it spreads evenly, and so do their last segments."""


class Unsynced(PosixDisk):
    """For preparations: the machine will not lose its power."""

    def sync(self, handle):
        """Leave it to the kernel."""

    def sync_folder(self, folder):
        """Leave it to the kernel."""


def takeover(scale):
    """Claims one by one, in segments as long as they get; then all live streams at once."""
    streams = scale.pick(500, 50)
    work = (
        "journals of a receiver that was killed: one claim, by the size of the chunks, and "
        f"{streams} live streams, 16 kHz mono, 60 ms chunks, which come to another receiver"
    )
    case = Case("takeover", work)
    live = f"{streams} live streams"
    for turn in range(scale.rounds):
        for name, size in KINDS.items():
            case.add(name, **{CPU: _claimed(size)})
        case.add(MANY_SEGMENTS, **{CPU: _claimed(LIVE_BYTES, 5000, most=2)})
        if turn < LIVE_ROUNDS:
            case.add(live, **_all_at_once(streams))
    costs = [case.median(name, CPU) for name in (*KINDS, MANY_SEGMENTS)]
    case.goal("a claim, CPU in ms, at most", max(costs), most=50)
    case.goal("seconds until all live streams are open again", case.median(live), most=5)
    return case


def _claimed(size, count=ROLL_RECORDS, most=ROLL_RECORDS):
    """Return the ms of CPU for a claim on *count* chunks, or on as many as a segment has."""
    if most == ROLL_RECORDS:
        count = min(count, ROLL_BYTES // (size + HEADER_BYTES)) - 1
    chunks = _chunks(size, count)
    with scratch() as folder:
        journal = _written(Unsynced(), folder, 0, chunks, roll_records=most)
        began = time.thread_time()
        granted = claim(Journal(PosixDisk(), journal.folder), hello_of(0), TAKEOVER_S)
        spent = time.thread_time() - began
        granted.writer.close()
    require("units", granted.offset, chunks[-1].end)
    return spent * 1000


def _all_at_once(streams):
    """Return the time until all streams have another receiver, which has run for a while."""
    least, most = (round(minutes * 60 * RATE * WIDTH / LIVE_BYTES) for minutes in MINUTES)
    chunks = _chunks(LIVE_BYTES, most)
    units = 0
    with scratch() as folder, receiver("--store", str(folder), limits=MANY) as server:
        for number in range(streams):
            count = least + (most - least) * number // streams
            _written(PosixDisk(), folder, number, chunks[:count])
            units += chunks[count - 1].end
        with child(generate, server.url, Load(streams, 0, 0)) as client:
            client.hear()
            meter = Meter(server.pid)
            client.tell()
            answer = client.hear(WAIT_S)
            cost = meter.cost()
    require("units", answer["units"], units)
    return {SECONDS: answer["seconds"], CPU: cost.cpu_seconds * 1000 / streams}


def _written(disk, root, number, chunks, **limits):
    """Return the journal that a receiver leaves if it is killed: nothing seals it."""
    hello = hello_of(number)
    journal = Journal(disk, root / "streams" / hello.stream[:2] / hello.stream)
    journal.disk.make_folder(journal.folder)
    writer = Writer(journal, hello, 1, **limits)
    writer.open(0)
    writer.commit(chunks)
    writer.close()
    return journal


def _chunks(size, count):
    units, payload = size // WIDTH, os.urandom(size)
    message = partial(encode_chunk, 1, units=units, payload=payload)
    return [Chunk(1, at, units, message(at)) for at in range(0, count * units, units)]
