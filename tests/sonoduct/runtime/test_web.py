"""The endpoint of metrics: few connections, few scrapes, and a web configuration file."""

import base64
import gzip
import json
import socket
import ssl
import threading
import time
import urllib.request
from http.client import HTTPException
from urllib.error import HTTPError

import bcrypt
import pytest
import trustme
from prometheus_client import CollectorRegistry, Gauge
from prometheus_client.core import GaugeMetricFamily

from sonoduct.runtime import web
from sonoduct.runtime.metrics import FRESH_S, Labelled, Site, metrics_endpoint
from sonoduct.runtime.web import CONNECTIONS, Gate, Query
from sonoduct.runtime.webconfig import read_web_config

HASH = bcrypt.hashpw(b"secret", bcrypt.gensalt(4)).decode()


def got(port, path="/metrics", *, tls=None, host="127.0.0.1", **headers):
    """Return the status, the headers and the body of an answer."""
    named = {name.replace("_", "-"): value for name, value in headers.items()}
    scheme = "https" if tls else "http"
    request = urllib.request.Request(f"{scheme}://{host}:{port}{path}", headers=named)
    try:
        with urllib.request.urlopen(request, timeout=10, context=tls) as answer:
            return answer.status, answer.headers, answer.read()
    except HTTPError as exc:
        with exc:
            return exc.code, exc.headers, exc.read()


def registered():
    """Return a registry with one gauge."""
    registry = CollectorRegistry(auto_describe=True)
    Gauge("one", "One.", registry=registry).set(1)
    return registry


def test_metrics_and_pages():
    """Metrics are at every path but those of pages, compressed if the client takes that."""
    pages = {"/streams": lambda: {"replica": "r"}}
    with metrics_endpoint(registered(), "127.0.0.1", 0, labels={"a": "b"}, pages=pages) as port:
        status, headers, body = got(port)
        _, packed, data = got(port, Accept_Encoding="gzip")
        _, named, only = got(port, "/metrics?name[]=two")
        page = got(port, "/streams")[2]

    assert (200, True) == (status, b'one{a="b"} 1.0' in body)
    assert headers["Content-Type"].startswith("text/plain")
    assert (body, "gzip") == (gzip.decompress(data), packed["Content-Encoding"])
    assert (b"", named["Content-Type"]) == (only.strip(), headers["Content-Type"])
    assert {"replica": "r"} == json.loads(page)


def test_silent_connections_keep_no_scrape_out():
    """200 clients that say nothing take eight threads at most, and give way."""
    before = threading.active_count()
    with metrics_endpoint(registered(), "127.0.0.1", 0) as port:
        silent = []
        most = 0
        for number in range(200):
            peer = socket.create_connection(("127.0.0.1", port))
            silent.append(peer)
            if not number % 100:
                assert 200 == got(port)[0]
            most = max(most, threading.active_count())
        assert 200 == got(port)[0]
        for peer in silent:
            peer.close()

    assert most <= before + 1 + 2 * CONNECTIONS  # those that end are counted for a moment


def test_a_connection_has_a_few_seconds(monkeypatch):
    """One that trickles its request is ended, although a byte comes now and then."""
    monkeypatch.setattr(web, "SECONDS", 0.3)
    monkeypatch.setattr(web, "LOOK_S", 0.05)
    with metrics_endpoint(registered(), "127.0.0.1", 0) as port:
        with socket.create_connection(("127.0.0.1", port)) as peer:
            began = time.monotonic()
            peer.sendall(b"GET / HT")
            peer.settimeout(0.05)
            while not ended(peer):
                assert time.monotonic() - began < 3


def ended(peer):
    """Send one more byte; return whether the other side has ended the connection."""
    try:
        peer.sendall(b"x")
        return not peer.recv(1)
    except TimeoutError:
        return False
    except OSError:
        return True


class _Counting:
    """Collects one gauge, and counts how often."""

    def __init__(self):
        self.looks = 0

    def collect(self):
        """Count."""
        self.looks += 1
        yield GaugeMetricFamily("looks", "Looks.", self.looks)


def test_scrapes_look_ten_times_in_a_second():
    """In between, the last answer is sent again, to every client."""
    counting = _Counting()
    registry = CollectorRegistry()
    registry.register(counting)
    counting.looks = 0
    now = [5.0]
    site = Site(Labelled(registry, {}), {}, clock=lambda: now[0])
    query = Query("/metrics", "", {})

    bodies = {site(query).body for _ in range(50)}
    now[0] += FRESH_S * 1.01
    bodies.add(site(query).body)

    assert (2, 2) == (counting.looks, len(bodies))


def test_other_forms_of_a_fresh_answer_wait_for_their_turn(monkeypatch):
    """A client that asks in ever new ways gets no more looks than others."""
    counting, slept = _Counting(), []
    registry = CollectorRegistry()
    registry.register(counting)
    monkeypatch.setattr("sonoduct.runtime.metrics.time.sleep", slept.append)
    site = Site(Labelled(registry, {}), {}, clock=lambda: 5.0)

    for number in range(20):
        site(Query("/metrics", f"name[]=n{number}", {}))

    assert 19 == len(slept)
    assert all(each == pytest.approx(FRESH_S) for each in slept)


@pytest.mark.parametrize(
    ("host", "status"),
    [("127.0.0.1:8767", 200), ("localhost", 200), ("receiver", 200), ("evil.test", 421)],
)
def test_hosts(host, status):
    """A name that is not listed gets nothing."""
    with metrics_endpoint(registered(), "127.0.0.1", 0, hosts=("receiver",)) as port:
        answer, _, body = got(port, Host=host)

    assert (status, status == 200) == (answer, b"one" in body)


