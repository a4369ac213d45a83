"""TCP: a socket that counts, or writes a file, and what ffmpeg sends to one."""

import json
import os
import resource
import shutil
import socket
import subprocess
import time
from contextlib import contextmanager, nullcontext
from functools import partial

import soundfile
import xxhash

from benchmarks.processes import Program, child

from . import AbsentError, Contender, require

BUFFER_BYTES = 1024 * 1024
BYTES = {"s16le": 2, "f32le": 4}
"""Of a sample, for each of ffmpeg's forms."""
BLOCK_FRAMES = 1 << 20
WAV_HEADER_BYTES = 44
FILE = "received"


def count(pipe, path=None):
    """
    Count the bytes of each connection until its end, and answer with the number.

    If there is a *path*, write them to this file, and sync it before the answer.
    A connection that sends nothing gets the previous connection's answer: some programs only send.
    """
    buffer, told = bytearray(BUFFER_BYTES), b""
    with socket.create_server(("127.0.0.1", 0)) as listening:
        pipe.send(f"tcp://127.0.0.1:{listening.getsockname()[1]}")
        while True:
            connection, _ = listening.accept()
            with connection:
                started = time.perf_counter()
                if total := _taken(connection, buffer, path):
                    seconds = time.perf_counter() - started
                    told = json.dumps({"seconds": seconds, "bytes": total}).encode()
                try:
                    connection.sendall(told)
                except OSError:
                    continue


def _taken(connection, buffer, path):
    total, view = 0, memoryview(buffer)
    with path.open("ab", buffering=0) if path else nullcontext() as file:
        while size := connection.recv_into(buffer):
            total += size
            if file:
                file.write(view[:size])
        if file and total:
            os.fdatasync(file.fileno())
    return total


@contextmanager
def serve(_folder):
    """A socket that counts."""
    with child(count) as running:
        yield Program(running.pid, running.hear())


@contextmanager
def serve_synced(folder):
    """A socket whose bytes go into a file."""
    with child(count, folder / FILE) as running:
        yield Program(running.pid, running.hear())


def send(pipe, url, sounds):
    """The bytes, as fast as the system takes them, until the other end has counted them."""
    (sound,) = sounds
    data = sound.path.read_bytes()[WAV_HEADER_BYTES:]
    pipe.send("ready")
    pipe.recv()
    started = time.perf_counter()
    with socket.create_connection(_address(url)) as connection:
        connection.sendall(data)
        counted = _answer(connection)["bytes"]
    pipe.send({"seconds": time.perf_counter() - started, "bytes": counted})
    pipe.recv()


def send_ffmpeg(pipe, url, sounds, form="f32le"):
    """`ffmpeg -i FILE -f f32le tcp://…`, timed by the socket: ffmpeg's start does not count."""
    (sound,) = sounds
    program = find_ffmpeg()
    pipe.send("ready")
    pipe.recv()
    command = [program, "-nostdin", "-v", "error", "-i", str(sound.path), "-f", form, url]
    subprocess.run(command, check=True)  # noqa: S603  # what is compared
    spent = resource.getrusage(resource.RUSAGE_CHILDREN)
    with socket.create_connection(_address(url)) as connection:
        answer = _answer(connection)
    cost = {"cpu_seconds": spent.ru_utime + spent.ru_stime, "peak_mib": spent.ru_maxrss / 1024}
    pipe.send(answer | cost)
    pipe.recv()


def find_ffmpeg():
    """
    Return the ffmpeg of this machine, or the one that a package brings.

    Raises:
        AbsentError: if this machine has no ffmpeg.
    """
    if found := os.environ.get("FFMPEG") or shutil.which("ffmpeg"):
        return found
    try:
        from imageio_ffmpeg import get_ffmpeg_exe

        return get_ffmpeg_exe()
    except (ImportError, RuntimeError) as exc:
        raise AbsentError(f"no ffmpeg: {exc}") from exc


def _address(url):
    host, _, port = url.removeprefix("tcp://").rpartition(":")
    return host, int(port)


def _answer(connection):
    connection.shutdown(socket.SHUT_WR)
    return json.loads(b"".join(iter(lambda: connection.recv(4096), b"")))


def check(answer, sounds, _folder):
    """Every byte was counted."""
    require("bytes", answer["bytes"], sounds[0].payload_bytes)


def check_ffmpeg(answer, sounds, folder, form="f32le"):
    """Every sample was counted, and is in the file, if there is one."""
    (sound,) = sounds
    require("bytes", answer["bytes"], sound.payload_bytes // 2 * BYTES[form])
    if (folder / FILE).exists():
        digest, frames = xxhash.xxh3_128(), 0
        raw = {"s16le": "PCM_16", "f32le": "FLOAT"}[form]
        how = {"samplerate": 44_100, "channels": 2, "subtype": raw, "format": "RAW"}
        with soundfile.SoundFile(folder / FILE, **how) as file:
            for block in file.blocks(BLOCK_FRAMES, dtype="float32"):
                digest.update((block * 32768).astype("<i2").tobytes())
                frames += len(block)
        require("frames", frames, sound.frames)
        require("digest", digest.hexdigest(), sound.digest)


RAW = Contender("raw TCP", serve, send, check)
FFMPEG = Contender("ffmpeg over TCP", serve, send_ffmpeg, check_ffmpeg)
FFMPEG_SYNCED = Contender("ffmpeg into a synced file", serve_synced, send_ffmpeg, check_ffmpeg)

_SIXTEEN = (
    partial(send_ffmpeg, form="s16le"),
    partial(check_ffmpeg, form="s16le"),
)
FFMPEG_16 = Contender("ffmpeg over TCP, 16 bit", serve, *_SIXTEEN)
FFMPEG_16_SYNCED = Contender("ffmpeg into a synced file, 16 bit", serve_synced, *_SIXTEEN)
