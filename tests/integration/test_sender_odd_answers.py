"""Odd answers of proxies, gateways and bad receivers after a receiver has answered once."""

import asyncio
import socket
from contextlib import asynccontextmanager

import pytest
from websockets.asyncio.server import serve

from sender import NotAReceiverError, UnreachableError
from sender.errors import OddAnswerError
from sonoduct import wire
from tests.support.clients import connected
from tests.support.recorder import Recorder, listening
from tests.support.relay import Relay
from tests.support.sounds import same, samples, write
from tests.support.strangers import http_server, opened, tcp_server, url_of

CUT = 200_000
"""Bytes after which the first connection is lost."""


def http(status):
    """Return an answer of a gateway."""
    return f"HTTP/1.1 {status}\r\nContent-Length: 0\r\nConnection: close\r\n\r\n".encode()


ODD = {
    "301": http("301 Moved Permanently\r\nLocation: http://example.org/"),
    "302": http("302 Found\r\nLocation: ws://127.0.0.1:1/"),
    "401": http("401 Unauthorized"),
    "403": http("403 Forbidden"),
    "404": http("404 Not Found"),
    "408": http("408 Request Timeout"),
    "521": http("521 Web Server Is Down"),
    "530": http("530 "),
    "200": http("200 OK"),
    "mail": b"220 mail ESMTP\r\n",
    "nothing": b"",
}


@pytest.mark.parametrize("answer", ODD.values(), ids=ODD)
async def test_an_odd_answer_while_a_stream_is_resumed(tmp_path, answer):
    """The stream continues as soon as the receiver answers again."""
    path, recorder = write(tmp_path / "a.wav", 400_000), Recorder()
    async with (
        listening(recorder) as running,
        Relay(running.port, cuts=[CUT], answers=[None, answer]).listen() as proxy,
        connected(proxy.url) as client,
    ):
        await client.send(path)
    (take,) = recorder.finished

    assert 3 == proxy.accepted
    assert same(samples(path), take.samples)


async def test_an_odd_answer_to_the_next_stream(tmp_path):
    """If a receiver has answered before, an odd answer does not make the address wrong."""
    recorder = Recorder()
    async with (
        listening(recorder) as running,
        Relay(running.port, answers=[None, ODD["404"]]).listen() as proxy,
        connected(proxy.url) as client,
    ):
        await client.send(write(tmp_path / "a.wav"))
        await client.close()
        await client.send(write(tmp_path / "b.wav", 17_000))

    assert 2 == len(recorder.finished)


async def test_patience_ends_odd_answers(tmp_path):
    """When patience ends, the stream fails, and the error has the latest answer."""
    path, recorder = write(tmp_path / "a.wav", 400_000), Recorder()
    async with (
        listening(recorder) as running,
        Relay(running.port, cuts=[CUT], answers=[None, *[ODD["404"]] * 99]).listen() as proxy,
        connected(proxy.url, patience=0.5) as client,
    ):
        with pytest.raises(UnreachableError, match=r"no progress for .*; last: .*HTTP 404"):
            await client.send(path)


EVENT = wire.Event(processor="p", offset=0, values={})
FOREIGN = wire.Ack(epoch=9, durable=0, received=0, window=65536)
AGAIN = wire.Ack(epoch=1, durable=0, received=0, window=65536)
"""The stream's own ack, of nothing."""


@asynccontextmanager
async def saying(message):
    """Take every chunk, send *message* repeatedly, and acknowledge nothing."""

    async def serve_one(connection):
        await connection.recv()
        await connection.send(opened())
        while True:
            await connection.send(wire.encode_control(message))
            await asyncio.sleep(0.02)

    async with serve(
        serve_one, "127.0.0.1", 0, subprotocols=[wire.SUBPROTOCOL], compression=None
    ) as server:
        yield url_of(server)


@pytest.mark.parametrize("message", [EVENT, FOREIGN, AGAIN], ids=["event", "foreign", "again"])
async def test_only_acknowledgements_of_the_stream_count(tmp_path, message):
    """If a receiver sends messages but acknowledges nothing, patience ends the stream."""
    async with saying(message) as url, connected(url, patience=0.4) as client:
        async with asyncio.timeout(10):
            with pytest.raises(UnreachableError, match="no progress for"):
                await client.send(write(tmp_path / "a.wav", 100_000))


