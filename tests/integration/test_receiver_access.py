"""Who may connect: tokens, hosts and origins are checked before the upgrade, for every dialect."""

import json
import os
import signal
import subprocess
import sys
import uuid
from contextlib import asynccontextmanager
from datetime import UTC, datetime, timedelta

import pytest
from structlog.testing import capture_logs
from websockets.asyncio.client import connect
from websockets.exceptions import InvalidStatus

from receiver.connections.access import Access, Refused
from sonoduct import wire
from tests.support.rawclient import running, sound, speaking
from tests.support.waits import until

ANNA, BERT, OLD = (f"{name}-0123456789abcdef" for name in ("anna", "bert", "old"))
TOKENS = f"""
[anna]
token = "{ANNA}"
streams = "anna/"

[bert]
token = "{BERT}"

[old]
token = "{OLD}"
expires = 2020-01-01T00:00:00Z
"""
WRONG = {"none": "", "wrong": "no-token-of-this-receiver", "part": ANNA[:-1], "expired": OLD}


def tokens_file(folder, text=TOKENS):
    """Write *text* to a file of tokens; return its path."""
    path = folder / "tokens.toml"
    path.write_text(text)
    return str(path)


async def status(receiver, token="", subprotocols=None, **headers):
    """Return the status and the body of the answer to a handshake."""
    more = {name.replace("_", "-"): value for name, value in headers.items()}
    if token:
        more["Authorization"] = f"Bearer {token}"
    try:
        async with connect(
            receiver.url, additional_headers=more, subprotocols=subprotocols, proxy=None
        ):
            return 101, ""
    except InvalidStatus as exc:
        return exc.response.status_code, exc.response.body.decode()


@pytest.mark.parametrize("subprotocols", [None, [wire.SUBPROTOCOL]], ids=["plain", "sonoduct"])
@pytest.mark.parametrize("wrong", WRONG.values(), ids=WRONG)
async def test_without_a_valid_token_no_connection_is_upgraded(tmp_path, wrong, subprotocols):
    """The answer is 401, and says no more than what the client knows already."""
    with capture_logs() as logs:
        async with running(tokens=tokens_file(tmp_path)) as receiver:
            answer, body = await status(receiver, wrong, subprotocols)
            refusals = receiver.value("receiver_refusals_total", reason="token")

    assert (401, 1) == (answer, refusals)
    (line,) = [each for each in logs if each["event"] == "connection_refused"]
    assert line["peer"].startswith("127.0.0.1:")
    assert "token" in line["reason"]
    for secret in filter(None, (ANNA, BERT, OLD, wrong)):
        assert secret not in body
        assert secret not in json.dumps(logs, default=str)


async def test_a_token_is_a_bearer_token(tmp_path):
    """Other schemes and other places, such as the query, hold no token."""
    async with running(tokens=tokens_file(tmp_path)) as receiver:
        for scheme in ("Basic", "Token", "", "Bearer:"):
            assert (401, "token") == (
                (answer := await status(receiver, Authorization=f"{scheme} {BERT}"))[0],
                "token" if "token" in answer[1] else "",
            )
        assert 101 == (await status(receiver, Authorization=f"bearer  {BERT} "))[0]


async def answers(receiver, token, stream, *, name):
    """Return everything that the receiver says to a hello and a cancel of *stream*."""
    async with speaking(receiver.url, token=token, stream=stream, name=name) as client:
        opened = await client.greet()
        await client.say(wire.Cancel(epoch=opened.epoch))
        await client.until(wire.Cancelled)
        return client.heard


@pytest.mark.parametrize("state", ["committed", "held", "left", "cancelled"])
async def test_another_tokens_stream_is_a_new_stream(tmp_path, state):
    """No offset, epoch, receipt, code or text tells that the id exists; the owner has it all."""
    stream, fresh = uuid.uuid4().hex, uuid.uuid4().hex
    store = str(tmp_path / "store")
    async with running(tokens=tokens_file(tmp_path), store=store) as receiver:
        async with speaking(
            receiver.url, token=ANNA, stream=stream, name="anna/a", instance="anna"
        ) as owner:
            await owner.greet()
            await owner.send(sound(400))
            await owner.acknowledged()
            if state == "committed":
                receipt = await owner.commit()
            if state == "cancelled":
                await owner.say(wire.Cancel(epoch=owner.outbound.epoch))
                await owner.until(wire.Cancelled)
            if state == "left":
                owner.abort()
                await until(lambda: receiver.value("receiver_waiting_streams") == 1)
            expected = await answers(receiver, BERT, fresh, name="x")
            assert expected == await answers(receiver, BERT, stream, name="x")
            if state == "held":
                await owner.send(sound(800))
                receipt = await owner.commit()

        if state in ("committed", "held"):
            async with speaking(receiver.url, token=ANNA, stream=stream, name="anna/a") as again:
                opened = await again.greet()
            assert (wire.State.COMMITTED, receipt) == (opened.state, opened.receipt)


