"""Bytes on the wire, both ways, as a relay between the two ends counts them: wire-bytes."""

import socket
import threading
from contextlib import contextmanager
from dataclasses import replace
from functools import partial

from benchmarks.audio import noise
from benchmarks.contenders.ours import NONE
from benchmarks.contenders.tutorial import TUTORIAL
from benchmarks.processes import Program, child
from benchmarks.results import Case
from benchmarks.rounds import run, scratch

FIGURE = "% of float32"
FLOAT = "float32 as it is, without framing"
FLOAT_BYTES = 4
SECONDS = 20
"""Longer files have the same shares."""

GOALS = {16: 50.1, 24: 75.1}


def wire(_scale):
    """Noise of 16 and of 24 bits; only one round, since nothing varies."""
    case = Case("wire-bytes", f"{SECONDS} s WAVs of noise, stereo at 44.1 kHz; framing included")
    with scratch() as folder:
        for bits, most in GOALS.items():
            sound = noise(folder / f"{bits}.wav", SECONDS, sample_bytes=bits // 8)
            name = f"{FIGURE}, {bits} bit"
            plain = sound.frames * 2 * FLOAT_BYTES / 100
            for contender in (NONE, TUTORIAL):
                case.add(contender.name, **{name: _counted(contender, sound) / plain})
            case.add(FLOAT, **{name: 100.0})
            case.goal(f"{bits} bit: {FIGURE}", case.median(NONE.name, name), most=most)
    return case


def _counted(contender, sound):
    counts = []
    run(replace(contender, serve=partial(_relayed, contender.serve, counts)), [sound])
    return sum(counts)


@contextmanager
def _relayed(serve, counts, folder):
    with serve(folder) as server, child(_relay, server.url) as relay:
        yield Program(server.pid, relay.hear())
        relay.tell()
        counts.extend(relay.hear())


def _relay(pipe, url):
    host, _, port = url.removeprefix("ws://").rpartition(":")
    counts = [0, 0]

    def pump(source, target, direction):
        while data := source.recv(1 << 18):
            counts[direction] += len(data)
            target.sendall(data)
        target.shutdown(socket.SHUT_WR)

    with socket.create_server(("127.0.0.1", 0)) as listening:
        pipe.send(f"ws://127.0.0.1:{listening.getsockname()[1]}")
        near, _ = listening.accept()
        far = socket.create_connection((host, int(port)))
        pumps = [
            threading.Thread(target=pump, args=each) for each in ((near, far, 0), (far, near, 1))
        ]
        for each in pumps:
            each.start()
        for each in pumps:
            each.join()
    pipe.recv()
    pipe.send(counts)
    pipe.recv()
