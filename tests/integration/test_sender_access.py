"""The sender's token and certificates: who gets them, and what happens if they are refused."""

import datetime as dt
import http.server
import logging
import os
import re
import socket
import ssl
import threading
from contextlib import suppress
from http import HTTPStatus
from itertools import pairwise

import pytest
import trustme
from prometheus_client import CollectorRegistry

from sender import Settings, UnreachableError
from sender.__main__ import app
from sender.access import Access
from sender.commands import push
from sender.dialects.plain import send_plain
from sender.errors import AccessError, NotAReceiverError, OddAnswerError
from sender.metrics import Metrics
from sender.opening import open_file
from sonoduct.runtime.command import run
from tests.support.clients import connected
from tests.support.commands import sent, watching
from tests.support.liars import ending, raw, receipt, speaking
from tests.support.sounds import write
from tests.support.strangers import tcp_server

TOKEN = "s3cret-Token.of/the+studio="  # noqa: S105  # no server takes it


RETRY = dt.timedelta(seconds=0.4)


@pytest.fixture(name="path")
def _path(tmp_path):
    return write(tmp_path / "a.wav")


@pytest.fixture(name="token")
def _token(tmp_path):
    file = tmp_path / "token"
    file.write_text(f"{TOKEN}\n")
    return file


@pytest.fixture(name="authority", scope="module")
def _authority():
    return trustme.CA()


@pytest.fixture(name="ca")
def _ca(authority, tmp_path):
    authority.cert_pem.write_to_path(tmp_path / "ca.pem")
    return str(tmp_path / "ca.pem")


