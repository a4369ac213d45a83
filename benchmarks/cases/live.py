"""Live streams from our own sender, everything on: live-500."""

import asyncio
import os

import numpy as np

from benchmarks.audio import noise
from benchmarks.contenders import require
from benchmarks.lag import Lag, longest
from benchmarks.processes import child
from benchmarks.results import Case
from benchmarks.rounds import scratch
from benchmarks.watching import CPU_PER_CHUNK, arrivals, lags, percentile, probed, watched
from sender import Settings, connect
from sender.sources.file import AudioFile
from sonoduct.runtime.logs import configure
from sonoduct.runtime.loop import run_loop

OURS = "sonoduct, durable"
RATE, CHUNK_S = 16_000, 0.06
CONNECT_S = 0.004
"""Between the starts of two streams: as in life, they are not in step."""

SETTLE_S = 1
FINISH_S = 1


def live(scale):
    """Each stream is a file that is sent as fast as it plays."""
    streams, seconds = scale.pick(500, 100), scale.pick(5, 3)
    work = f"{streams} live streams, 16 kHz mono, 60 ms chunks, durable, levels on, for {seconds} s"
    case = Case("live-500", work)
    length = round(streams * CONNECT_S) + SETTLE_S + seconds + FINISH_S
    with scratch() as folder:
        sound = noise(folder / "noise.wav", length, form=(RATE, 1))
        paths = [folder / f"{number:04}.wav" for number in range(streams)]
        for path in paths:  # each path is a stream of its own
            os.link(sound.path, path)
        for _ in range(scale.few(3)):
            case.add(OURS, **_round(paths, sound, seconds))
    both = [
        sum(pair) for pair in zip(*(case.values(OURS, f"{end} cores") for end in ENDS), strict=True)
    ]
    case.goal(
        "streams with a chunk that came after the next was due", case.median(OURS, "late"), most=0
    )
    case.goal("chunk to array, p99 in ms", case.median(OURS, "p99 ms"), most=15)
    case.goal(CPU_PER_CHUNK, case.median(OURS, CPU_PER_CHUNK), most=60)
    case.goal("receiver, cores", case.median(OURS, "receiver cores"), most=1)
    case.goal("receiver and sender, cores", float(np.median(both)), most=2)
    return case


ENDS = ("receiver", "sender")


def _round(paths, sound, seconds):
    with scratch() as folder:
        options = ("--store", str(folder / "store"), "--processors", "benchmarks.probe:TimedLevels")
        with (
            probed(folder, *options) as server,
            child(_send, server.url, paths, seconds) as client,
        ):
            figures = watched(server, client)
            done = client.hear()
        for receipt in done["receipts"]:
            require("digest", receipt.digest, sound.digest)
        seen, ours = arrivals(folder), lags(folder)
    starts = np.array([done["starts"][stream.decode()] for stream in seen["stream"]])
    due = starts + seen["frame"] / RATE
    counts = (due > done["begin"]) & (due < done["end"])
    waits = (seen["arrived"] - due)[counts]
    late = np.unique(seen["stream"][counts][waits > CHUNK_S])
    away = {
        "receiver's loop away, max ms": longest(ours, done["begin"], done["end"]),
        "sender's loop away, max ms": longest(done["lags"], done["begin"], done["end"]),
    }
    return figures | percentile(waits) | {"late": len(late)} | away


def _send(pipe, url, paths, seconds):
    """Say `begin` and `end` around the seconds in which all streams play."""
    configure("warning")
    pipe.send("ready")
    pipe.recv()
    run_loop(_play(pipe, url, paths, seconds))
    pipe.recv()


async def _play(pipe, url, paths, seconds):
    settings = Settings(realtime=True, chunk_frames=round(CHUNK_S * RATE))
    now = asyncio.get_running_loop().time
    starts, lag = {}, Lag()

    async def one(number, path):
        await asyncio.sleep(number * CONNECT_S)
        async with connect(url, settings) as client:
            source = await asyncio.to_thread(AudioFile, path)
            transfer = client.transfer(source)
            receipt = await client.carry(transfer)
            starts[source.stream] = transfer._pacing._start  # noqa: SLF001  # when its first frame was due
            source.close()
            return receipt

    tasks = [asyncio.create_task(one(*each)) for each in enumerate(paths)]
    await asyncio.sleep(len(paths) * CONNECT_S + SETTLE_S)
    begin = now()
    pipe.send({"event": "begin"})
    await asyncio.sleep(seconds)
    end = now()
    pipe.send(
        {"event": "end", "chunks": round(len(paths) * seconds / CHUNK_S), "seconds": end - begin}
    )
    receipts = await asyncio.gather(*tasks)
    seen = {"begin": begin, "end": end, "starts": starts, "receipts": receipts, "lags": lag.seen}
    pipe.send(seen)
