"""The gateway limits the connections of one client address; other addresses are not affected."""

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
LET_IN = 8
"""How many more the gateway takes, to tell them why they are refused."""


@pytest.fixture(name="limited", scope="module")
def _limited(tmp_path_factory):
    with running(
        tmp_path_factory.mktemp("limited"), GATEWAY_CLIENT_CONNECTIONS=str(ALLOWED)
    ) as system:
        yield system


def status(url):
    """Return the status of a well-behaved request."""
    try:
        return urllib.request.urlopen(url, timeout=5).status
    except urllib.error.HTTPError as exc:
        return exc.code


def silent(port):
    """Open a connection that sends nothing."""
    connection = socket.create_connection(("127.0.0.1", port), timeout=3)
    connection.setblocking(False)
    return connection


def cut(connection):
    """Return whether the gateway cut the connection; an admitted one gets 408 after a while."""
    try:
        return connection.recv(1, socket.MSG_PEEK) == b""
    except BlockingIOError:
        return False
    except ConnectionResetError:
        return True


def test_a_client_that_takes_too_much_is_refused(limited):
    """It gets 429 if it sends a request, and a cut if it is silent; metrics still answer."""
    port = int(limited.url.rpartition(":")[2])
    ready = f"http://127.0.0.1:{port}/readyz"
    assert 200 == status(ready)
    with ExitStack() as stack:
        for _ in range(ALLOWED + 2):
            stack.enter_context(silent(port))
        # The engine's own proxy connects to the gateway a moment after it was connected to.
        until(lambda: status(ready), lambda seen: seen == 429, 3, "status while there are too many")
        # That proxy may also change their order: so it is unknown which are let in.
        more = [stack.enter_context(silent(port)) for _ in range(20)]
        fewest = len(more) - LET_IN

        until(lambda: sum(map(cut, more)), lambda seen: seen >= fewest, 4, "silent ones cut")
        assert metrics_of(limited.container("receiver"), "http://gateway:8404/metrics")