def server_side(certificate, authority=None):
    """Return how a server speaks TLS; with *authority* it wants a client's certificate of it."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    certificate.configure_cert(context)
    if authority:
        authority.configure_trust(context)
        context.verify_mode = ssl.CERT_REQUIRED
    return context


class Gate:
    """Lets connections in whose token is right, and notes what each request showed."""

    def __init__(self, *answers):
        self.answers = list(answers)
        """What to answer to the first requests; None lets in."""
        self.seen = []

    def __call__(self, connection, request):
        self.seen.append(request.headers.get("Authorization"))
        answer = self.answers.pop(0) if self.answers else None
        return connection.respond(answer, "no") if answer else None


def receiver(**how):
    """Run a server that takes one stream on each connection, and gives its receipt."""
    return ending(receipt(), **how)


async def fault_of(server, path, scheme="ws", **settings):
    """Return the error of a stream to *server*."""
    async with server as plain:
        url = plain.replace("ws:", f"{scheme}:")
        async with connected(url, **{"connect_timeout": 0.5, **settings}) as client:
            with pytest.raises(Exception, match=".") as raised:
                await client.send(path)
    assert str(raised.value).isprintable()
    return raised.value


async def test_the_token_goes_with_each_handshake(path, token):
    """It is read for each connection, so that it can be replaced."""
    gate = Gate()
    async with (
        receiver(process_request=gate) as url,
        connected(url, token_file=str(token), ack="received") as client,
    ):
        await client.send(path)
        await client.close()
        token.write_text("another")
        await client.send(path)

    assert [f"Bearer {TOKEN}", "Bearer another"] == gate.seen


@pytest.mark.parametrize(
    ("status", "words"),
    [
        (HTTPStatus.UNAUTHORIZED, "the receiver refuses the token, or wants one: HTTP 401"),
        (HTTPStatus.FORBIDDEN, "the receiver refuses the token, or this name for itself: HTTP 403"),
    ],
)
async def test_a_refused_token_is_final(path, token, status, words):
    """One attempt and one line, without the token."""
    gate = Gate(*[status] * 9)
    error = await fault_of(receiver(process_request=gate), path, token_file=str(token))

    assert isinstance(error, AccessError)
    assert words in str(error)
    assert TOKEN not in str(error)
    assert 1 == len(gate.seen)


async def test_a_token_that_is_refused_while_it_is_replaced(path, token):
    """If the receiver has let this sender in before, the sender tries again for its patience."""
    gate = Gate(None, HTTPStatus.UNAUTHORIZED)
    async with (
        receiver(process_request=gate) as url,
        connected(url, token_file=str(token), ack="received") as client,
    ):
        await client.send(path)
        await client.close()
        await client.send(path)

    assert 3 == len(gate.seen)


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (None, "No such file or directory, expected a token in it"),
        (b"", "empty, expected one line of visible ASCII characters"),
        (b" \r\n\t", "empty, expected one line of visible ASCII characters"),
        (b"hidden\r\nX-Evil: 1", "other characters, expected one line of visible"),
        (b"hidden\x00", "other characters, expected one line of visible"),
        (b"hidden\x1b[31m", "other characters, expected one line of visible"),
        (b"hidden\xff", "other characters, expected one line of visible"),
        (b"hidden two", "other characters, expected one line of visible"),
        (b"hidden" * 1000, "too long, expected at most 4096 bytes"),
    ],
)
def test_a_file_without_a_token(capsys, tmp_path, path, content, words):
    """The command is wrong: the error names the file, and nothing in it."""
    file = tmp_path / "token"
    if content is not None:
        file.write_bytes(content)

    assert 2 == run(app, ["send", str(path), "--token-file", str(file)])
    error = capsys.readouterr().err
    assert f"token file {file}: {words}" in error
    assert "hidden" not in error


async def test_a_token_file_that_vanishes_between_connections(path, token):
    """The error names it, as long as there is none."""
    token.unlink()
    error = await fault_of(receiver(), path, token_file=str(token))

    assert isinstance(error, AccessError)
    assert f"token file {token}: No such file or directory, expected a token in it" == str(error)


async def test_the_token_is_never_shown(tmp_path, path, token):
    """Neither log, table nor report has it, at any level, whether it is taken or refused."""
    report = tmp_path / "report"
    for gate, expected in ((Gate(), 0), (Gate(*[HTTPStatus.UNAUTHORIZED] * 9), 1)):
        async with receiver(process_request=gate) as url:
            options = ("--token-file", token, "--log-level", "debug", "--report", report)
            program, code = await sent(path, "--to", url, "--ack", "received", *options)

        assert expected == code
        assert f"Bearer {TOKEN}" == gate.seen[0]
        for text in (program.out, "".join(program.errors), report.read_text()):
            assert TOKEN not in text
            assert TOKEN[:6] not in text
    assert TOKEN not in repr(Access(str(token))) + repr(Settings(token_file=str(token)))


async def test_the_library_does_not_log_the_token(caplog, path, token):
    """A program that embeds the sender may log everything that any library says."""
    caplog.set_level(logging.DEBUG)
    async with (
        receiver(process_request=Gate()) as url,
        connected(url, token_file=str(token), ack="received") as client,
    ):
        await client.send(path)

    client_side = [each for each in caplog.records if each.name != "websockets.server"]
    assert TOKEN not in "".join(each.getMessage() for each in client_side)


async def test_a_token_does_not_follow_a_redirect(path, token):
    """No other address gets it, and not this one twice."""
    asked = []

    async def elsewhere(request, _reader, _writer):
        asked.append(request)

    async with raw(elsewhere) as other:
        moved = f"302 Found\r\nLocation: {other}\r\nContent-Length: 0\r\n\r\n"
        error = await fault_of(
            tcp_server(f"HTTP/1.1 {moved}".encode()), path, token_file=str(token)
        )

    assert isinstance(error, OddAnswerError)
    assert [] == asked


def test_a_push_gateway_gets_no_token(token, monkeypatch):
    """It is another host."""
    monkeypatch.setenv("SENDER_TOKEN_FILE", str(token))
    seen = []

    class Handler(http.server.BaseHTTPRequestHandler):
        def do_PUT(self):
            self.rfile.read(int(self.headers["Content-Length"]))
            seen.append(dict(self.headers))
            self.send_response(200)
            self.end_headers()

        def log_message(self, *_args):
            pass

    with http.server.HTTPServer(("127.0.0.1", 0), Handler) as server:
        serving = threading.Thread(target=server.handle_request)
        serving.start()
        push(f"http://127.0.0.1:{server.server_port}", CollectorRegistry())
        serving.join()

    assert 1 == len(seen)
    assert "Authorization" not in seen[0]


@pytest.mark.parametrize("url", ["ws://me:hidden@127.0.0.1:1", "wss://hidden@127.0.0.1:1"])
async def test_a_password_in_the_address_is_refused(capsys, path, url):
    """The log names the address."""
    assert 2 == run(app, ["send", str(path), "--to", url])
    error = capsys.readouterr().err
    assert "address with a user or password in it, expected --token-file" in error
    assert "hidden" not in error
    async with connected(url) as client:
        with pytest.raises(NotAReceiverError) as raised:
            await client.send(path)
    assert "hidden" not in str(raised.value)


async def test_a_watcher_outlives_a_refusal(tmp_path, token):
    """It logs the error, waits for --retry, and sends when it is let in."""
    folder = tmp_path / "folder"
    folder.mkdir()
    path = write(folder / "a.wav")
    gate = Gate(HTTPStatus.UNAUTHORIZED, HTTPStatus.FORBIDDEN)
    options = ("--token-file", token, "--retry", RETRY.total_seconds(), "--ack", "received")
    async with (
        receiver(process_request=gate) as url,
        watching(folder, url, *options, settle="0.1") as program,
    ):
        await program.said("stream_ended", name=str(path), result="sent")
        program.interrupt()
        code = await program.ended()

    assert 0 == code
    ends = [line for line in program.log if line["event"] == "stream_ended"]
    assert ["failed", "failed", "sent"] == [line["result"] for line in ends]
    assert "the receiver refuses the token, or wants one" in ends[0]["error"]
    times = [dt.datetime.fromisoformat(line["timestamp"]) for line in ends]
    assert all(later - one > RETRY for one, later in pairwise(times))
    assert 3 == len(gate.seen)


@pytest.mark.parametrize(("status", "error"), [(None, None), (401, AccessError)])
async def test_the_token_in_the_plain_dialect(path, token, status, error):
    """It goes in the same header, and a refusal is final as well."""
    gate = Gate(HTTPStatus(status) if status else None)

    async def serve_one(connection):
        async for message in connection:
            if message == "Done":
                await connection.send("Done!")

    async with speaking(serve_one, process_request=gate, subprotocols=None) as url:
        settings = Settings(to=url, token_file=str(token))
        source = open_file(path, settings)
        sending = send_plain(source, settings, Metrics(CollectorRegistry(), "test"))
        if error:
            with pytest.raises(error, match="HTTP 401"):
                await sending
        else:
            await sending
        source.close()

    assert [f"Bearer {TOKEN}"] == gate.seen


async def test_a_stream_over_tls(authority, ca, path, token):
    """With the receiver's own authority the stream arrives."""
    certificate, gate = authority.issue_cert("127.0.0.1"), Gate()
    async with receiver(ssl=server_side(certificate), process_request=gate) as plain:
        url = plain.replace("ws:", "wss:")
        settings = {"ca_file": ca, "token_file": str(token), "ack": "received"}
        async with connected(url, **settings) as client:
            result = await client.send(path)

    assert 16_000 == result.frames
    assert [f"Bearer {TOKEN}"] == gate.seen


