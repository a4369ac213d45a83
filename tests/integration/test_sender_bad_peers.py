"""Servers that are not a receiver: the sender soon reports each in one line, never as a success."""

import asyncio
import re

import pytest
from prometheus_client import CollectorRegistry

from sender import NotAReceiverError, SourceError, UnreachableError
from sender.errors import OddAnswerError, SourceEndsError
from sonoduct import wire
from tests.support.clients import connected
from tests.support.commands import sent
from tests.support.recorder import Recorder, listening
from tests.support.sounds import write
from tests.support.strangers import (
    finishing,
    http_server,
    odd_receiver,
    opened,
    plain_server,
    tcp_server,
)

HANDSHAKE = "expected a WebSocket handshake"
RECEIPT = wire.Receipt(
    stream="0" * 32,
    units=16_000,
    digest="0" * 32,
    frames=16_000,
    samplerate=16_000,
    channels=1,
    seconds=1.0,
    durable=False,
)
COMMITTED = wire.Committed(epoch=1, receipt=RECEIPT)


async def fault_of(server, path, **settings):
    """Return the error of a stream to *server*; require that it names the address."""
    async with server as url, connected(url, **settings) as client:
        with pytest.raises(Exception, match=".") as raised:
            await client.send(path)
    assert "\n" not in str(raised.value)
    return type(raised.value), str(raised.value).replace(url, "URL")


@pytest.mark.parametrize(
    ("server", "kind", "expected"),
    [
        (lambda: http_server("404 Not Found"), OddAnswerError, f"URL: HTTP 404, {HANDSHAKE}"),
        (lambda: http_server("200 OK"), OddAnswerError, f"URL: HTTP 200, {HANDSHAKE}"),
        (
            lambda: http_server("301 Moved\r\nLocation: http://example.org/"),
            OddAnswerError,
            f"URL: a redirect, {HANDSHAKE}: .+",
        ),
        (
            lambda: http_server("302 Found\r\nLocation: ws://127.0.0.1:1/"),
            OddAnswerError,
            f"URL: a redirect, {HANDSHAKE}: .+",
        ),
        (lambda: tcp_server(b"220 mail ESMTP\r\n"), OddAnswerError, f"URL: .+, {HANDSHAKE}"),
        (lambda: tcp_server(b"\x00\xff" * 9000), OddAnswerError, f"URL: .+, {HANDSHAKE}"),
        (
            plain_server,
            NotAReceiverError,
            "URL: subprotocol None, expected sonoduct.v1; .* takes --protocol plain",
        ),
    ],
    ids=["404", "200", "301", "302", "mail", "garbage", "tutorial"],
)
async def test_a_server_that_is_not_a_receiver_is_tried_once(tmp_path, server, kind, expected):
    """The sender makes one attempt: another would not help."""
    error, text = await fault_of(server(), write(tmp_path / "a.wav"))

    assert kind is error
    assert re.fullmatch(expected, text)


@pytest.mark.parametrize(
    ("server", "expected"),
    [
        (lambda: http_server("503 Service Unavailable"), "URL: HTTP 503, no receiver has room"),
        (lambda: tcp_server(b""), "URL: closed during the handshake"),
    ],
    ids=["503", "closed"],
)
async def test_a_gateway_without_receivers_is_tried_until_the_timeout(tmp_path, server, expected):
    """A load balancer without receivers answers 503 or closes."""
    error, text = await fault_of(server(), write(tmp_path / "a.wav"), connect_timeout=0.2)

    assert UnreachableError is error
    waited = r"URL: no progress for \d\.\d s, expected some within 0.2 s; last: "
    assert re.fullmatch(waited + re.escape(expected), text)


@pytest.mark.parametrize("url", ["ws://", "ws://127.0.0.1:99999", "http://127.0.0.1", "ws://a:b"])
async def test_a_malformed_address_is_an_error(tmp_path, url):
    """A malformed address in a program is an error like any other."""
    async with connected(url) as client:
        with pytest.raises(NotAReceiverError) as raised:
            await client.send(write(tmp_path / "a.wav"))

    assert str(raised.value).startswith(f"{url}: ")
    assert str(raised.value).endswith(", expected ws://HOST:PORT")


