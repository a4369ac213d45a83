"""TCP: a socket that counts, with nothing around it, and what ffmpeg sends to one."""

import json
import os
import resource
import shutil
import socket
import subprocess
import time
from contextlib import contextmanager

from benchmarks.processes import Program, child

from . import AbsentError, Contender, require

BUFFER_BYTES = 1024 * 1024
FLOAT_BYTES = 4
WAV_HEADER_BYTES = 44


def count(pipe):
    """
    Count the bytes of each connection until its end, and answer with the number.

    A connection that sends nothing gets the previous connection's answer: some programs only send.
    """
    buffer, told = bytearray(BUFFER_BYTES), b""
    with socket.create_server(("127.0.0.1", 0)) as listening:
        pipe.send(f"tcp://127.0.0.1:{listening.getsockname()[1]}")
        while True:
            connection, _ = listening.accept()
            with connection:
                started, total = time.perf_counter(), 0
                while size := connection.recv_into(buffer):
                    total += size
                if total:
                    seconds = time.perf_counter() - started
                    told = json.dumps({"seconds": seconds, "bytes": total}).encode()
                try:
                    connection.sendall(told)
                except OSError:
                    continue


@contextmanager
def serve(_folder):
    """A socket that counts."""
    with child(count) as running:
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


def send_ffmpeg(pipe, url, sounds):
    """`ffmpeg -i FILE -f f32le tcp://…`, timed by the socket: ffmpeg's start does not count."""
    (sound,) = sounds
    program = find_ffmpeg()
    pipe.send("ready")
    pipe.recv()
    command = [program, "-nostdin", "-v", "error", "-i", str(sound.path), "-f", "f32le", url]
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


def check_ffmpeg(answer, sounds, _folder):
    """Every sample was counted, as a float."""
    expected = sounds[0].payload_bytes // 2 * FLOAT_BYTES
    require("bytes", answer["bytes"], expected)


RAW = Contender("raw TCP", serve, send, check)
FFMPEG = Contender("ffmpeg over TCP", serve, send_ffmpeg, check_ffmpeg)
