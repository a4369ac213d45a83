"""
WhisperLive's way of receiving, without its model.

Its server has a thread for each connection, and joins each block of 4096 frames to an array of the
last 45 s. Its client sends float32 without compression.
"""

import threading
import time
from contextlib import contextmanager

import numpy as np
import soundfile
from websockets.sync.client import connect
from websockets.sync.server import serve as listen

from benchmarks.contenders import Contender, require
from benchmarks.processes import Program, child

RATE = 16_000
MOST_S, DROPPED_S = 45, 30
BLOCK_FRAMES = 4096
END = b"END_OF_AUDIO"


def receive(pipe):
    """Answer with the number of samples."""

    def each(connection):
        frames, total, lock = np.zeros(0, np.float32), 0, threading.Lock()
        while (block := connection.recv()) != END:
            samples = np.frombuffer(block, np.float32)
            with lock:
                if len(frames) > MOST_S * RATE:
                    frames = frames[DROPPED_S * RATE :]
                frames = np.concatenate((frames, samples))
            total += len(samples)
        connection.send(str(total))

    with listen(each, "127.0.0.1", 0) as server:
        pipe.send(f"ws://127.0.0.1:{server.socket.getsockname()[1]}")
        server.serve_forever()


@contextmanager
def serve(_folder):
    """A process of Python."""
    with child(receive) as running:
        yield Program(running.pid, running.hear())


def send(pipe, url, sounds):
    """Read, convert, send."""
    pipe.send("ready")
    pipe.recv()
    started = time.perf_counter()
    with connect(url, compression=None, proxy=None) as connection:
        for block in soundfile.blocks(sounds[0].path, BLOCK_FRAMES, dtype="int16"):
            connection.send((block.astype(np.float32) / 32768).tobytes())
        connection.send(END)
        counted = int(connection.recv())
        seconds = time.perf_counter() - started
    pipe.send({"seconds": seconds, "samples": counted})
    pipe.recv()


def check(answer, sounds, _folder):
    """Every sample was counted."""
    require("samples", answer["samples"], sounds[0].payload_bytes // 2)


WHISPERLIVE = Contender("WhisperLive's way of receiving", serve, send, check)
