"""Receivers that lie: each stream ends within patience, in one line, with little memory."""

import asyncio
import json
import os
import re
import time

import pytest
from prometheus_client import CollectorRegistry

from sender import Settings, UnreachableError
from sender.dialects.plain import send_plain
from sender.errors import NotAReceiverError, OddAnswerError
from sender.metrics import Metrics
from sender.opening import open_file
from sonoduct import wire
from tests.support import liars
from tests.support.clients import connected
from tests.support.commands import sending
from tests.support.liars import LIARS, ack, after_handshake, answering, closing, ending, frame
from tests.support.sounds import write
from tests.support.strangers import opened, plain_server

PATIENCE_S = 0.3
SPARE_S = 5
MOST_MIB = 150
SHORT = {"patience": PATIENCE_S, "connect_timeout": PATIENCE_S, "busy_timeout": PATIENCE_S}


async def fault_of(server, path, **settings):
    """Return the error of a stream to *server*; require that it is one line that soon comes."""
    async with server as url, connected(url, **{**SHORT, "ack": "received", **settings}) as client:
        began = time.monotonic()
        with pytest.raises(Exception, match=".") as raised:
            await client.send(path)
        took = time.monotonic() - began
    assert took < PATIENCE_S + SPARE_S
    assert str(raised.value).isprintable()
    return raised.value


@pytest.mark.parametrize("liar", LIARS.values(), ids=LIARS)
async def test_a_liar_cannot_hold_a_sender(tmp_path, liar):
    """Only acknowledgements of more are progress, and patience ends a stream without any."""
    error = await fault_of(liar(), write(tmp_path / "a.wav", 500_000))

    assert isinstance(error, UnreachableError | wire.WireError | OddAnswerError)