LONG_AGO = dt.datetime(2020, 1, 1, tzinfo=dt.UTC)
WRONG = {
    "unknown authority": (lambda _: trustme.CA().issue_cert("127.0.0.1"), "self.signed|issuer"),
    "another name": (lambda ca: ca.issue_cert("other.test"), "IP address mismatch"),
    "expired": (
        lambda ca: ca.issue_cert("127.0.0.1", not_before=LONG_AGO, not_after=LONG_AGO),
        "expired",
    ),
}


@pytest.mark.parametrize(("made", "words"), WRONG.values(), ids=WRONG)
async def test_a_certificate_that_does_not_verify(authority, ca, path, token, made, words):
    """It is final at the first contact, and the receiver sees no token."""
    gate = Gate()
    error = await fault_of(
        receiver(ssl=server_side(made(authority)), process_request=gate),
        path,
        "wss",
        ca_file=ca,
        token_file=str(token),
    )

    assert isinstance(error, AccessError)
    assert re.search(words, str(error))
    assert "certificate refused: " in str(error)
    assert [] == gate.seen


async def test_only_the_given_authority_is_believed(authority, path):
    """Without --ca-file those of the system are; this one is none of them."""
    certificate = authority.issue_cert("127.0.0.1")
    error = await fault_of(receiver(ssl=server_side(certificate)), path, "wss")

    assert isinstance(error, AccessError)