async def test_a_token_covers_names_with_its_prefix(tmp_path):
    """Another name is refused with 4403; a plain client's stream gets the prefix."""
    async with running(tokens=tokens_file(tmp_path)) as receiver:
        async with speaking(receiver.url, token=ANNA, name="bert/a") as client:
            await client.say(client.outbound.greet())
            code, reason = await client.closed()
        with capture_logs() as logs:
            async with connect(
                receiver.url, additional_headers={"Authorization": f"Bearer {ANNA}"}
            ) as plain:
                await plain.send(bytes(400))
                await plain.send("Done")
                assert 100 == json.loads(await plain.recv())["frames"]
        refused = receiver.value("receiver_refusals_total", reason="name")

    assert (4403, 1) == (code, refused)
    assert "anna/" in reason
    (ended,) = [each for each in logs if each["event"] == "stream_ended"]
    assert ("anna/plain client", "anna") == (ended["name"], ended["token"])


async def test_a_receipts_line_names_token_address_stream_and_bytes(tmp_path):
    """With a token, the log has both ids: the sender's own and the one on the disk."""
    stream = uuid.uuid4().hex
    with capture_logs() as logs:
        async with (
            running(tokens=tokens_file(tmp_path)) as receiver,
            speaking(receiver.url, token=BERT, stream=stream, name="b") as client,
        ):
            await client.greet()
            await client.send(sound(400))
            await client.commit()

    (line,) = [each for each in logs if each["event"] == "stream_ended"]
    assert ("bert", "committed", 1600) == (line["token"], line["result"], line["bytes"])
    assert stream == line["sender_stream"] != line["stream"]
    assert line["peer"].startswith("127.0.0.1:")


async def test_tokens_are_reloaded_while_streams_run(tmp_path):
    """Open streams end well; the next hello, and the next connection, need a valid token."""
    path = tokens_file(tmp_path)
    async with running(tokens=path) as receiver:
        async with (
            speaking(receiver.url, token=ANNA, name="anna/a") as client,
            speaking(receiver.url, token=BERT) as kept,
        ):
            await client.greet()
            await kept.greet()
            tokens_file(tmp_path, f'[bert]\ntoken = "{BERT}"\n[carl]\ntoken = "{ANNA[::-1]}"\n')
            receiver.inside.reload()
            await client.send(sound(400))
            await client.commit()
            client.start(name="anna/b")
            await client.say(client.outbound.greet())
            code, _ = await client.closed()
            await kept.send(sound(400))
            await kept.commit()
            kept.start()
            assert wire.State.OPEN is (await kept.greet()).state
        assert (4401, 401) == (code, (await status(receiver, ANNA))[0])
        assert 101 == (await status(receiver, ANNA[::-1]))[0]

        tokens_file(tmp_path, "[bert]\ntoken = 3\n")
        with pytest.raises(ValueError, match=r"tokens .*tokens.toml: Expected `str`, got `int`"):
            receiver.inside.reload()
        assert 101 == (await status(receiver, ANNA[::-1]))[0]


async def test_a_replaced_token_opens_no_further_stream(tmp_path):
    """A connection that came with the old one needs the new one, although the name is the same."""
    path = tokens_file(tmp_path)
    async with running(tokens=path) as receiver:
        async with speaking(receiver.url, token=BERT) as client:
            await client.greet()
            tokens_file(tmp_path, TOKENS.replace(BERT, BERT[::-1]))
            receiver.inside.reload()
            await client.send(sound(400))
            await client.commit()
            client.start()
            await client.say(client.outbound.greet())
            assert 4401 == (await client.closed())[0]
        assert (401, 101) == (
            (await status(receiver, BERT))[0],
            (await status(receiver, BERT[::-1]))[0],
        )


async def test_a_token_that_expires_while_its_client_is_connected(tmp_path):
    """The stream under way ends well, and the next one is refused."""
    at = datetime(2030, 1, 1, tzinfo=UTC)
    now = at - timedelta(seconds=1)
    text = TOKENS.replace("2020-01-01T00:00:00Z", "2030-01-01T00:00:00Z")
    access = Access(tokens_file(tmp_path, text), today=lambda: now)
    client = access.client("127.0.0.1", OLD)
    hello = wire.Hello(stream="0" * 32, instance="i", kind=wire.Kind.FILE)

    assert access.own(client, hello, named=True)[1].stream != hello.stream
    now = at
    with pytest.raises(wire.Unauthorised, match="expired"):
        access.own(client, hello, named=True)
    with pytest.raises(Refused, match="expired"):
        access.client("127.0.0.1", OLD)


