"""Each fault has one line in the log, with the peer's address and the reason."""

import asyncio
import sys

from structlog.testing import capture_logs
from websockets.asyncio.client import connect

from receiver.stores.journal import PosixDisk
from sonoduct import wire
from tests.support.clients import connected
from tests.support.commands import started
from tests.support.rawclient import running, sound, speaking
from tests.support.recorder import Recorder, listening
from tests.support.relay import Relay
from tests.support.sounds import write
from tests.support.waits import until

ROOM = {"reserve_bytes": 0}


def lines(logs, event):
    """Return the log lines of *event*."""
    return [line for line in logs if line["event"] == event]


async def test_a_client_that_breaks_the_protocol():
    """The line has the client's address, the stream, the close code and the reason."""
    with capture_logs() as logs:
        async with running() as receiver, speaking(receiver.url) as client:
            await client.greet()
            await client.send(sound(100))
            await client.chunk(sound(10), offset=500)
            await client.closed()
            host, port = client.connection.local_address
            stream = client.outbound.hello.stream

    (line,) = lines(logs, "connection_closed")
    assert (f"{host}:{port}", stream, 4416) == (line["peer"], line["stream"], line["code"])
    assert "500, expected 100" in line["reason"]
    assert ("sonoduct", "warning") == (line["dialect"], line["log_level"])


async def test_a_flood_of_bad_clients():
    """The log has few of many equal lines, so that it does not fill a disk."""
    with capture_logs() as logs:
        async with running() as receiver:
            for _ in range(60):
                async with connect(f"ws://127.0.0.1:{receiver.port}/?samplerate=no") as client:
                    await client.wait_closed()

    assert 20 <= len(lines(logs, "connection_closed")) < 40


async def test_a_receiver_without_room_for_connections():
    """A refused connection has a line."""
    with capture_logs() as logs:
        limits = {"max_connections": 1, "memory_bytes": 65536, "window_bytes": 65536}
        async with running(limits=limits) as receiver, speaking(receiver.url) as one:
            await one.greet()
            reader, writer = await asyncio.open_connection("127.0.0.1", receiver.port)
            writer.write(
                b"GET / HTTP/1.1\r\nHost: [::1]\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
                b"Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Version: 13\r\n\r\n"
            )
            await reader.read()
            writer.close()

    (line,) = lines(logs, "connection_refused")
    assert line["peer"].startswith("127.0.0.1:")
    assert "1 connections" in line["reason"]


async def test_a_file_that_cannot_be_decoded(tmp_path):
    """The line has the reason that the sender gets."""
    with capture_logs() as logs:
        async with running(store=str(tmp_path / "store"), limits=ROOM) as receiver:
            async with speaking(receiver.url, kind=wire.Kind.FILE, format_=None) as client:
                await client.greet()
                await client.send(b"no audio at all" * 100)
                await client.say(client.outbound.eos())
                code, _ = await client.closed()

    (line,) = lines(logs, "connection_closed")
    assert 4500 == code == line["code"]
    assert "file cannot be decoded" in line["reason"]


async def test_a_store_without_room(tmp_path, monkeypatch):
    """The log has one line when the store fills, and one when it has room again."""
    room = PosixDisk().free(tmp_path)
    with capture_logs() as logs:
        async with running(store=str(tmp_path), limits=ROOM) as receiver:
            for free, event in ((0, "store_full"), (room, "store_has_room")):
                monkeypatch.setattr(PosixDisk, "free", lambda *_, free=free: free)
                await until(lambda event=event: lines(logs, event))

    assert receiver.port
    assert 1 == len(lines(logs, "store_full")) == len(lines(logs, "store_has_room"))


async def test_a_sender_that_resumes(tmp_path):
    """Each retry has a line, and the success after it has one; all have the stream's id."""
    recorder = Recorder()
    with capture_logs() as logs:
        async with (
            listening(recorder) as receiver,
            Relay(receiver.port, cuts=[200_000]).listen() as proxy,
            connected(proxy.url) as client,
        ):
            receipt = await client.send(write(tmp_path / "a.wav", 400_000))

    (retry,), (resumed,) = lines(logs, "retrying"), lines(logs, "resumed")
    assert receipt.stream == retry["stream"] == resumed["stream"]
    assert str(tmp_path / "a.wav") == retry["name"] == resumed["name"]


async def test_debug_logs_connections_and_claims_of_the_sender(tmp_path):
    """Each connection has two lines, and each claim of a stream has one."""
    recorder = Recorder()
    with capture_logs() as logs:
        async with (
            listening(recorder) as receiver,
            Relay(receiver.port, cuts=[200_000]).listen() as proxy,
            connected(proxy.url) as client,
        ):
            receipt = await client.send(write(tmp_path / "a.wav", 400_000))

    assert [proxy.url, proxy.url] == [line["to"] for line in lines(logs, "connected")]
    lost, done = lines(logs, "disconnected")
    assert (1006, "connection closed with 1006") == (lost["code"], lost["why"])
    assert (1000, "done") == (done["code"], done["why"])
    first, second = lines(logs, "claim_accepted")
    assert receipt.stream == first["stream"] == second["stream"]
    assert (1, 0, 2) == (first["epoch"], first["offset"], second["epoch"])
    assert second["offset"] == lines(logs, "resumed")[0]["offset"]
    debug = [line for line in logs if line["log_level"] == "debug" and "to" in line]
    assert 4 == len(debug), "nothing for each chunk"


async def test_debug_logs_connections_and_claims():
    """Each start and each end of a connection has a line, and so has a fenced holder."""
    with capture_logs() as logs:
        async with running() as receiver, speaking(receiver.url, stream="ab" * 16) as first:
            await first.greet()
            async with speaking(receiver.url, stream="ab" * 16) as second:
                await second.greet()
                await first.closed()
                sessions = receiver.inside._server._sessions
                (session,) = (each for each in sessions if not each._stopped)
                shown = repr(session), repr(session._lease.stream)
        await receiver.until("receiver_connections_total", bool, dialect="sonoduct", result="lost")

    debug = [line for line in logs if line["log_level"] == "debug"]
    events = [line["event"] for line in debug]
    assert 2 == events.count("connection_opened") == events.count("connection_ended")
    assert "ab" * 16 == next(line["stream"] for line in logs if line["event"] == "holder_fenced")
    assert {"fenced"} <= {line.get("result") for line in debug}
    assert shown[0].startswith("<Session sonoduct 127.0.0.1:")
    assert shown[0].endswith(" abababab, open>")
    assert "<PcmStream abababab at 0, held>" == shown[1]


EMBEDDED = """
import asyncio, receiver, sender
async def main():
    settings = receiver.Settings(host="127.0.0.1", port=0, store="none")
    async with receiver.serve(settings) as running:
        print(running.url, flush=True)
        await asyncio.Event().wait()
async def send(url, path):
    async with sender.connect(url) as client:
        await client.send(path)
"""


async def test_a_program_that_embeds_either_end_gets_no_debug_lines(tmp_path):
    """Each end alone, in a program that has not configured its logs."""
    path = write(tmp_path / "a.wav", 100)
    serve, send = f"{EMBEDDED}asyncio.run(main())", f"{EMBEDDED}asyncio.run(send(%r, %r))"
    async with started(sys.executable, "-c", serve) as server:
        await server.until(lambda: server.lines)
        url = server.lines[0].strip()
        async with started(sys.executable, "-c", send % (url, str(path))) as client:
            assert 0 == await client.ended()
        await server.until(lambda: "stream_ended" in server.out)

    assert "debug" not in client.out + server.out