@pytest.mark.parametrize("name", ["terms of 2^45", "window of 2^62, chunks of 2", "reads nothing"])
async def test_a_liar_cannot_take_memory(tmp_path, name):
    """However much a receiver offers, the process stays below 150 MiB and exits with 1."""
    path = write(tmp_path / "a.wav", 20_000_000 if name == "terms of 2^45" else 1_000_000)
    short = ("--patience", 1, "--connect-timeout", 1, "--ack", "received")
    async with LIARS[name]() as url, sending(path, "--to", url, *short) as program:
        pid = program.process.pid
        descriptor = os.open(f"/proc/{pid}/status", os.O_RDONLY)
        try:
            peak = 0
            while program.process.returncode is None:
                found = re.search(rb"VmHWM:\s+(\d+)", os.pread(descriptor, 4096, 0))
                peak = max(peak, int(found[1]) // 1024 if found else 0)
                await asyncio.sleep(0.02)  # the kernel has no event for it
        except ProcessLookupError:
            pass
        finally:
            os.close(descriptor)
        code = await program.ended()

    assert 1 == code
    assert 0 < peak < MOST_MIB
    assert [] == [line for line in program.errors if not line.startswith("{")]


@pytest.mark.parametrize("cuts", [0, 2])
async def test_a_receiver_that_works_for_long_is_waited_for(tmp_path, cuts):
    """It repeats its last ack for longer than patience while it decodes; another may take over."""
    left = [False] * cuts + [True]
    loop = asyncio.get_running_loop()

    async def serve_one(connection):
        end = left.pop(0)
        await connection.recv()
        await connection.send(opened())
        while isinstance(message := await connection.recv(), bytes):
            pass
        done = loop.time() + 2 * PATIENCE_S
        while loop.time() < done:
            await connection.send(ack(16_000))
            await asyncio.sleep(liars.PAUSE_S)
        if end:
            digest = json.loads(message)["digest"]
            await connection.send(liars.receipt().replace("DIGEST", digest))
            await connection.wait_closed()

    settings = {"patience": PATIENCE_S, "ack": "received"}
    async with liars.speaking(serve_one) as url, connected(url, **settings) as client:
        result = await client.send(write(tmp_path / "a.wav"))

    assert 16_000 == result.frames
    assert [] == left


@pytest.mark.parametrize(
    ("name", "words"),
    [("pings", "more than 1000 pings"), ("fragments", "more than 64 fragments")],
)
async def test_a_flood_is_cut_off(tmp_path, name, words):
    """It does not last for as long as patience, in which it would take memory."""
    error = await fault_of(LIARS[name](), write(tmp_path / "a.wav"), patience=15)

    assert isinstance(error, wire.WireError)
    assert f"connection closed with 1008 {words}" == str(error)


async def test_many_pings_are_no_fault(tmp_path):
    """A receiver may ask often whether the sender is alive."""
    pings = frame(0x89, b"x") * 900
    error = await fault_of(after_handshake(pings), write(tmp_path / "a.wav"))

    assert isinstance(error, UnreachableError)


@pytest.mark.parametrize("name", ["drains for ever", "held for ever"])
async def test_a_refusal_again_and_again_does_not_spin(tmp_path, name):
    """Between two connections the sender waits, however short a wait the receiver asks for."""
    taken = []
    made = closing(1012, '{"type":"drain","retry_ms":0}', taken)
    if name == "held for ever":
        made = closing(4423, taken=taken)
    await fault_of(made, write(tmp_path / "a.wav"))

    assert 1 <= len(taken) < 40


async def test_a_redirect_is_not_followed(tmp_path):
    """Neither to the same address nor to another, so that a token stays here."""
    asked = []

    async def serve_one(request, _reader, writer):
        asked.append(request)
        writer.write(b"HTTP/1.1 302 Found\r\nLocation: /\r\nContent-Length: 0\r\n\r\n")
        await writer.drain()

    error = await fault_of(liars.raw(serve_one), write(tmp_path / "a.wav"))

    assert 1 == len(asked)
    assert "a redirect, expected a WebSocket handshake" in str(error)


MESSAGES = {
    "an ack that goes back": (
        [opened(max_chunk=2000), ack(1000), ack(999)],
        "ack durable 0, received 999, expected 0 to .*",
    ),
    "an ack beyond": ([opened(), ack(2**63 - 1)], "ack durable 0, received 9223.*"),
    "a huge ack": ([opened(), ack(10**400)], ".*"),
    "epoch 0": ([opened(epoch=0)], "epoch 0, expected at least 1"),
    "an epoch of 33 bits": ([opened(epoch=2**32)], ".*epoch.*"),
    "a receipt too early": (
        [opened(window=2000, max_chunk=1000), liars.receipt()],
        "message committed, expected ack.*",
    ),
    "a receipt of another epoch": (
        [opened(window=2000, max_chunk=1000), liars.receipt().replace('"epoch": 1', '"epoch": 7')],
        "epoch 7, expected 1",
    ),
    "cancelled, another epoch": (
        [opened(), '{"type":"cancelled","epoch":9}'],
        "epoch 9, expected 1",
    ),
    "deep": (['{"type":"opened","x":' + "[" * 2000 + "]" * 2000 + "}"], ".*depth 2001.*"),
    "deep and open": (["[" * 4000], ".*depth 4000.*"),
    "a huge number": ([opened(window=10**3000)], ".*"),
    "no number": (['{"type":"drain","retry_ms":NaN}'], ".*"),
    "escapes": (
        ['{"type":"error","code":4500,"message":"\\u001b]0;x\\u0007\\u202e","seen":"\\u2066"}'],
        r"\?\]0;x\?\? \?",
    ),
    "a long error": (
        ['{"type":"error","code":4500,"message":"%s"}' % ("x" * 4000)],
        "x{299}…",
    ),
    "half of a pair": (['{"type":"error","code":4500,"message":"\\ud800"}'], ".*"),
    "escapes in no JSON": (["\x1b[31m\u202e"], "JSON is malformed.*"),
}


@pytest.mark.parametrize(("messages", "expected"), MESSAGES.values(), ids=MESSAGES)
async def test_a_lie_in_a_message_ends_the_stream(tmp_path, messages, expected):
    """One line says what came, and what was expected."""

    async def serve_one(connection):
        await connection.recv()
        await connection.send(messages[0])
        if len(messages) > 1:
            await connection.recv()
        for message in messages[1:]:
            await connection.send(message)
        await connection.wait_closed()

    error = await fault_of(liars.speaking(serve_one), write(tmp_path / "a.wav"), patience=15)

    assert isinstance(error, wire.WireError)
    assert re.fullmatch(expected, str(error))


@pytest.mark.parametrize(
    ("changed", "expected"),
    [
        ({"digest": "\x1b" * 32}, r"receipt 16000 units, digest \?{32}, expected .*"),
        ({"units": 15_999}, "receipt 15999 units, .*"),
        ({"stream": "\x1b[31m"}, r"receipt with stream \?\[31m, expected .*"),
        ({"frames": 2**63 - 1}, "receipt with frames 9223.*"),
        ({"samplerate": 0}, "receipt with samplerate 0, .*"),
        ({"samplerate": -(2**63)}, "receipt with samplerate -9.*"),
        ({"channels": 10**9}, "receipt with channels 10.*"),
        ({"seconds": 1e308}, r"receipt with seconds 1e\+308, .*"),
        ({"seconds": -1.0}, "receipt with seconds -1.0, .*"),
    ],
)
async def test_a_receipt_that_cannot_be(tmp_path, changed, expected):
    """The sender believes nothing of a receipt that it can compute itself."""
    server = ending(liars.receipt(**changed))
    error = await fault_of(server, write(tmp_path / "a.wav"), patience=15)

    assert isinstance(error, wire.BadChecksum)
    assert re.fullmatch(expected, str(error))


@pytest.mark.parametrize("code", [1000, 1002, 1003, 1008, 1015 - 1, 3000, 3999])
async def test_an_odd_close_is_a_lost_connection(tmp_path, code):
    """A code that no receiver sends may be a proxy's: patience ends the attempts."""
    error = await fault_of(closing(code), write(tmp_path / "a.wav"))

    assert isinstance(error, UnreachableError)
    assert str(error).endswith(f"closed with {code} ?[31mbecause?")


FRAMES = {
    "compressed": (frame(0xC1, b"{}"), "1002 .*reserved bits.*"),
    "no UTF-8": (frame(0x81, b"\xff\xfe"), "1007 .*"),
    "an unknown opcode": (frame(0x83), "1002 .*"),
    "a long ping": (frame(0x89, b"x" * 126), "1002 .*"),
    "a fragment of nothing": (frame(0x80, b"x"), "1002 .*"),
    "a masked frame": (b"\x81\x82\x00\x00\x00\x00{}", "1002 .*"),
    "a frame of 2^62": (b"\x81\x7f\x40" + bytes(7), "1009 .*"),
}


@pytest.mark.parametrize(("sent", "expected"), FRAMES.values(), ids=FRAMES)
async def test_a_frame_that_breaks_websocket(tmp_path, sent, expected):
    """The stream fails at once: another attempt would bring the same."""
    error = await fault_of(after_handshake(sent), write(tmp_path / "a.wav"), patience=15)

    assert isinstance(error, wire.WireError)
    assert re.fullmatch(f"connection closed with {expected}", str(error))


@pytest.mark.parametrize(
    ("answer", "expected"),
    [
        ({"subprotocol": "other.v9"}, ".*unsupported subprotocol.*"),
        ({"more": "Sec-WebSocket-Extensions: permessage-deflate\r\n"}, ".*no extensions.*"),
    ],
)
async def test_an_answer_to_what_was_not_offered(tmp_path, answer, expected):
    """The sender offers one subprotocol and no extension, and accepts no other."""

    async def serve_one(request, _reader, writer):
        writer.write(liars.accepted(request, **answer))
        await writer.drain()
        await asyncio.sleep(60)

    error = await fault_of(liars.raw(serve_one), write(tmp_path / "a.wav"))

    assert isinstance(error, NotAReceiverError)
    assert re.fullmatch(expected, str(error))


async def sent_plain(server, path):
    """Send *path* in the tutorial's dialect to *server*; return the error."""
    async with server as url:
        settings = Settings(to=url, silence_timeout=PATIENCE_S, **SHORT)
        source = open_file(path, settings)
        try:
            async with asyncio.timeout(PATIENCE_S + SPARE_S):
                with pytest.raises((NotAReceiverError, UnreachableError)) as raised:
                    await send_plain(source, settings, Metrics(CollectorRegistry(), "test"))
        finally:
            source.close()
    return str(raised.value)


@pytest.mark.parametrize(
    ("answers", "expected"),
    [
        (["[" * 4000, None], ".*no answer to Done for 0.3 s.*"),
        ([b"\xff\xfe", None], ".*no answer to Done for 0.3 s.*"),
        (['{"frames":%s}' % ("1" * 4000), "Done!"], ".*frames 1{39}…, expected 16000"),
        (['{"digest":"\\u001b]0;x\\u0007"}', "Done!"], r".*digest \?\]0;x\?, expected .*"),
        (["x" * 5000], ".*closed with 1009.*"),
    ],
)
async def test_lies_in_the_plain_dialect(tmp_path, answers, expected):
    """They end in one line as well."""
    text = await sent_plain(plain_server(*answers), write(tmp_path / "a.wav"))

    assert re.fullmatch(expected, text)


async def test_a_plain_server_that_reads_nothing(tmp_path):
    """Patience ends the stream."""

    async def serve_one(request, _reader, writer):
        writer.transport.pause_reading()
        answer = liars.accepted(request).replace(b"Sec-WebSocket-Protocol: sonoduct.v1\r\n", b"")
        writer.write(answer)
        await asyncio.sleep(60)

    text = await sent_plain(liars.raw(serve_one), write(tmp_path / "a.wav", 5_000_000))

    assert text.endswith("the server reads nothing for 0.3 s, expected it to")


async def test_headers_of_a_plain_answer_are_bounded(tmp_path):
    """The same limits hold in the tutorial's dialect."""
    server = answering(b"HTTP/1.1 101 OK\r\n", endless=b"A: b\r\n" * 1000)
    text = await sent_plain(server, write(tmp_path / "a.wav"))

    assert text.isprintable()
