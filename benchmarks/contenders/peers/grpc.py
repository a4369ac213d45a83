"""gRPC: one call with a stream of bytes, answered at its end."""

import time
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from functools import partial

from benchmarks.contenders import Contender
from benchmarks.processes import Program, child

from . import FILE, RUN_S, needs_package, sink

SERVICE, METHOD = "Audio", "Send"
OPTIONS = (("grpc.enable_http_proxy", 0),)


def receive(pipe, path):
    """A server with one method, whose messages are bytes."""
    grpc = needs_package("grpc")

    def take(messages, _context):
        taken = sink.Sink(path)
        for data in messages:
            taken.take(data)
        return str(taken.finish()).encode()

    server = grpc.server(ThreadPoolExecutor(1), options=OPTIONS)
    methods = {METHOD: grpc.stream_unary_rpc_method_handler(take)}
    server.add_generic_rpc_handlers([grpc.method_handlers_generic_handler(SERVICE, methods)])
    pipe.send(f"127.0.0.1:{server.add_insecure_port('127.0.0.1:0')}")
    server.start()
    pipe.recv()


@contextmanager
def serve(folder, *, kept):
    """A process of Python."""
    needs_package("grpc")
    with child(receive, folder / FILE if kept else None) as running:
        yield Program(running.pid, running.hear())


def send(pipe, address, sounds):
    """Messages of 256 KiB."""
    grpc = needs_package("grpc")
    pipe.send("ready")
    pipe.recv()
    started = time.perf_counter()
    with grpc.insecure_channel(address, options=OPTIONS) as channel:
        call = channel.stream_unary(f"/{SERVICE}/{METHOD}")
        counted = int(call(sink.pieces(sounds[0]), timeout=RUN_S))
        seconds = time.perf_counter() - started
    pipe.send({"seconds": seconds, "bytes": counted})
    pipe.recv()


GRPC = Contender("gRPC", partial(serve, kept=False), send, sink.check)
GRPC_SYNCED = Contender("gRPC into a synced file", partial(serve, kept=True), send, sink.check)