@pytest.mark.parametrize(
    ("answers", "error", "expected"),
    [
        (["no json"], wire.Malformed, "JSON is malformed.*'no json'"),
        (['{"type":"open"}'], wire.Malformed, "Invalid value 'open'.*expected hello or eos or .*"),
        (["{}"], wire.Malformed, ".+"),
        ([b"\xff\xfe"], wire.Malformed, "message 2 bytes, expected a control message"),
        (["x" * 5000], wire.WireError, "connection closed with 1009 .*4096 bytes.*"),
        ([wire.Eos(units=1, digest="")], wire.Malformed, "message eos, expected opened"),
        ([COMMITTED], wire.Malformed, "message committed, expected opened"),
        (
            [opened(window=0)],
            wire.Malformed,
            "max_chunk 16384, expected 2, .*",
        ),
        (
            [opened(max_chunk=1)],
            wire.Malformed,
            "max_chunk 1, expected 2, one unit.*",
        ),
        ([opened(epoch=-1)], wire.Malformed, ".*epoch.*"),
        ([opened(state="committed")] * 2, wire.Malformed, "message opened, expected .*"),
        (
            [opened(offset=99_999)],
            SourceEndsError,
            ".*: ends at frame 16000, the receiver has 99999",
        ),
        (
            [opened(), wire.Ack(epoch=1, durable=0, received=99_999, window=9999)],
            wire.Malformed,
            "ack durable 0, received 99999, expected 0 to .*",
        ),
        ([opened(), wire.Cancelled(epoch=1)], wire.Gone, "the receiver gave the stream up"),
        (
            [wire.Error(code=4999, message="mood", seen="bad", expected="good")],
            wire.WireError,
            "mood bad, expected good",
        ),
        ([wire.Error(code=4401, message="who?")], wire.Unauthorised, r"who\?"),
        ([4403], wire.Forbidden, "connection closed with 4403 because"),
        ([4999], wire.WireError, "connection closed with 4999 because"),
    ],
)
async def test_an_answer_that_breaks_the_protocol_ends_the_stream(
    tmp_path, answers, error, expected
):
    """The sender ends the stream at once."""
    seen, text = await fault_of(odd_receiver(*answers), write(tmp_path / "a.wav"))

    assert error is seen
    assert re.fullmatch(expected, text)


@pytest.mark.parametrize("when", ["opened", "committed"])
async def test_a_receipt_with_other_units_or_digest_is_refused(tmp_path, when):
    """A receipt counts only if it has the units and the digest of the sent stream."""
    path = write(tmp_path / "a.wav")
    first = COMMITTED if when == "committed" else 1001  # then the connection is lost
    known = wire.Opened(
        epoch=2, offset=0, window=0, max_chunk=0, state=wire.State.COMMITTED, receipt=RECEIPT
    )
    async with finishing(first, known, known) as url, connected(url) as client:
        with pytest.raises(wire.BadChecksum, match="receipt 16000 units, digest 0{32}, expected"):
            await client.send(path)


async def test_the_command_reports_a_server_that_is_not_a_receiver(tmp_path):
    """Each file has one line, and the exit code is 1."""
    for name in ("a.wav", "b.wav"):
        write(tmp_path / name)
    async with http_server("404 Not Found") as url:
        program, code = await sent(tmp_path, "--to", url)

    assert 1 == code
    errors = [line["error"] for line in program.log if line["event"] == "stream_ended"]
    assert [f"{url}: HTTP 404, {HANDSHAKE}"] * 2 == errors
    assert 2 == program.out.count(f"HTTP 404, {HANDSHAKE}")


async def test_one_failure_does_not_touch_the_next_stream(tmp_path):
    """After an error, the same client sends the next stream, if necessary on a new connection."""
    registry, recorder = CollectorRegistry(), Recorder()
    long = write(tmp_path / "long.wav", 400_000)
    async with listening(recorder) as running, connected(running.url, registry=registry) as client:
        with pytest.raises(SourceError):
            await client.send(tmp_path / "missing.wav")
        recorder.gate.clear()
        sending = asyncio.create_task(client.send(long))
        await recorder.until(lambda: recorder.takes)
        sending.cancel()
        with pytest.raises(asyncio.CancelledError):
            await sending
        recorder.gate.set()
        receipts = [await client.send(write(tmp_path / "b.wav", 77)), await client.send(long)]

    assert [77, 400_000] == [receipt.frames for receipt in receipts]
    assert [400_000, 77] == [take.frames for take in recorder.takes]
    assert 1 == registry.get_sample_value("sender_streams_total", {"result": "interrupted"})


async def test_an_end_before_the_handshake_is_tried_again(tmp_path):
    """A proxy without a receiver closes before the handshake: the sender tries again."""
    paths = [write(tmp_path / f"{number}.wav", 100 + number) for number in range(30)]

    async def end(_reader, writer):
        writer.close()

    server = await asyncio.start_server(end, "127.0.0.1", 0)
    url = f"ws://127.0.0.1:{server.sockets[0].getsockname()[1]}"
    async with server:
        program, code = await sent(*paths, "--to", url, "--jobs", 30, "--connect-timeout", 1)

    assert 1 == code
    assert [] == [line for line in program.errors if not line.startswith("{")]
    assert 30 == program.out.count("no progress for")
