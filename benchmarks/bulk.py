"""
One long WAV to its receipt, against the bare WebSocket library and the tutorial's program.

Contenders take turns (A B C A B C …), each with both ends in processes of their own. What counts
is the time from the first byte to the last answer; starting the processes does not.
"""

import argparse
import asyncio
import json
import multiprocessing
import platform
import statistics
import tempfile
import time
from importlib.metadata import version
from pathlib import Path

import numpy as np
import soundfile
from websockets.asyncio.client import connect
from websockets.asyncio.server import serve

import receiver
import sender
from receiver.settings import Limits
from runtime.logs import configure
from runtime.loop import run_loop

RATE, CHANNELS = 44_100, 2
MESSAGE = Limits().chunk_bytes
BLOCK = 4096


def make_wav(path, seconds):
    """A 16 bit stereo WAV of noise: nothing in it can be compressed away."""
    second = np.random.default_rng(0).integers(-9000, 9000, (RATE, CHANNELS), dtype=np.int16)
    with soundfile.SoundFile(path, "w", RATE, CHANNELS, "PCM_16") as file:
        for _ in range(seconds):
            file.write(second)


async def serve_ours(pipe):
    """The receiver with its default processor and without a store."""
    configure("warning")
    settings = receiver.Settings(host="127.0.0.1", port=0, store="none")
    async with receiver.serve(settings) as running:
        pipe.send(running.url)
        await asyncio.Event().wait()


async def send_ours(url, path):
    """Our client: decode, send, receipt."""
    async with sender.connect(url) as client:
        await client.send(path)


async def serve_counting(pipe, **options):
    """A server that only counts what comes, then answers."""

    async def count(connection):
        async for message in connection:
            if message == "Done":
                await connection.send("Done!")
            else:
                np.frombuffer(message, np.float32 if options else np.int16)

    async with serve(count, "127.0.0.1", 0, **options) as server:
        pipe.send(f"ws://127.0.0.1:{server.sockets[0].getsockname()[1]}")
        await asyncio.Event().wait()


async def serve_bare(pipe):
    """The library alone, without compression: the ceiling."""
    await serve_counting(pipe, compression=None)


async def send_bare(url, path):
    """The same payload in the same messages, read in one go before: no decoding counts."""
    data = memoryview(path.read_bytes())[44:]
    async with connect(url, compression=None) as connection:
        for start in range(0, len(data), MESSAGE):
            await connection.send(data[start : start + MESSAGE])
        await connection.send("Done")
        await connection.recv()


async def serve_tutorial(pipe):
    """The tutorial's server: default settings, so messages are compressed."""
    await serve_counting(pipe)


async def send_tutorial(url, path):
    """The tutorial's client: blocks of 4096 frames as float32, compressed."""
    async with connect(url) as connection:
        for block in soundfile.blocks(path, BLOCK, dtype="float32"):
            await connection.send(block.tobytes())
        await connection.send("Done")
        await connection.recv()


CONTENDERS = {
    "sonoduct, store none": (serve_ours, send_ours),
    "bare library": (serve_bare, send_bare),
    "tutorial": (serve_tutorial, send_tutorial),
}


def run_server(serve_one, pipe):
    """What the server's process does until it is ended."""
    run_loop(serve_one(pipe))


def timed(name, path):
    """Seconds that *name* takes for *path*, without starting."""
    serve_one, send_one = CONTENDERS[name]
    here, there = multiprocessing.Pipe()
    process = multiprocessing.Process(target=run_server, args=(serve_one, there))
    process.start()
    try:
        url = here.recv()
        started = time.perf_counter()
        run_loop(send_one(url, path))
        return time.perf_counter() - started
    finally:
        process.terminate()
        process.join()


def main():
    """Run the rounds and print medians, spreads and ratios."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--seconds", type=int, default=120)
    chosen = parser.parse_args()
    times = {name: [] for name in CONTENDERS}
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "noise.wav"
        make_wav(path, chosen.seconds)
        for _ in range(chosen.rounds):
            for name, taken in times.items():
                taken.append(timed(name, path))
    report(times, chosen.seconds)


def report(times, seconds):
    """Print a row for each contender, relative to ours in the same round."""
    machine = {"python": platform.python_version(), "websockets": version("websockets")}
    print(f"{seconds} s of 16 bit stereo at 44.1 kHz; {json.dumps(machine)}")
    print(f"{'':22}{'median s':>10}{'min':>8}{'max':>8}{'x real time':>13}{'/ ours':>9}")
    ours = next(iter(times.values()))
    for name, taken in times.items():
        median = statistics.median(taken)
        ratio = statistics.median(b / a for a, b in zip(ours, taken, strict=True))
        figures = f"{median:10.3f}{min(taken):8.3f}{max(taken):8.3f}{seconds / median:13.0f}"
        print(f"{name:22}{figures}{ratio:9.2f}")


if __name__ == "__main__":
    multiprocessing.set_start_method("spawn")
    main()
