"""Connections share the places of a receiver; each test's clients have addresses of their own."""

import asyncio
import socket
import struct
from contextlib import AsyncExitStack, asynccontextmanager

import pytest
from websockets.asyncio.client import connect
from websockets.exceptions import InvalidStatus

from receiver.connections import session
from sonoduct import wire
from sonoduct.runtime.loop import run_loop
from tests.support.rawclient import LEAST, Client, outbound, running, sound
from tests.support.rawsocket import BINARY, HANDSHAKE, PING, frame, open_socket
from tests.support.waits import until

ANNA = "anna-0123456789abcdef"


@asynccontextmanager
async def speaking(url, address, token="", **hello):
    """Connect from *address*."""
    async with connect(
        url,
        subprotocols=[wire.SUBPROTOCOL],
        compression=None,
        local_addr=(address, 0),
        additional_headers={"Authorization": f"Bearer {token}"} if token else None,
    ) as connection:
        yield Client(connection, outbound(**hello))


def limits(most, of_address):
    """Return limits of a receiver with *most* places."""
    return {
        "max_connections": most,
        "address_connections": of_address,
        "memory_bytes": most * LEAST,
        "window_bytes": LEAST,
    }


def active(receiver):
    """Return the connections now."""
    return receiver.value("receiver_active_connections", dialect="sonoduct")


async def taken(stack, url, address, count):
    """Open *count* connections from *address*; return the status of the first that is refused."""
    clients = []
    for _ in range(count):
        try:
            client = await stack.enter_async_context(speaking(url, address))
        except InvalidStatus as exc:
            return clients, exc.response.status_code
        await client.greet()
        clients.append(client)
    return clients, None


async def test_an_address_leaves_places_to_the_others():
    """It is refused beyond its limit, and another address is not."""
    async with running(limits=limits(8, 2)) as receiver, AsyncExitStack() as stack:
        assert 503 == (await taken(stack, receiver.url, "127.0.0.9", 3))[1]
        clients, refused = await taken(stack, receiver.url, "127.0.0.2", 2)
        counted = receiver.value("receiver_refusals_total", reason="address")

    assert (2, None, 1) == (len(clients), refused, counted)


async def test_a_token_has_its_own_quota(tmp_path):
    """A place that was given back may be taken again."""
    tokens = tmp_path / "tokens.toml"
    tokens.write_text(f'[anna]\ntoken = "{ANNA}"\nconnections = 1\n')
    async with running(tokens=str(tokens), limits=limits(8, 1)) as receiver:
        for _ in range(3):
            async with speaking(receiver.url, "127.0.0.2", ANNA) as client:
                await client.greet()
                with pytest.raises(InvalidStatus):
                    async with speaking(receiver.url, "127.0.0.3", ANNA):
                        pass
            await until(lambda: not active(receiver))


async def test_idle_streams_give_way_to_a_newcomer(monkeypatch):
    """A stream of one frame that is held loses its place; its audio is kept, and it may resume."""
    monkeypatch.setattr(session, "SPARED_S", 0.05)
    async with running(limits=limits(4, 4)) as receiver, AsyncExitStack() as stack:
        held, refused = await taken(stack, receiver.url, "127.0.0.9", 4)
        await held[0].send(sound(1))
        await asyncio.sleep(0.1)
        async with speaking(receiver.url, "127.0.0.2") as newcomer:
            await newcomer.greet()
            await newcomer.send(sound(400))
            receipt = await newcomer.commit()
        ended = [each for each in held if each.connection.close_code is not None]
        code, reason = await held[0].closed() if held[0] in ended else (1013, "places are short")

    assert refused is None
    assert 400 == receipt.frames
    assert (1013, True) == (code, reason.startswith("places are short"))


async def test_live_streams_keep_their_places(monkeypatch):
    """A newcomer is refused if every stream is as fast as its sample rate."""
    monkeypatch.setattr(session, "SPARED_S", 0.05)
    async with running(limits=limits(2, 2)) as receiver, AsyncExitStack() as stack:
        live, _ = await taken(stack, receiver.url, "127.0.0.9", 2)
        for each in live:
            await each.send(sound(8000))
        await asyncio.sleep(0.1)
        with pytest.raises(InvalidStatus, match="503"):
            async with speaking(receiver.url, "127.0.0.2"):
                pass
        for each in live:
            await each.commit()


async def test_handshakes_that_never_come_are_counted():
    """Half-open connections of one address do not keep another one out."""
    async with running(limits=limits(200, 10)) as receiver:
        opened = [await asyncio.open_connection("127.0.0.1", receiver.port) for _ in range(50)]
        await until(lambda: receiver.value("receiver_refusals_total", reason="address") >= 40)
        async with speaking(receiver.url, "127.0.0.2") as client:
            await client.greet()
        for _, writer in opened:
            writer.close()


@pytest.mark.parametrize(
    "block",
    [frame(PING, b"?") * 500, frame(BINARY, bytes(4)) * 500],
    ids=["pings", "plain messages"],
)
async def test_a_flood_of_small_messages_is_closed(monkeypatch, block):
    """Beside another client, one that goes on without a pause gets 4429."""
    monkeypatch.setattr("receiver.connections.intake.PATIENCE_S", 0.3)
    monkeypatch.setattr("receiver.connections.server.CLOSE_TIMEOUT_S", 0.1)
    subprotocol = wire.SUBPROTOCOL if block[0] == PING else None
    async with running() as receiver, speaking(receiver.url, "127.0.0.2") as other:
        await other.greet()
        peer = await open_socket(receiver.port, subprotocol)
        stop = asyncio.Event()

        async def live():
            while not stop.is_set():
                await other.send(sound(10 * (other.outbound.position // 10 + 1)))
                await asyncio.sleep(0.05)

        async def flooding():
            loop = asyncio.get_running_loop()
            heard = asyncio.create_task(reading(peer))
            while not heard.done():
                try:
                    async with asyncio.timeout(0.05):
                        await loop.sock_sendall(peer, block)
                except (TimeoutError, OSError):
                    pass

        task = asyncio.create_task(live())
        async with asyncio.timeout(20):
            await flooding()
        stop.set()
        await task
        receipt = await other.commit()
        peer.close()
        closed = receiver.value("receiver_protocol_errors_total", code="4429")

    assert 1 == closed
    assert receipt.frames > 0


async def reading(peer):
    """Read until the connection ends."""
    try:
        while await asyncio.get_running_loop().sock_recv(peer, 65536):
            pass
    except OSError:
        pass


@pytest.mark.parametrize("reset", [False, True], ids=["closed", "reset"])
@pytest.mark.parametrize("run", [asyncio.run, run_loop], ids=["asyncio", "uvloop"])
def test_a_connection_that_is_gone_before_its_answer_keeps_no_place(run, reset, caplog):
    """Its client says what it wants and closes; with either loop its place is free again."""

    async def come_and_go():
        async with running(limits=limits(8, 4)) as receiver:
            for _ in range(50):
                with socket.create_connection(("127.0.0.1", receiver.port)) as peer:
                    if reset:
                        linger = struct.pack("ii", 1, 0)
                        peer.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, linger)
                    peer.sendall(HANDSHAKE.format(target="/").encode() + b"\r\n")
            async with speaking(receiver.url, "127.0.0.2") as client:  # behind all of them
                await client.greet()
            intake = receiver.inside._server._intake
            await until(lambda: not (intake.taken or intake.half))

    run(come_and_go())

    assert not [each for each in caplog.records if each.exc_info]
