"""A system with tokens, and with TLS at the gateway: what the overrides in deploy/compose make."""

import json
import secrets
import shutil
import socket
import ssl
import subprocess

import pytest
import trustme

from tests.containers.deadlines import until
from tests.containers.engine import ROOT, CommandFailedError, docker, events, inside, inspect
from tests.containers.load import SENDER
from tests.containers.metrics import ASK, RECEIVER, metrics_of
from tests.containers.metrics import SENDER as SENDER_METRICS
from tests.containers.system import SERVICES, running
from tests.support.sounds import write

pytestmark = pytest.mark.containers

TOKENS = {name: secrets.token_urlsafe(32) for name in ("studio", "archive", "late")}
"""New in each run, so that whatever has one of them has it from this run."""


def table(*names):
    """Return a file of tokens."""
    return "\n".join(f'[{name}]\ntoken = "{TOKENS[name]}"\n' for name in names)


@pytest.fixture(name="folder", scope="module")
def _folder(tmp_path_factory):
    """Return a folder with the secrets, which the users in containers can read."""
    folder = tmp_path_factory.mktemp("guarded")
    (folder / "tokens.toml").write_text(table("studio", "archive"))
    for name, token in {**TOKENS, "sender": TOKENS["studio"]}.items():
        (folder / f"{name}.token").write_text(token + "\n")
    authority = trustme.CA()
    certificate = authority.issue_cert("gateway", "localhost", "127.0.0.1")
    certificate.private_key_and_cert_chain_pem.write_to_path(folder / "gateway.pem")
    authority.cert_pem.write_to_path(folder / "ca.pem")
    for path in folder.iterdir():
        path.chmod(0o444)
    (folder / "tokens.toml").chmod(0o644)
    return folder


@pytest.fixture(name="system", scope="module")
def _system(images, folder):
    variables = {"SONODUCT_SECRETS": str(folder), "RECEIVER_REPLICAS": "2"}
    with running(folder, "tokens", "tls", **variables) as system:
        until(lambda: sent(system), lambda seen: len(seen) == 4, 60, "receipts of the samples")
        yield system


def sent(system):
    """Return the sender's lines of streams with a receipt."""
    return system.logged("sender", "stream_ended", result="sent")


def send(system, folder, name, *more, to=None):
    """Run `sender send` on this machine; return what has ended."""
    sound = write(folder / f"{name}.wav", 1000)
    address = to or system.url.replace("ws://", "wss://")
    return subprocess.run(
        [
            *(SENDER, "send", sound, "--to", address, "--ca-file", folder / "ca.pem"),
            *("--progress", "never", "--ledger", "", "--patience", "5", *more),
        ],
        capture_output=True,
        text=True,
        timeout=60,
    )


def test_the_sender_delivers_with_its_token(system):
    """Every sample file has a receipt, under the token's name, from the sender's own address."""
    ended = system.logged("receiver", "stream_ended", result="committed")
    networks = inspect(system.container("sender"))["NetworkSettings"]["Networks"]

    assert {"studio"} == {line["token"] for line in ended}
    assert {each["IPAddress"] for each in networks.values()} == {
        line["peer"].rpartition(":")[0] for line in ended
    }
    assert [] == system.logged("receiver", "receiver_open")


def test_a_sender_without_a_token_is_refused(system):
    """It gets 401, says so, and ends at once; the receiver's log has its address and the reason."""
    send = "sender send /audio/voice-mono-16bit.wav --progress never --ledger ''"
    with pytest.raises(CommandFailedError, match="401"):
        inside(system.container("sender"), "sh", "-c", f"unset SENDER_TOKEN_FILE; {send}")

    (line, *_) = system.logged("receiver", "connection_refused")
    assert "no token" in line["reason"]
    assert line["peer"]


@pytest.mark.parametrize("more", [(), ("--token-file", "late.token")], ids=["none", "unknown"])
def test_from_outside_without_a_valid_token(system, folder, more):
    """Without a token that the receivers know, the exit code is 1, and the error says 401."""
    ended = send(
        system, folder, "stranger", *(str(folder / each) if "." in each else each for each in more)
    )

    assert 1 == ended.returncode
    assert "401" in ended.stdout + ended.stderr


