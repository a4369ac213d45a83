"""What the work itself takes, with nothing of ours around it: how fast this machine could be."""

import os
import threading
import time
from contextlib import contextmanager
from functools import partial

import soundfile
import xxhash
from zlib_ng.zlib_ng import crc32

from benchmarks.processes import Program, child
from receiver.processing.processor import StreamInfo
from receiver.processors.levels import Levels
from sonoduct.audio.samples import to_float32
from sonoduct.wire import Encoding

from . import Contender, bare
from .decoder import rest

STEP_BYTES = 1024 * 1024
"""What is made durable at once, as our windows' steps are."""

RECORD_BYTES = 300
"""Of the record that a journal's file begins with."""

THREADS = 4


def working():
    """What a receiver does with each message: checksum, digest, float32, levels."""
    digest, levels, channels = xxhash.xxh3_128(), Levels(), 2
    levels.open(StreamInfo("", "", 44_100, channels))

    def take(message):
        crc32(message)
        digest.update(message)
        levels.process(to_float32(message, Encoding.S16LE, channels), 0)
        return len(message)

    return take


def decoded(sound):
    """What a sender does for each message: decoding, checksum, digest."""
    digest = xxhash.xxh3_128()
    with soundfile.SoundFile(sound.path) as file:
        while len(block := file.read(bare.MESSAGE_BYTES // 4, "int16")):
            message = block.tobytes()
            crc32(message)
            digest.update(message)
            yield message


@contextmanager
def serve_working(_folder):
    """A server that counts, and works."""
    with child(bare.count, working) as running:
        yield Program(running.pid, running.hear())


@contextmanager
def serve_folder(folder):
    """Writes to the disk only."""
    with child(rest) as running:
        running.hear()
        yield Program(running.pid, str(folder))


def write(pipe, folder, sounds):
    """Write the payload, and make it durable step by step."""
    (sound,) = sounds
    data = memoryview(sound.path.read_bytes())[bare.WAV_HEADER_BYTES :]
    pipe.send("ready")
    pipe.recv()
    started = time.perf_counter()
    file = os.open(f"{folder}/payload", os.O_WRONLY | os.O_CREAT | os.O_APPEND)
    for start in range(0, len(data), STEP_BYTES):
        os.write(file, data[start : start + STEP_BYTES])
        os.fdatasync(file)
    seconds = time.perf_counter() - started
    pipe.send({"seconds": seconds, "bytes": os.fstat(file).st_size})
    pipe.recv()


def write_many(pipe, folder, sounds):
    """What a journal asks of the disk for each file, from several threads."""
    payloads = [sound.path.read_bytes()[bare.WAV_HEADER_BYTES :] for sound in sounds]
    turns = iter(list(enumerate(payloads)))
    pipe.send("ready")
    pipe.recv()
    started = time.perf_counter()
    threads = [threading.Thread(target=_keep_each, args=(folder, turns)) for _ in range(THREADS)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    pipe.send({"seconds": time.perf_counter() - started})
    pipe.recv()


def _keep_each(folder, turns):
    for number, data in turns:
        _keep(f"{folder}/{number:04}", data)


def _keep(folder, data):
    os.mkdir(folder)  # noqa: PTH102  # no Path: its time would count
    file = os.open(f"{folder}/1", os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_APPEND)
    os.write(file, bytes(RECORD_BYTES))
    os.fdatasync(file)
    for each in (folder, f"{folder}/.."):
        above = os.open(each, os.O_RDONLY)
        os.fsync(above)
        os.close(above)
    os.write(file, data)
    os.fdatasync(file)
    os.close(file)


def unchecked(_answer, _sounds, _folder):
    """There is no audio to be right or wrong."""


WORK = Contender(
    "bare library, and the work",
    serve_working,
    partial(bare.send, messages=decoded),
    bare.check,
)
DISK = Contender("the disk alone", serve_folder, write, bare.check)
DISK_MANY = Contender("the disk alone", serve_folder, write_many, unchecked)