async def test_a_client_certificate(authority, ca, path, tmp_path):
    """A receiver that wants one gets it; without it the refusal is final and says why."""
    side = server_side(authority.issue_cert("127.0.0.1"), authority)
    mine = authority.issue_cert("studio@example.org")
    mine.private_key_pem.write_to_path(tmp_path / "key.pem")
    for number, blob in enumerate(mine.cert_chain_pems):
        blob.write_to_path(tmp_path / "cert.pem", append=number > 0)
    pair = {"client_cert": str(tmp_path / "cert.pem"), "client_key": str(tmp_path / "key.pem")}
    async with receiver(ssl=side) as plain:
        url = plain.replace("ws:", "wss:")
        async with connected(url, ca_file=ca, ack="received", **pair) as client:
            result = await client.send(path)
    error = await fault_of(receiver(ssl=side), path, "wss", ca_file=ca)

    assert 16_000 == result.frames
    assert str(error).endswith("closed during the handshake; it may want a client certificate")


async def test_a_client_certificate_that_is_missing(authority, ca, path):
    """If the receiver says so, as TLS provides, the refusal is final."""
    side, count = server_side(authority.issue_cert("127.0.0.1"), authority), 0

    with socket.create_server(("127.0.0.1", 0)) as server:

        def refuse():
            nonlocal count
            with suppress(OSError):
                while True:
                    connection, _ = server.accept()
                    count += 1
                    how = {"server_side": True, "do_handshake_on_connect": False}
                    with side.wrap_socket(connection, **how) as wrapped:
                        with suppress(ssl.SSLError):
                            wrapped.do_handshake()
                        os.set_blocking(wrapped.fileno(), True)
                        while os.read(wrapped.fileno(), 4096):  # a reset would overtake the alert
                            pass

        refusing = threading.Thread(target=refuse)
        refusing.start()
        url = f"wss://127.0.0.1:{server.getsockname()[1]}"
        async with connected(url, ca_file=ca) as client:
            with pytest.raises(AccessError, match="the receiver refuses the client certificate"):
                await client.send(path)
        server.shutdown(socket.SHUT_RDWR)
        refusing.join()

    assert 1 == count


async def test_an_end_of_tls_without_a_word_is_tried_again(ca, path):
    """It may be a proxy whose receiver is away."""
    error = await fault_of(tcp_server(b""), path, "wss", ca_file=ca)

    assert isinstance(error, UnreachableError)


async def test_certificates_without_tls(path, ca):
    """They would protect nothing."""
    error = await fault_of(receiver(), path, ca_file=ca, client_cert=ca)

    assert isinstance(error, NotAReceiverError)
    assert str(error).endswith(": --ca-file and --client-cert without TLS, expected wss://")


def test_a_key_without_a_certificate():
    """It would do nothing."""
    with pytest.raises(ValueError, match="client-key without client-cert, expected both"):
        Settings(client_key="k.pem")


def test_files_that_hold_no_certificate(tmp_path, authority):
    """The error names the file; an encrypted key asks for no password."""
    text = tmp_path / "text"
    text.write_text("hidden")
    locked = tmp_path / "locked"
    locked.write_text(
        "-----BEGIN ENCRYPTED PRIVATE KEY-----\nMIIB\n-----END ENCRYPTED PRIVATE KEY-----\n"
    )
    certificate = tmp_path / "cert.pem"
    authority.issue_cert("a").cert_chain_pems[0].write_to_path(certificate)
    for access, name in (
        (Access(ca_file=str(text)), text),
        (Access(ca_file=str(tmp_path / "gone")), tmp_path / "gone"),
        (Access(client_cert=str(text)), text),
        (Access(client_cert=str(certificate), client_key=str(locked)), locked),
        (Access(client_cert=str(certificate)), certificate),
    ):
        with pytest.raises(AccessError) as raised:
            access.tls()
        assert str(name) in str(raised.value)
        assert "hidden" not in str(raised.value)


def test_old_tls_is_not_spoken(ca):
    """TLS 1.2 or later, the name is checked, and the certificate has to verify."""
    context = Access(ca_file=ca).tls()

    assert context.minimum_version >= ssl.TLSVersion.TLSv1_2
    assert context.check_hostname
    assert ssl.CERT_REQUIRED is context.verify_mode
    assert 1 == len(context.get_ca_certs())
