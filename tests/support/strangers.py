"""Servers that are not a receiver, or a receiver that breaks the protocol."""

import asyncio
import json
from contextlib import asynccontextmanager

from websockets.asyncio.server import serve

from sonoduct import wire


def url_of(server):
    """Return the address of *server*."""
    return f"ws://127.0.0.1:{next(iter(server.sockets)).getsockname()[1]}"


@asynccontextmanager
async def tcp_server(answer):
    """Answer the first bytes of each connection with the bytes *answer*, and close it."""

    async def serve_one(reader, writer):
        await reader.read(65536)
        writer.write(answer)
        await writer.drain()
        writer.close()

    server = await asyncio.start_server(serve_one, "127.0.0.1", 0)
    async with server:
        yield url_of(server)


def http_server(status):
    """Answer every request with *status*."""
    answer = f"HTTP/1.1 {status}\r\nContent-Length: 3\r\nConnection: close\r\n\r\nhi\n"
    return tcp_server(answer.encode())


@asynccontextmanager
async def plain_server(*answers):
    """
    Speak the tutorial's dialect, and answer ``Done`` with *answers*.

    An answer is a text or a number (a close code). After None, the server says nothing more.
    """

    async def serve_one(connection):
        async for message in connection:
            if message == "Done":
                break
        for answer in answers:
            if isinstance(answer, int):
                await connection.close(answer, "because")
            elif answer is None:
                await connection.wait_closed()
            else:
                await connection.send(answer)

    async with serve(serve_one, "127.0.0.1", 0) as server:
        yield url_of(server)


@asynccontextmanager
async def odd_receiver(*answers):
    """
    Offer our subprotocol, and answer the hello with *answers*.

    An answer is a control message, a text, bytes, or a number (a close code).
    """

    async def serve_one(connection):
        await connection.recv()
        for answer in answers:
            if isinstance(answer, int):
                return await connection.close(answer, "because")
            control = not isinstance(answer, str | bytes)
            await connection.send(wire.encode_control(answer) if control else answer)
        return await connection.wait_closed()

    async with serve(
        serve_one, "127.0.0.1", 0, subprotocols=[wire.SUBPROTOCOL], compression=None
    ) as server:
        yield url_of(server)


def opened(**changed):
    """Return a usual answer to hello, as text, with *changed* fields."""
    usual = {"type": "opened", "epoch": 1, "offset": 0, "window": 65536, "max_chunk": 16384}
    return json.dumps({**usual, "ack": "received", **changed})


@asynccontextmanager
async def finishing(*ends):
    """Take one stream on each connection until its eos; answer the eos with the next of *ends*."""
    left = list(ends)

    async def serve_one(connection):
        end = left.pop(0)
        await connection.recv()
        if isinstance(end, wire.Opened):
            return await connection.send(wire.encode_control(end))
        await connection.send(opened())
        while isinstance(await connection.recv(), bytes):
            pass
        if isinstance(end, int):
            return await connection.close(end)
        await connection.send(wire.encode_control(end))
        return await connection.wait_closed()

    async with serve(
        serve_one, "127.0.0.1", 0, subprotocols=[wire.SUBPROTOCOL], compression=None
    ) as server:
        yield url_of(server)
