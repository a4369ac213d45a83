"""Processes from outside: logs, signals, health, metrics."""

import asyncio
import http.server
import json
import signal
import socket
import subprocess
import sys
import threading
import urllib.request

import pytest
from prometheus_client import CollectorRegistry, Counter

from sonoduct.runtime import health
from sonoduct.runtime.loop import LoopLag
from sonoduct.runtime.metrics import metrics_endpoint

PATIENCE_S = 20

LOGGING = """
import logging, structlog
from sonoduct.runtime.logs import configure
configure("info")
log = structlog.get_logger()
log.debug("quiet")
log.info("first", frames=3)
logging.getLogger("library").info("quiet")
logging.getLogger("library").warning("second")
secret = "hunter2"
try:
    1 / 0
except ZeroDivisionError:
    log.exception("third")
"""

WAITING = """
import asyncio, sys
from sonoduct.runtime.signals import stop_event
async def main():
    with stop_event() as stop:
        print("ready", flush=True)
        await stop.wait()
        print("stopping", flush=True)
        sys.stdin.readline() if READ else await asyncio.sleep(60)
asyncio.run(main())
"""


def python(program):
    """Start *program* in an interpreter of its own."""
    return subprocess.Popen(
        [sys.executable, "-c", program],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


def test_logs_are_one_json_object_a_line_without_locals():
    """Our records and a library's have the same form; debug and a library's info are left out."""
    with python(LOGGING) as process:
        _, errors = process.communicate(timeout=PATIENCE_S)
    lines = [json.loads(line) for line in errors.splitlines()]

    assert ["first", "second", "third"] == [line["event"] for line in lines]
    assert ["info", "warning", "error"] == [line["level"] for line in lines]
    assert 3 == lines[0]["frames"]
    assert "ZeroDivisionError" in errors
    assert "hunter2" not in errors


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_signal_that_arrives_twice_at_once_counts_once(number):
    """The first signal sets the event; the second one does not end the process early."""
    with python(WAITING.replace("READ", "True")) as process:
        assert "ready\n" == process.stdout.readline()
        process.send_signal(number)
        assert "stopping\n" == process.stdout.readline()
        process.send_signal(number)
        _, errors = process.communicate("go on\n", timeout=PATIENCE_S)

    assert ("", 0) == (errors, process.returncode)


def test_a_second_signal_after_a_while_ends_the_process():
    """If a user presses Ctrl-C again after a while, the process ends at once."""
    with python(WAITING.replace("READ", "False")) as process:
        process.stdout.readline()
        process.send_signal(signal.SIGTERM)
        process.stdout.readline()
        while process.poll() is None:
            process.send_signal(signal.SIGTERM)
            try:
                process.wait(0.1)
            except subprocess.TimeoutExpired:
                continue

    assert -signal.SIGTERM == process.returncode


class Answer(http.server.BaseHTTPRequestHandler):
    """200 for /good, 503 for anything else."""

    def do_GET(self):
        self.send_response(200 if self.path == "/good" else 503)
        self.end_headers()

    def log_message(self, *_arguments):
        pass


@pytest.mark.parametrize(("path", "code"), [("good", 0), ("bad", 1)])
def test_health_asks_a_url(path, code):
    """The exit code is 0 if the answer is good; otherwise it is 1, and the reason is printed."""
    with http.server.HTTPServer(("127.0.0.1", 0), Answer) as server:
        threading.Thread(target=server.handle_request, daemon=True).start()
        url = f"http://127.0.0.1:{server.server_port}/{path}"
        run = subprocess.run(
            [sys.executable, "-m", "sonoduct.runtime.health", url],
            capture_output=True,
            text=True,
            timeout=PATIENCE_S,
        )

    assert code == run.returncode
    assert ("503" in run.stderr) == bool(code)


@pytest.mark.parametrize(
    ("url", "reason"),
    [
        ("http://127.0.0.1:1/healthz", "refused"),
        ("127.0.0.1:8766", "unknown url type"),
        ("http://127.0.0.1:port/", "nonnumeric port"),
    ],
)
def test_health_of_an_absent_server(capsys, url, reason):
    """Every fault is one line and exit code 1."""
    assert 1 == health.main(url)
    error = capsys.readouterr().err
    assert error.startswith(f"{url}: ")
    assert reason in error
    assert 1 == error.count("\n")


def test_health_of_a_port_without_http(capsys):
    """If a port answers with something else, the exit code is 1, and the answer is printed."""
    with socket.create_server(("127.0.0.1", 0)) as server:

        def answer():
            connection, _ = server.accept()
            with connection:
                connection.recv(1000)
                connection.sendall(b"220 mail\r\n\r\n")

        threading.Thread(target=answer, daemon=True).start()
        assert 1 == health.main(f"http://127.0.0.1:{server.getsockname()[1]}")
    assert "220 mail" in capsys.readouterr().err


def test_a_port_that_is_taken():
    """The error names the address and the port."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        port = server.getsockname()[1]
        with (
            pytest.raises(OSError, match=f"metrics on 127.0.0.1:{port}: Address already in use"),
            metrics_endpoint(CollectorRegistry(), "127.0.0.1", port),
        ):
            pass


def test_metrics_are_served_and_the_port_is_freed():
    """While the context is open, the registry is served; afterwards the port is closed."""
    registry = CollectorRegistry()
    Counter("things", "Things.", registry=registry).inc(3)
    with metrics_endpoint(registry, "127.0.0.1", 0) as port:
        url = f"http://127.0.0.1:{port}/metrics"
        page = urllib.request.urlopen(url, timeout=PATIENCE_S).read().decode()

    assert "things_total 3.0" in page
    with pytest.raises(OSError, match="refused"):
        urllib.request.urlopen(url, timeout=PATIENCE_S)


async def test_lag_is_how_late_the_loop_wakes_up(monkeypatch):
    """If a callback keeps the loop busy, the lag shows it."""
    monkeypatch.setattr("sonoduct.runtime.loop.INTERVAL_S", 0.01)
    asyncio.get_running_loop().slow_callback_duration = 10  # without asyncio's own warning
    lag = LoopLag()
    watching = asyncio.create_task(lag.watch())
    async with asyncio.timeout(PATIENCE_S):
        while lag.seconds < 0.1:
            await asyncio.sleep(0)
            threading.Event().wait(0.2)
    watching.cancel()

    assert 0.1 <= lag.seconds < PATIENCE_S
