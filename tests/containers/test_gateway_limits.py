"""One client address may have so many connections at the gateway, and others do not notice."""

import socket
import urllib.error
import urllib.request
from contextlib import ExitStack

import pytest

from tests.containers.deadlines import until
from tests.containers.metrics import metrics_of
from tests.containers.system import running

pytestmark = pytest.mark.containers

ALLOWED = 20


@pytest.fixture(name="limited", scope="module")
def _limited(tmp_path_factory):
    with running(
        tmp_path_factory.mktemp("limited"), GATEWAY_CLIENT_CONNECTIONS=str(ALLOWED)
    ) as system:
        yield system


def status(url):
    """The status that a polite client gets."""
    try:
        return urllib.request.urlopen(url, timeout=5).status
    except urllib.error.HTTPError as exc:
        return exc.code


def silent(port):
    """A connection that says nothing."""
    return socket.create_connection(("127.0.0.1", port), timeout=3)


def test_a_client_that_takes_too_much_is_refused(limited):
    """With 429 as long as it speaks, by a cut if it is silent; metrics are answered meanwhile."""
    port = int(limited.url.rpartition(":")[2])
    ready = f"http://127.0.0.1:{port}/readyz"
    assert 200 == status(ready)
    with ExitStack() as stack:
        for _ in range(ALLOWED + 2):
            stack.enter_context(silent(port))
        # The engine's own proxy connects to the gateway a moment after it was connected to.
        until(lambda: status(ready), lambda seen: seen == 429, 3, "status while there are too many")
        for _ in range(20):
            stack.enter_context(silent(port))
        cut = stack.enter_context(silent(port))

        assert not cut.recv(1), "it is ended, or reset, long before the gateway's own timeout"
        assert metrics_of(limited.container("receiver"), "http://gateway:8404/metrics")
