"""ZeroMQ: PUSH to PULL; the end is an empty message, and its answer comes the same way back."""

import time
from contextlib import contextmanager
from functools import partial

from benchmarks.contenders import Contender
from benchmarks.processes import Program, child

from . import FILE, RUN_S, needs_package, sink

ANYWHERE = "tcp://127.0.0.1"


def receive(pipe, path):
    """One stream after another."""
    zmq = needs_package("zmq")
    context = zmq.Context()
    pull, push = context.socket(zmq.PULL), context.socket(zmq.PUSH)
    ports = [each.bind_to_random_port(ANYWHERE) for each in (pull, push)]
    pipe.send(ports)
    taken = sink.Sink(path)
    while data := pull.recv(copy=False).buffer:
        taken.take(data)
    push.send(str(taken.finish()).encode())
    pipe.recv()


@contextmanager
def serve(folder, *, kept):
    """A process of Python."""
    needs_package("zmq")
    with child(receive, folder / FILE if kept else None) as running:
        yield Program(running.pid, running.hear())


def send(pipe, ports, sounds):
    """Messages of 256 KiB; the library copies none of them, and keeps 1000 at most."""
    zmq = needs_package("zmq")
    context = zmq.Context()
    push, pull = context.socket(zmq.PUSH), context.socket(zmq.PULL)
    pull.rcvtimeo = push.sndtimeo = RUN_S * 1000
    pipe.send("ready")
    pipe.recv()
    started = time.perf_counter()
    for socket, port in zip((push, pull), ports, strict=True):
        socket.connect(f"{ANYWHERE}:{port}")
    for data in sink.pieces(sounds[0]):
        push.send(data, copy=False)
    push.send(b"")
    counted = int(pull.recv())
    pipe.send({"seconds": time.perf_counter() - started, "bytes": counted})
    pipe.recv()


ZEROMQ = Contender("ZeroMQ", partial(serve, kept=False), send, sink.check)
ZEROMQ_SYNCED = Contender("ZeroMQ into a synced file", partial(serve, kept=True), send, sink.check)
