"""A TCP switch: what a load balancer is to senders, with a view of what passes."""

import asyncio
import json
from contextlib import asynccontextmanager, suppress

PIECE = 64 * 1024


class Wire:
    """One connection through the switch: the sender's end, and the receiver's."""

    def __init__(self, receiver, near, far):
        self.receiver = receiver
        """Whom the switch chose."""
        self.near = near
        self.far = far
        self.orphaned = False
        """Whether the sender's end was cut, and the receiver's is kept."""
        self.heard = bytearray()
        """All that the receiver has said, the header bytes of WebSocket between its messages."""

    @property
    def claims(self):
        """For each stream in turn: what opened it, and the messages that followed."""
        claims = []
        for message in _messages(self.heard):
            if message["type"] == "opened":
                claims.append([])
            if claims:
                claims[-1].append(message)
        return claims

    @property
    def failed(self):
        """The code of the error that the receiver ended with; 0 if there was none."""
        return max((each.get("code", 0) for each in _messages(self.heard)), default=0)

    def close(self):
        """End the connection at both ends."""
        for _, writer in (self.near, self.far):
            writer.transport.abort()


class Switch:
    """Connects senders with the receiver that *choose* returns; None refuses them."""

    def __init__(self, choose, *, listens=False):
        """Keep what receivers say if the switch *listens*."""
        self.url = ""
        self.wires = []
        """The connections that are open, the newest last."""
        self._choose = choose
        self._listens = listens
        self._tasks = set()

    @asynccontextmanager
    async def listen(self):
        """Accept connections while the context is open."""
        server = await asyncio.start_server(self._accept, "127.0.0.1", 0)
        self.url = f"ws://127.0.0.1:{server.sockets[0].getsockname()[1]}"
        try:
            yield self
        finally:
            server.close()
            for task in self._tasks:
                task.cancel()
            await asyncio.gather(*self._tasks, return_exceptions=True)

    def orphan(self, receiver):
        """Cut senders off from *receiver*, which does not notice; return the connections."""
        found = self.carrying(receiver)
        for each in found:
            each.orphaned = True
            each.near[1].transport.abort()
        return found

    def carrying(self, receiver):
        """The connections between senders and *receiver*, the newest last."""
        return [each for each in self.wires if each.receiver is receiver and not each.orphaned]

    def _accept(self, reader, writer):
        task = asyncio.create_task(self._serve(reader, writer))
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def _serve(self, *near):
        receiver, far = self._choose(), None
        try:
            if receiver is None:
                return
            far = await asyncio.open_connection("127.0.0.1", receiver.port)
            wire = Wire(receiver, near, far)
            self.wires.append(wire)
            try:
                await self._join(wire)
            finally:
                self.wires.remove(wire)
        except OSError:
            pass  # nobody listens there, or not any more
        finally:
            for _, writer in filter(None, (near, far)):
                writer.transport.abort()

    async def _join(self, wire):
        up = asyncio.create_task(_pass(wire.near[0], wire.far[1]))
        down = asyncio.create_task(self._down(wire))
        try:
            await asyncio.wait({up, down}, return_when=asyncio.FIRST_COMPLETED)
            if wire.orphaned:
                await down
        finally:
            up.cancel()
            down.cancel()
            await asyncio.gather(up, down, return_exceptions=True)

    async def _down(self, wire):
        with suppress(OSError):
            while data := await wire.far[0].read(PIECE):
                if self._listens:
                    wire.heard += data
                if not wire.orphaned:
                    wire.near[1].write(data)
                    await wire.near[1].drain()


async def _pass(reader, writer):
    with suppress(OSError):
        while data := await reader.read(PIECE):
            writer.write(data)
            await writer.drain()


def _messages(heard):
    """The JSON objects in *heard*; between them is what is no JSON, so their ends show."""
    decoder, text, at = json.JSONDecoder(), heard.decode("latin-1"), 0
    while (at := text.find('{"type"', at)) >= 0:
        try:
            found, end = decoder.raw_decode(text, at)
        except ValueError:
            return  # the rest has not come yet
        yield found
        at = end