def test_the_gateway_speaks_tls_only(system, folder):
    """TLS 1.2 is taken, older versions and plain HTTP are not, and a stranger's CA does not do."""
    host, _, port = system.url.removeprefix("ws://").partition(":")
    trusting = ssl.create_default_context(cafile=str(folder / "ca.pem"))
    trusting.maximum_version = ssl.TLSVersion.TLSv1_2
    with (
        socket.create_connection((host, int(port)), 5) as plain,
        trusting.wrap_socket(plain, server_hostname="localhost") as encrypted,
    ):
        assert "TLSv1.2" == encrypted.version()
    old = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    old.set_ciphers("ALL:@SECLEVEL=0")
    old.check_hostname, old.verify_mode = False, ssl.CERT_NONE
    with pytest.warns(DeprecationWarning, match="TLSv1_1"):
        old.minimum_version = old.maximum_version = ssl.TLSVersion.TLSv1_1
    with (
        socket.create_connection((host, int(port)), 5) as plain,
        pytest.raises(ssl.SSLError, match="(?i)version"),
    ):
        old.wrap_socket(plain)
    with (
        socket.create_connection((host, int(port)), 5) as plain,
        pytest.raises(ssl.SSLCertVerificationError),
    ):
        ssl.create_default_context().wrap_socket(plain, server_hostname="localhost")
    with socket.create_connection((host, int(port)), 5) as plain:
        plain.sendall(b"GET /readyz HTTP/1.0\r\n\r\n")
        assert b"200" not in plain.recv(1000)


def test_tokens_are_replaced_while_receivers_run(system, folder):
    """`make reload` lets a new token in and an old one out; a receiver that dies starts again."""
    archive = ("--token-file", str(folder / "archive.token"))
    late = ("--token-file", str(folder / "late.token"))
    assert 0 == send(system, folder, "before", *archive).returncode

    (folder / "tokens.toml").write_text(table("studio", "late"))  # in place: it is mounted
    reload = [shutil.which("make") or "make", "reload"]
    subprocess.run(reload, cwd=ROOT, env=system.env, check=True, timeout=60)
    for replica in system.containers("receiver"):
        until(
            lambda replica=replica: [each["event"] for each in events(replica)],
            lambda seen: "receiver_reloaded" in seen,
            10,
            "reloading in the log",
        )

    assert 0 == send(system, folder, "after", *late).returncode
    assert 1 == send(system, folder, "again", *archive).returncode
    one = min(system.containers("receiver"))
    killing = "[ $(cat $each/comm) = receiver ] && kill -9 ${each#/proc/}"
    killing = f"for each in /proc/[0-9]*; do {killing}; done"
    inside(one, "sh", "-c", f"{killing}; true")
    until(
        lambda: inspect(one)["RestartCount"], lambda seen: seen == 1, 30, "restarts of a receiver"
    )
    system.await_healthy(one)


ENVIRONMENTS = """
for each in /proc/[0-9]*; do
    tr '\\0' '\\n' <$each/environ; tr '\\0' '\\n' <$each/cmdline
done 2>/dev/null; true
"""


def told(system):
    """Yield where, and what: every text in which a token could be seen."""
    for service in SERVICES:
        for container in system.containers(service):
            yield f"log of {service}", docker("logs", container, both=True)
            yield f"inspection of {service}", json.dumps(inspect(container))
            yield f"processes of {service}", inside(container, "sh", "-c", ENVIRONMENTS)
            image = inspect(container)["Image"]
            yield f"image of {service}", docker("image", "inspect", image)
            yield f"history of {service}", docker("history", "--no-trunc", image)
    for replica in system.containers("receiver"):
        yield "metrics of a receiver", inside(replica, "python", "-c", ASK, RECEIVER)
        yield (
            "streams",
            inside(replica, "python", "-c", ASK, RECEIVER.replace("metrics", "streams")),
        )
        yield (
            "metrics of the gateway",
            inside(replica, "python", "-c", ASK, "http://gateway:8404/metrics"),
        )
        yield "store", inside(replica, "sh", "-c", "find /recordings -name '*.json' -exec cat {} +")
    sender = system.container("sender")
    yield "metrics of the sender", inside(sender, "python", "-c", ASK, SENDER_METRICS)
    yield (
        "ledger",
        inside(
            sender,
            "sh",
            "-c",
            "strings=$(tr -cd '[:print:]' </ledger/receipts.db); echo \"$strings\"",
        ),
    )


def test_no_token_is_to_be_seen(system):
    """No log, metric, environment, command line, record or image has a token, or a part of one."""
    texts = [(where, what) for where, what in told(system)]
    everything = "\n".join(what for _, what in texts)

    for where in ("inspection of receiver", "processes of receiver"):  # so it was looked at
        assert "RECEIVER_TOKENS=/run/secrets/receiver_tokens" in dict(texts)[where]
    assert '"token": "studio"' in everything
    assert metrics_of(min(system.containers("receiver")))
    for token in TOKENS.values():
        assert [] == [where for where, what in texts if token in what or token[:12] in what]