HOSTS = {
    "127.0.0.1:8766": 101,
    "localhost": 101,
    "[::1]:8766": 101,
    "10.0.0.7": 101,
    "studio.test:8766": 101,
    "STUDIO.test.": 101,
    "evil.test": 421,
    "127.0.0.1.evil.test": 421,
    "localhost.evil.test:8766": 421,
    "evil.test@127.0.0.1": 421,
    "127.0.0.1, evil.test": 421,
    "": 421,
    "[::1": 421,
    "0x7f.1": 421,
}


@pytest.mark.parametrize("host", HOSTS)
async def test_a_host_name_must_be_known(host):
    """A name that an attacker binds to this address reaches nothing, whatever page asks."""
    access = Access(hosts=("studio.test",))
    try:
        access.require_host(host)
        answer = 101
    except Refused as exc:
        answer = exc.status

    assert HOSTS[host] == answer


async def test_a_foreign_host_is_refused():
    """The answer says what the receiver expects."""
    async with running() as receiver:
        url = receiver.url.replace("127.0.0.1", "localhost")
        async with connect(url):
            pass
        answer, body = await status(receiver, Host="evil.test")  # beside the library's own
        refused = receiver.value("receiver_refusals_total", reason="host")

    assert (421, 1) == (answer, refused)
    assert "expected an address, localhost, or a name that --hosts lists" in body


@pytest.mark.parametrize(
    ("origin", "expected"),
    [
        ("https://studio.test", 101),
        ("HTTPS://studio.test", 101),
        ("http://studio.test", 403),
        ("https://studio.test:8443", 403),
        ("https://evil.test", 403),
        ("null", 403),
        ("http://127.0.0.1", 403),
    ],
)
async def test_a_page_must_come_from_a_listed_origin(tmp_path, origin, expected):
    """A browser's page is refused with and without a token, unless its origin is listed."""
    path = tokens_file(tmp_path)
    async with running(tokens=path, origins=("https://studio.test",)) as receiver:
        answer, body = await status(receiver, BERT, Origin=origin)

    assert expected == answer
    assert expected == 101 or "--origins" in body


@pytest.mark.parametrize("host", ["0.0.0.0", "::", "", "10.0.0.1", "studio.test"])  # noqa: S104  # not bound
def test_other_machines_are_let_in_only_by_tokens_or_by_choice(host):
    """The command says what is expected, and exits with 2."""
    run = subprocess.run(
        [sys.executable, "-m", "receiver", "serve", "--store", "none", "--host", host],
        capture_output=True,
        text=True,
        timeout=30,
        check=False,
    )

    assert 2 == run.returncode
    assert "without tokens, expected 127.0.0.1, or --tokens FILE, or --open" in run.stderr


@asynccontextmanager
async def _served(*options):
    """Run the command with a port of its own; yield the process."""
    process = subprocess.Popen(
        [sys.executable, "-m", "receiver", "serve", "--store", "none", *options],
        stderr=subprocess.PIPE,
        text=True,
    )
    try:
        yield process
    finally:
        process.terminate()
        process.wait(20)
        process.stderr.close()


async def test_hangup_reloads_and_a_bad_file_changes_nothing(tmp_path):
    """SIGHUP reads the tokens; the log says so, or why not, and the receiver lives."""
    path = tokens_file(tmp_path)
    options = ("--port", "0", "--metrics-port", "0", "--tokens", path, "--drain-lead", "0")
    async with _served(*options) as process:
        seen = [_line(process, "receiver_ready")]
        url = seen[0]["url"]
        os.kill(process.pid, signal.SIGHUP)
        seen.append(_line(process, "receiver_reloaded"))
        tokens_file(tmp_path, "[anna]\ntoken = 'short'\n")
        os.kill(process.pid, signal.SIGHUP)
        seen.append(_line(process, "reload_failed"))
        async with speaking(url, token=ANNA, name="anna/x") as client:
            assert (await client.greet()).epoch == 1

    assert "the token of anna, expected at least 16" in seen[-1]["reason"]
    assert all("short" not in json.dumps(each) for each in seen)


async def test_an_open_receiver_says_so(tmp_path):
    """The log has a warning at the start."""
    options = ("--port", "0", "--metrics-port", "0", "--open", "--drain-lead", "0")
    async with _served(*options) as process:
        line = _line(process, "receiver_open")

    assert ("warning", "by none") == (line["level"], line["tokens_needed"])


def _line(process, event):
    """Return the next line of the log with that *event*."""
    for text in process.stderr:
        line = json.loads(text)
        if line["event"] == event:
            return line
    pytest.fail(f"no {event}")


async def test_refusals_at_most_ten_a_second(tmp_path):
    """A flood of refused handshakes has a bounded number of lines, which count the others."""
    with capture_logs() as logs:
        async with running(tokens=tokens_file(tmp_path)) as receiver:
            for _ in range(40):
                assert 401 == (await status(receiver))[0]
            counted = receiver.value("receiver_refusals_total", reason="token")

    lines = [each for each in logs if each["event"] == "connection_refused"]
    assert counted == 40
    assert len(lines) < 40
