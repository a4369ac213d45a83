"""picows: a WebSocket library in Cython, on uvloop."""

import asyncio
import time
from contextlib import contextmanager
from functools import partial

import uvloop

from benchmarks.contenders import Contender
from benchmarks.processes import Program, child

from . import FILE, RUN_S, needs_package, sink


def receive(pipe, path):
    """A server that takes binary messages, and answers the text that ends them."""
    picows = needs_package("picows")

    class Taking(picows.WSListener):
        def on_ws_connected(self, _transport):
            self.taken = sink.Sink(path)

        def on_ws_frame(self, transport, frame):
            if frame.msg_type == picows.WSMsgType.BINARY:
                self.taken.take(frame.get_payload_as_memoryview())
            elif frame.msg_type == picows.WSMsgType.TEXT:
                answer = str(self.taken.finish()).encode()
                transport.send(picows.WSMsgType.TEXT, answer)

    async def run():
        server = await picows.ws_create_server(lambda _: Taking(), "127.0.0.1", 0)
        pipe.send(f"ws://127.0.0.1:{server.sockets[0].getsockname()[1]}/")
        await asyncio.Event().wait()

    uvloop.run(run())


@contextmanager
def serve(folder, *, kept):
    """A process of Python."""
    needs_package("picows")
    with child(receive, folder / FILE if kept else None) as running:
        yield Program(running.pid, running.hear())


def send(pipe, url, sounds):
    """Messages of 256 KiB, while the transport takes more."""
    picows = needs_package("picows")

    class Sending(picows.WSListener):
        def __init__(self):
            super().__init__()
            self.answer = asyncio.get_running_loop().create_future()
            self.free = asyncio.Event()
            self.free.set()

        def on_ws_frame(self, _transport, frame):
            if not self.answer.done():
                self.answer.set_result(int(frame.get_payload_as_bytes()))

        def on_ws_disconnected(self, _transport):
            if not self.answer.done():
                self.answer.set_exception(ConnectionError("cut off"))

        def pause_writing(self):
            self.free.clear()

        def resume_writing(self):
            self.free.set()

    async def run():
        started = time.perf_counter()
        transport, listener = await picows.ws_connect(Sending, url, proxy=None)
        for data in sink.pieces(sounds[0]):
            transport.send(picows.WSMsgType.BINARY, data)
            await listener.free.wait()
        transport.send(picows.WSMsgType.TEXT, b"end")
        counted = await asyncio.wait_for(listener.answer, RUN_S)
        return time.perf_counter() - started, counted

    pipe.send("ready")
    pipe.recv()
    seconds, counted = uvloop.run(run())
    pipe.send({"seconds": seconds, "bytes": counted})
    pipe.recv()


PICOWS = Contender("picows", partial(serve, kept=False), send, sink.check)
PICOWS_SYNCED = Contender("picows into a synced file", partial(serve, kept=True), send, sink.check)