def basic(user, password):
    """Return the header of a user."""
    return "Basic " + base64.b64encode(f"{user}:{password}".encode()).decode()


def test_users_tls_and_a_renewed_file(tmp_path):
    """With the file only its users see metrics, over TLS; a changed file counts at once."""
    ca = trustme.CA()
    issued = ca.issue_cert("127.0.0.1")
    issued.private_key_and_cert_chain_pem.write_to_path(tmp_path / "both.pem")
    config = tmp_path / "web.yml"
    config.write_text(
        "tls_server_config: {cert_file: both.pem, key_file: both.pem}\n"
        f"basic_auth_users:\n  prometheus: {HASH}\n"
    )
    trust = ssl.create_default_context()
    ca.configure_trust(trust)
    with metrics_endpoint(registered(), "127.0.0.1", 0, config=str(config)) as port:
        answers = {
            name: got(port, tls=trust, **({"Authorization": value} if value else {}))[0]
            for name, value in {
                "none": "",
                "right": basic("prometheus", "secret"),
                "wrong": basic("prometheus", "secrets"),
                "unknown": basic("grafana", "secret"),
                "no base64": "Basic %%%",
                "bearer": "Bearer secret",
                "again": basic("prometheus", "secret"),
            }.items()
        }
        with pytest.raises((OSError, HTTPException)):  # it speaks TLS only
            got(port)
        config.write_text(
            "tls_server_config: {cert_file: both.pem, key_file: both.pem}\n# no user\n"
        )
        renewed = got(port, tls=trust)[0]
        config.write_text("tls_server_config: {cert_file: nowhere.pem, key_file: both.pem}\n")
        kept = got(port, tls=trust)[0]

    assert {"right": 200, "again": 200} == {key: v for key, v in answers.items() if v != 401}
    assert (200, 200) == (renewed, kept)


def test_a_renewed_certificate_counts_at_once(tmp_path):
    """The configuration itself need not change."""
    config = tmp_path / "web.yml"
    config.write_text("tls_server_config: {cert_file: both.pem, key_file: both.pem}\n")
    old, new = trustme.CA(), trustme.CA()
    old.issue_cert("127.0.0.1").private_key_and_cert_chain_pem.write_to_path(tmp_path / "both.pem")
    trust = ssl.create_default_context()
    new.configure_trust(trust)
    with metrics_endpoint(registered(), "127.0.0.1", 0, config=str(config)) as port:
        with pytest.raises(OSError, match="CERTIFICATE_VERIFY_FAILED"):
            got(port, tls=trust)
        issued = new.issue_cert("127.0.0.1")
        issued.private_key_and_cert_chain_pem.write_to_path(tmp_path / "both.pem")

        assert 200 == got(port, tls=trust)[0]


def test_guesses_of_an_address_are_few(tmp_path, monkeypatch):
    """To check a password takes long; one that was right is known, and other addresses may try."""
    (tmp_path / "web.yml").write_text(f"basic_auth_users:\n  prometheus: {HASH}\n")
    now, checks = [0.0], []
    real = bcrypt.hashpw
    monkeypatch.setattr(bcrypt, "hashpw", lambda *each: checks.append(1) or real(*each))
    gate = Gate(str(tmp_path / "web.yml"), (), clock=lambda: now[0])

    def refused(password, address):
        headers = {"Host": "localhost", "Authorization": basic("prometheus", password)}
        return gate.refusal(Query("/metrics", "", headers, address)) is not None

    assert not refused("secret", "127.0.0.1")
    assert all(refused(f"guess {number}", "127.0.0.9") for number in range(100))
    assert 1 + web.GUESSES == len(checks)
    assert not refused("secret", "127.0.0.9")  # known by now
    assert not refused("secret", "127.0.0.1")
    assert refused("guess", "127.0.0.2")
    now[0] = 10 * web.GUESS_S
    assert refused("guess", "127.0.0.9")
    assert 3 + web.GUESSES == len(checks)


def test_a_rate_limit(tmp_path):
    """A burst, then one request in each interval."""
    (tmp_path / "web.yml").write_text("rate_limit: {interval: 10s, burst: 3}\n")
    now = [0.0]
    gate = Gate(str(tmp_path / "web.yml"), (), clock=lambda: now[0])
    query = Query("/metrics", "", {"Host": "localhost"})

    first = [gate.refusal(query) is None for _ in range(5)]
    now[0] = 10.0
    then = [gate.refusal(query) is None for _ in range(2)]

    assert [True] * 3 + [False] * 2 == first
    assert [True, False] == then


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("tls_server_confg: {}\n", "unknown field `tls_server_confg`"),
        ("basic_auth_users: {a: secret}\n", "the password of 'a', expected its bcrypt hash"),
        ("rate_limit: {interval: fast}\n", "interval 'fast', expected such as 1s"),
        ("rate_limit: {burst: 0}\n", "Expected `int` >= 1"),
        ("a: [\n", "no YAML, line 2"),
        ("tls_server_config: {cert_file: a, key_file: b}\n", "No such file"),
        (
            "tls_server_config: {cert_file: a, key_file: b, min_version: TLS10}\n",
            "min_version 'TLS10', expected TLS12 or TLS13",
        ),
        (
            "tls_server_config: {cert_file: a, key_file: b, client_auth_type: Ask}\n",
            "client_auth_type 'Ask'",
        ),
    ],
)
def test_a_file_that_is_not_valid(tmp_path, text, expected):
    """The error names the file, the place and what is expected; no password is in it."""
    path = tmp_path / "web.yml"
    path.write_text(text)
    with pytest.raises(ValueError, match=expected) as raised:
        read_web_config(path)

    assert str(path) in str(raised.value)
    assert "secret" not in str(raised.value)
