"""soundfile alone: decoding a file and throwing the samples away."""

import time
from contextlib import contextmanager

import soundfile

from benchmarks.processes import Program, child

from . import Contender, require

BLOCK_FRAMES = 65536


def rest(pipe):
    """The other end does nothing."""
    pipe.send("")
    pipe.recv()


@contextmanager
def serve(_folder):
    """Decodes only, and sends to no server."""
    with child(rest) as running:
        yield Program(running.pid, running.hear())


def send(pipe, _url, sounds):
    """Decode to 16 bit, as our sender does."""
    (sound,) = sounds
    pipe.send("ready")
    pipe.recv()
    started = time.perf_counter()
    frames = 0
    with soundfile.SoundFile(sound.path) as file:
        while len(block := file.read(BLOCK_FRAMES, "int16")):
            frames += len(block)
    pipe.send({"seconds": time.perf_counter() - started, "frames": frames})
    pipe.recv()


def check(answer, sounds, _folder):
    """Every frame was decoded."""
    require("frames", answer["frames"], sounds[0].frames)


DECODER = Contender("soundfile alone", serve, send, check)
