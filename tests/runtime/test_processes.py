"""What can only be seen of a process from outside: logs, signals, health."""

import asyncio
import http.server
import json
import signal
import subprocess
import sys
import threading
import urllib.request

import pytest
from prometheus_client import CollectorRegistry, Counter

from runtime.exposition import metrics_endpoint
from runtime.lag import LoopLag

PATIENCE_S = 20

LOGGING = """
import logging, structlog
from runtime.logs import configure
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
import asyncio, time
from runtime.signals import stop_event
async def main():
    with stop_event() as stop:
        print("ready", flush=True)
        await stop.wait()
        print("stopping", flush=True)
        if HANG:
            await asyncio.sleep(60)
asyncio.run(main())
"""


def python(program):
    """Start *program* in an interpreter of its own."""
    return subprocess.Popen(
        [sys.executable, "-c", program], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    )


def test_logs_are_one_json_object_a_line_without_locals():
    """Ours and the libraries' records look alike; debug and a library's info are left out."""
    with python(LOGGING) as process:
        _, errors = process.communicate(timeout=PATIENCE_S)
    lines = [json.loads(line) for line in errors.splitlines()]

    assert ["first", "second", "third"] == [line["event"] for line in lines]
    assert ["info", "warning", "error"] == [line["level"] for line in lines]
    assert 3 == lines[0]["frames"]
    assert "ZeroDivisionError" in errors
    assert "hunter2" not in errors


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_signal_stops_and_the_same_one_at_once_changes_nothing(number):
    """The event is set once; a signal that arrives twice ends nothing early."""
    with python(WAITING.replace("HANG", "False")) as process:
        assert "ready\n" == process.stdout.readline()
        process.send_signal(number)
        process.send_signal(number)
        out, errors = process.communicate(timeout=PATIENCE_S)

    assert ("stopping\n", "", 0) == (out, errors, process.returncode)


def test_a_second_signal_after_a_while_ends_the_process():
    """Whoever presses Ctrl-C twice does not want to wait."""
    with python(WAITING.replace("HANG", "True")) as process:
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
    """The exit code is the answer, and a failure says why."""
    with http.server.HTTPServer(("127.0.0.1", 0), Answer) as server:
        threading.Thread(target=server.handle_request, daemon=True).start()
        url = f"http://127.0.0.1:{server.server_port}/{path}"
        run = subprocess.run(
            [sys.executable, "-m", "runtime.health", url],
            capture_output=True,
            text=True,
            timeout=PATIENCE_S,
        )

    assert code == run.returncode
    assert ("503" in run.stderr) == bool(code)


def test_metrics_are_served_and_the_port_is_freed():
    """A scrape sees the registry while the context is open, and nothing after it."""
    registry = CollectorRegistry()
    Counter("things", "Things.", registry=registry).inc(3)
    with metrics_endpoint(registry, "127.0.0.1", 0) as port:
        url = f"http://127.0.0.1:{port}/metrics"
        page = urllib.request.urlopen(url, timeout=PATIENCE_S).read().decode()

    assert "things_total 3.0" in page
    with pytest.raises(OSError, match="refused"):
        urllib.request.urlopen(url, timeout=PATIENCE_S)


async def test_lag_is_how_late_the_loop_wakes_up(monkeypatch):
    """A callback that keeps the loop busy shows."""
    monkeypatch.setattr("runtime.lag.INTERVAL_S", 0.01)
    asyncio.get_running_loop().slow_callback_duration = 10  # asyncio's own warning is not the point
    lag = LoopLag()
    watching = asyncio.create_task(lag.watch())
    async with asyncio.timeout(PATIENCE_S):
        while lag.seconds < 0.1:
            await asyncio.sleep(0)
            threading.Event().wait(0.2)
    watching.cancel()

    assert 0.1 <= lag.seconds < PATIENCE_S
