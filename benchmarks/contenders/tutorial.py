"""The tutorial's programs, unchanged: tests/seed. The library compresses by default."""

import asyncio
import contextlib
import importlib.util
import io
import sys
import time
from contextlib import contextmanager
from pathlib import Path

from benchmarks.processes import free_port, program

from . import Contender, require

SEED = Path(__file__).parents[2] / "tests" / "seed"
BLOCK_FRAMES = 4096


@contextmanager
def serve(_folder):
    """Its server, without its output."""
    port = free_port()
    with program(sys.executable, str(SEED / "server.py"), str(port), port=port) as running:
        yield running


def send(pipe, url, sounds):
    """Its client, once for each file, inside one process; it stays for the server's answer."""
    spec = importlib.util.spec_from_file_location("seed_client", SEED / "client.py")
    client = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(client)
    pipe.send("ready")
    pipe.recv()
    printed = io.StringIO()
    with contextlib.redirect_stdout(printed):
        started = time.perf_counter()
        for sound in sounds:
            asyncio.run(client.stream(str(sound.path), url, listen=True))
        seconds = time.perf_counter() - started
    pipe.send({"seconds": seconds, "printed": printed.getvalue().splitlines()})
    pipe.recv()


def check(answer, sounds, _folder):
    """All that the tutorial can tell: how many blocks went out, and that the server saw the end."""
    expected = []
    for sound in sounds:
        expected += [f"sent {-(-sound.frames // BLOCK_FRAMES)} blocks", "Done!"]
    require("printed", answer["printed"], expected)


TUTORIAL = Contender("tutorial", serve, send, check)