async def test_a_promise_of_endless_room_costs_no_memory(tmp_path):
    """However much a receiver offers, a chunk stays within the sender's own limit."""
    sizes = []

    async def serve_one(connection):
        await connection.recv()
        await connection.send(opened(window=2**60, max_chunk=2**45))
        while isinstance(message := await connection.recv(), bytes):
            sizes.append(len(message))
        await connection.close(4403)

    async with (
        serve(
            serve_one,
            "127.0.0.1",
            0,
            subprotocols=[wire.SUBPROTOCOL],
            compression=None,
            max_size=None,
        ) as server,
        connected(url_of(server)) as client,
    ):
        with pytest.raises(wire.Forbidden):
            await client.send(write(tmp_path / "a.wav", 10_000_000))

    assert 20_000_000 == sum(size - 32 for size in sizes)
    assert max(sizes) <= 16 * 1024 * 1024 + 32


def resolving(monkeypatch, *addresses):
    """Let every name resolve to *addresses*, in this order; each is a host and a port."""

    async def getaddrinfo(*_args, **_more):
        return [(socket.AF_INET, socket.SOCK_STREAM, 6, "", each) for each in addresses]

    monkeypatch.setattr(asyncio.get_running_loop(), "getaddrinfo", getaddrinfo)


@asynccontextmanager
async def silent():
    """Listen on an address that accepts no connection: its backlog is full."""
    with socket.socket() as server, socket.socket() as one, socket.socket() as two:
        server.bind(("127.0.0.2", 0))
        server.listen(0)
        for each in (one, two):
            each.setblocking(False)
            each.connect_ex(server.getsockname())
        yield server.getsockname()


@asynccontextmanager
async def mute():
    """Listen on an address that accepts connections and sends nothing."""
    writers = []
    server = await asyncio.start_server(lambda _, writer: writers.append(writer), "127.0.0.2", 0)
    async with server:
        yield server.sockets[0].getsockname()
    for each in writers:
        each.transport.abort()


@pytest.mark.parametrize("first", [silent, mute])
async def test_a_name_with_two_addresses(tmp_path, monkeypatch, first):
    """The sender tries the second address if the first is silent."""
    recorder = Recorder()
    async with listening(recorder) as running, first() as address:
        resolving(monkeypatch, address, ("127.0.0.1", running.port))
        async with connected("ws://twice.test:1", connect_timeout=1.5) as client:
            await client.send(write(tmp_path / "a.wav"))

    assert 1 == len(recorder.finished)


async def test_a_name_with_many_addresses(tmp_path, monkeypatch):
    """Each address gets enough time for its handshake."""
    recorder = Recorder()
    async with listening(recorder) as running:
        resolving(monkeypatch, *[("127.0.0.1", running.port)] * 500)
        async with connected("ws://many.test:1") as client:
            await client.send(write(tmp_path / "a.wav"))

    assert 1 == len(recorder.finished)


@pytest.mark.parametrize("host", ["a..b", "a" * 64])
async def test_an_impossible_name_is_a_wrong_address(tmp_path, host):
    """The error names the address, without a traceback."""
    async with connected(f"ws://{host}:1") as client:
        with pytest.raises(NotAReceiverError, match="no host name"):
            await client.send(write(tmp_path / "a.wav"))


async def test_tls_to_a_plain_port(tmp_path):
    """The error of TLS to a plain port has a reason."""
    for server in (lambda: http_server("400 Bad Request"), lambda: tcp_server(b"")):
        async with (
            server() as url,
            connected(url.replace("ws:", "wss:"), connect_timeout=0.3) as client,
        ):
            with pytest.raises(UnreachableError) as raised:
                await client.send(write(tmp_path / "a.wav"))

        assert str(raised.value).partition("last: ")[2].partition(": ")[2].strip()


async def test_a_wrong_address_fails_at_once(tmp_path):
    """Before any receiver has answered, HTTP 404 means that the address is wrong."""
    async with http_server("404 Not Found") as url, connected(url) as client:
        async with asyncio.timeout(5):
            with pytest.raises(OddAnswerError):
                await client.send(write(tmp_path / "a.wav"))
