"""
Faults of a client, one by one.

In each case another stream on the same receiver is half sent when the fault comes. It must end with
its receipt.
"""

import asyncio
import json
from contextlib import asynccontextmanager, suppress

import pytest
from websockets.asyncio.client import connect
from websockets.exceptions import ConnectionClosed, InvalidStatus

from sonoduct import wire
from tests.support.faulty import Faulty, Hang
from tests.support.rawclient import PATIENCE_S, SMALL, digest, running, sound, speaking

HELLO = wire.encode_control(
    wire.Hello(
        stream="0" * 32,
        instance="bad",
        format=wire.Format(samplerate=8000, channels=2, encoding=wire.Encoding.S16LE),
    )
)
QUICK = {"hello_timeout": 0.3, "progress_timeout": 0.5}


@asynccontextmanager
async def beside(*processors, **limits):
    """Run a receiver on which another stream is half sent, and completes at the end."""
    payload = sound(4000)
    async with running(*processors, limits=limits) as receiver, speaking(receiver.url) as other:
        await other.greet()
        await other.send(payload[: len(payload) // 2])
        yield receiver
        await other.send(payload)
        receipt = await other.commit()

    assert digest(payload) == receipt.digest


async def heard(connection):
    """Return the error message, the close code and the close reason that end *connection*."""
    messages = []
    async with asyncio.timeout(PATIENCE_S):
        with suppress(ConnectionClosed):
            while True:
                messages.append(wire.decode_control(await connection.recv(decode=True)))
    errors = [message for message in messages if isinstance(message, wire.Error)]
    return (errors or [None])[-1], connection.close_code, connection.close_reason


def assert_refused(receiver, ended, code, sentence):
    """Require that the error message, the close and the metrics agree, in one line."""
    error, closed, reason = ended
    told = wire.error_for(error.code, error.message, error.seen, error.expected)
    assert (code, code) == (closed, error.code)
    assert sentence in str(told)
    assert told.reason == reason
    assert 1 == len(str(told).splitlines())
    assert receiver.value("receiver_protocol_errors_total", code=str(code)) == 1
    assert receiver.value("receiver_active_streams") >= 1


def hello(**changed):
    """Return a hello as JSON with *changed* fields, which may be wrong."""
    fields = json.loads(HELLO)
    fields["format"] |= {
        key: changed.pop(key) for key in ("samplerate", "channels") & changed.keys()
    }
    return json.dumps(fields | changed)


FILE = wire.encode_control(wire.Hello(stream="0" * 32, instance="bad", kind=wire.Kind.FILE))

NO_HELLO = {
    "binary before hello": (wire.encode_chunk(1, 0, 1, b"abcd"), 4400, "chunk, expected a hello"),
    "bytes that are no chunk": (b"xyz", 4400, "chunk bytes 3, expected at least 32"),
    "unknown type": ('{"type":"hallo"}', 4400, "'hallo' - at `$.type`"),
    "too deep": ("[" * 40 + "]" * 40, 4400, "control message depth 40, expected at most 6"),
    "too long": ('"' + "x" * 5000 + '"', 4400, "control message bytes 5002, expected at most 4096"),
    "not JSON": ("Done", 4400, "JSON is malformed"),
    "samplerate 0": (hello(samplerate=0), 4400, "samplerate 0, expected 1 to 768000"),
    "samplerate high": (hello(samplerate=768001), 4400, "samplerate 768001, expected 1 to 768000"),
    "channels 0": (hello(channels=0), 4400, "channels 0, expected 1 to 64"),
    "channels 65": (hello(channels=65), 4400, "channels 65, expected 1 to 64"),
    "stream id": (hello(stream="abc"), 4400, "stream 'abc', expected 32 hexadecimal digits"),
    "kind file": (FILE, 4400, "kind file, expected pcm"),
    "file with a format": (
        hello(kind="file"),
        4400,
        "a format in a hello of kind file, expected none",
    ),
    "receiver's message": (
        '{"type":"ack","epoch":1,"durable":0,"received":0,"window":0}',
        4400,
        "message ack, expected a hello",
    ),
    "eos first": ('{"type":"eos","units":0,"digest":""}', 4400, "message eos, expected a hello"),
}


@pytest.mark.parametrize("case", NO_HELLO)
async def test_a_bad_first_message_is_refused(case):
    """The receiver refuses a connection whose first message is not a valid hello."""
    message, code, sentence = NO_HELLO[case]
    async with beside() as receiver, speaking(receiver.url) as client:
        await client.connection.send(message)
        ended = await heard(client.connection)

        assert_refused(receiver, ended, code, sentence)


def flipped(message, at):
    """Return *message* with one flipped bit in byte *at*."""
    return message[:at] + bytes([message[at] ^ 1]) + message[at + 1 :]


def chunk(client, **changed):
    """Return the next chunk of *client*, with *changed* fields and right checksums."""
    fields = {"epoch": client.outbound.epoch, "offset": 100, "units": 10, "payload": sound(10)}
    return wire.encode_chunk(**fields | changed)


def headed(client, at, value):
    """Return a chunk with another byte in its header, and the right checksum."""
    raw = bytearray(chunk(client))
    raw[at] = value
    raw[28:32] = wire.chunk.crc32(raw[:28]).to_bytes(4, "little")
    return bytes(raw)


BAD_CHUNKS = {
    "header checksum": (lambda c: flipped(chunk(c), 30), 4460, "header crc32"),
    "header byte": (lambda c: flipped(chunk(c), 9), 4460, "header crc32"),
    "payload checksum": (lambda c: flipped(chunk(c), 40), 4460, "payload crc32"),
    "version": (lambda c: headed(c, 0, 2), 4400, "chunk version 2, expected 1"),
    "kind": (lambda c: headed(c, 1, 9), 4400, "chunk kind 9, expected 1"),
    "flags": (lambda c: headed(c, 2, 1), 4400, "chunk flags 1, expected 0"),
    "shorter than it says": (lambda c: chunk(c)[:-1], 4400, "payload length 40, expected 39"),
    "shorter than a header": (lambda c: chunk(c)[:31], 4400, "chunk bytes 31, expected at least"),
    "empty": (lambda _c: b"", 4400, "chunk bytes 0, expected at least 32"),
    "length": (lambda c: chunk(c) + b"x", 4400, "payload length 40, expected 41"),
    "epoch": (lambda c: chunk(c, epoch=9), 4400, "chunk epoch 9, expected 1"),
    "gap": (lambda c: chunk(c, offset=101), 4416, "chunk offset 101, expected 100"),
    "repeat": (lambda c: chunk(c, offset=90), 4416, "chunk offset 90, expected 100"),
    "no units": (lambda c: chunk(c, units=0), 4400, "payload bytes of 0 units 40"),
    "broken frame": (lambda c: chunk(c, payload=b"abc"), 4400, "payload bytes of 10 units 3"),
    "too large": (
        lambda c: chunk(c, units=140000, payload=sound(140000)),
        4413,
        "payload bytes 560000, expected <= 524288",
    ),
    "hello twice": (lambda _c: HELLO, 4400, "message hello, expected a chunk, eos or cancel"),
    "eos units": (
        lambda _c: '{"type":"eos","units":99,"digest":""}',
        4416,
        "eos units 99, expected 100",
    ),
    "eos digest": (
        lambda _c: '{"type":"eos","units":100,"digest":"00"}',
        4460,
        "digest of the stream 00, expected",
    ),
    "eos beyond": (
        lambda _c: '{"type":"eos","units":101,"digest":""}',
        4416,
        "eos units 101, expected 100",
    ),
    "receiver's message": (
        lambda _c: '{"type":"committed","epoch":1,"receipt":{}}',
        4400,
        "missing required field",
    ),
    "receiver's whole message": (
        lambda _c: '{"type":"drain","retry_ms":1}',
        4400,
        "message drain, expected a chunk, eos or cancel",
    ),
    "no JSON": (lambda _c: "Done", 4400, "JSON is malformed"),
    "cancel epoch": (lambda _c: '{"type":"cancel","epoch":7}', 4400, "cancel epoch 7, expected 1"),
}


@pytest.mark.parametrize("case", BAD_CHUNKS)
async def test_a_bad_message_after_good_frames_is_refused(case):
    """After 100 good frames, each bad message ends the connection with its own code."""
    make, code, sentence = BAD_CHUNKS[case]
    async with beside() as receiver, speaking(receiver.url) as client:
        await client.greet()
        await client.send(sound(100))
        await client.connection.send(make(client))
        ended = await heard(client.connection)

        assert_refused(receiver, ended, code, sentence)


async def test_frames_before_a_fault_stay():
    """After a bad message, the sender may resume behind its good frames."""
    payload = sound(200)
    async with beside() as receiver, speaking(receiver.url) as client:
        await client.greet()
        await client.send(payload[:400])
        await client.connection.send(b"nonsense")
        await heard(client.connection)
        client.outbound.lose()
        async with speaking(receiver.url, client.outbound) as again:
            opened = await again.greet()
            await again.send(payload)
            receipt = await again.commit()

    assert (100, 2) == (opened.offset, opened.epoch)
    assert digest(payload) == receipt.digest


async def test_a_wrong_digest_ends_the_stream_as_failed():
    """If the digest of eos is wrong, the receiver keeps nothing of the stream."""
    async with beside() as receiver, speaking(receiver.url) as client:
        await client.greet()
        await client.send(sound(100))
        await client.say(wire.Eos(units=100, digest="00"))
        await heard(client.connection)

        assert receiver.value("receiver_streams_total", result="failed") == 1


async def test_a_chunk_over_the_window_is_refused():
    """While a processor takes nothing, a sender that exceeds its window is closed."""
    with Hang() as hang:
        async with (
            beside(Faulty("process", hang), **SMALL) as receiver,
            speaking(receiver.url, name="victim") as client,
        ):
            opened = await client.greet()
            piece = sound(opened.max_chunk // 4)
            for offset in range(0, 4 * len(piece) // 4, len(piece) // 4):
                await client.chunk(piece, offset=offset)
            error, code, _reason = await heard(client.connection)
            hang.released.set()

    assert (4400, "bytes over the window", "0") == (code, error.message, error.expected)


PLAIN = {
    "odd bytes": ([b"1234567", "Done"], "", 4400, "bytes after the last frame 3, expected"),
    "other text": ([b"12345678", "Stop"], "", 4400, "text 'Stop', expected 'Done'"),
    "samplerate": ([], "?samplerate=abc", 4400, "samplerate 'abc', expected 1 to 768000"),
    "channels": ([], "?channels=0", 4400, "channels '0', expected 1 to 64"),
    "query": ([], "?rate=5", 4400, "query ['rate'], expected samplerate, channels and encoding"),
    "2 MiB": ([bytes(2 * 1024 * 1024)], "", 1009, ""),
}


@pytest.mark.parametrize("case", PLAIN)
async def test_a_plain_client_gets_the_reason_of_a_fault(case):
    """A client without our messages gets the fault as close code and close reason."""
    messages, query, code, sentence = PLAIN[case]
    async with beside() as receiver, connect(receiver.url + query, compression=None) as client:
        with suppress(ConnectionClosed):
            for message in messages:
                await client.send(message)
        async with asyncio.timeout(PATIENCE_S):
            await client.wait_closed()

        assert code == client.close_code
        assert sentence in client.close_reason


@pytest.mark.parametrize("words", [[], [HELLO]], ids=["after connecting", "after the hello"])
async def test_silence_is_ended(words):
    """If a client must send and does not, the receiver closes with 4408 at its deadline."""
    async with running(limits=QUICK) as receiver, speaking(receiver.url) as client:
        for word in words:
            await client.connection.send(word)
        error, code, _reason = await heard(client.connection)

    assert (4408, "silence past the deadline") == (code, error.message)


async def test_an_idle_connection_after_a_stream_is_no_fault():
    """After a stream, the receiver closes a silent connection with 1000."""
    async with running(limits=QUICK) as receiver, speaking(receiver.url) as client:
        await client.greet()
        await client.send(sound(10))
        await client.commit()
        _error, code, reason = await heard(client.connection)

        assert (1000, "idle") == (code, reason)
        assert receiver.value("receiver_protocol_errors_total", code="4408") == 0


async def test_a_reset_connection_is_lost_and_its_stream_waits():
    """The metrics count a reset connection as lost; its stream waits for its sender."""
    async with beside() as receiver:
        async with speaking(receiver.url) as client:
            await client.greet()
            await client.send(sound(100))
            client.abort()
        await receiver.until(
            "receiver_connections_total", lambda n: n == 1, dialect="sonoduct", result="lost"
        )


async def test_an_unknown_subprotocol_is_refused():
    """A client that offers subprotocols must offer ours."""
    async with beside() as receiver:
        with pytest.raises(InvalidStatus) as raised:
            await connect(receiver.url, subprotocols=["mqtt"])

    assert 400 == raised.value.response.status_code


async def test_one_connection_too_many_is_refused():
    """The receiver refuses it before the handshake, and counts it."""
    async with running(limits={"max_connections": 1}) as receiver, speaking(receiver.url) as client:
        await client.greet()
        with pytest.raises(InvalidStatus) as raised:
            await connect(receiver.url, subprotocols=[wire.SUBPROTOCOL])

        assert 503 == raised.value.response.status_code
        refused = {"dialect": "sonoduct", "result": "refused"}
        assert receiver.value("receiver_connections_total", **refused) == 1
