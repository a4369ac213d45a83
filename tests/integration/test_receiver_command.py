"""The command `receiver` as a process of its own."""

import signal
import socket
import time
import urllib.request

import pytest

from sonoduct import wire
from tests.support.commands import COMMANDS, started
from tests.support.rawclient import digest, sound, speaking

HANGING = """
import time

class Hanging:
    def open(self, stream): pass
    def process(self, samples, offset): time.sleep(3600)
    def close(self): pass
"""


FREE = {
    "RECEIVER_HOST": "127.0.0.1",
    "RECEIVER_PORT": "0",
    "RECEIVER_METRICS_PORT": "0",
    "RECEIVER_DRAIN_LEAD": "0",
}
"""Free ports, and no wait for load balancers."""


def serving(*options, env=None):
    """Run `receiver serve`."""
    command = (COMMANDS / "receiver", "serve", *map(str, options))
    return started(*command, env=FREE | (env or {}))


async def test_sigterm_ends_the_receiver_with_exit_code_0():
    """The receiver logs its address, sends its peers elsewhere after SIGTERM, and exits with 0."""
    async with serving() as program:
        ready = await program.said("receiver_ready")
        async with speaking(ready["url"]) as client:
            await client.greet()
            await client.send(sound(2000))
            program.interrupt(signal.SIGTERM)
            code, _reason = await client.closed()

        assert 0 == await program.ended()

    assert 1012 == code
    assert 2000 == client.outbound.received
    assert isinstance(client.heard[-1], wire.Drain)
    events = [line["event"] for line in program.log]
    assert ["receiver_ready", "stream_opened", "receiver_draining"] == events[:3]
    assert "receiver_stopped" == events[-1]
    assert "" == program.out


async def test_a_stream_through_the_command():
    """The receiver logs one event at a stream's start and one at its end; /metrics counts it."""
    payload = sound(16_000)
    async with serving() as program:
        ready = await program.said("receiver_ready")
        async with speaking(ready["url"], name="a file") as client:
            await client.greet()
            await client.send(payload)
            receipt = await client.commit()
        ended = await program.said("stream_ended")
        scraped = urllib.request.urlopen(f"http://127.0.0.1:{ready['metrics_port']}/metrics")
        with scraped:
            lines = scraped.read().decode().splitlines()
        with urllib.request.urlopen(f"{scraped.url}?name[]=receiver_draining") as answer:
            one = answer.read().decode().splitlines()
        program.interrupt(signal.SIGINT)

        assert 0 == await program.ended()

    assert digest(payload) == receipt.digest
    assert {"peak_dbfs", "rms_dbfs", "clipped_frames"} == set(receipt.processors["levels"])
    assert ("committed", "a file", 16_000) == (ended["result"], ended["name"], ended["frames"])
    events = [line["event"] for line in program.log]
    assert (1, 1) == (events.count("stream_opened"), events.count("stream_ended"))
    name = f'replica="{socket.gethostname()}"'
    assert [f"receiver_draining{{{name}}} 0.0"] == one[2:]
    assert f'receiver_streams_total{{{name},result="committed"}} 1.0' in lines
    assert f"receiver_frames_total{{{name}}} 16000.0" in lines
    assert f'receiver_log_lines_total{{level="error",{name}}} 0.0' in lines
    assert {f"process_resident_memory_bytes{{{name}}}", f"process_open_fds{{{name}}}"} <= {
        line.rpartition(" ")[0] for line in lines
    }
    assert {socket.gethostname()} == {line["replica"] for line in program.log}
    assert [] == [line for line in lines if "_created" in line]


@pytest.mark.parametrize("option", ["--port", "--metrics-port"])
async def test_a_port_in_use_is_an_error_of_one_line(option):
    """If another program has the port, the exit code is 1, and there is no traceback."""
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        async with serving(option, port) as program:
            code = await program.ended()

    (line,) = program.log
    assert (1, "receiver_failed", "error") == (code, line["event"], line["level"])
    assert "address already in use" in line["reason"].lower()
    assert option != "--port" or str(port) in line["reason"]


async def test_all_faults_in_the_settings_are_reported_together():
    """Wrong options and wrong variables are all on standard error, and the exit code is 2."""
    env = {
        "RECEIVER_WORKERS": "0",
        "RECEIVER_MEMORY_BYTES": "1000",
        "RECEIVER_PROCESSORS": "nope no.module:Class",
        "RECEIVER_LOG_LEVEL": "loud",
    }
    faults = ("--port", "x", "--channels", "65", "--recording", "tape")
    async with serving(*faults, env=env) as program:
        code = await program.ended()

    said = "".join(program.errors)
    assert 2 == code
    assert 1 == len(said.splitlines())
    for word in (
        "port",
        "channels",
        "recording",
        "workers",
        "memory-bytes 1000",
        "processor 'nope'",
        "no.module",
        "log_level",
    ):
        assert word in said.lower(), word


async def test_every_option_is_also_a_variable():
    """A variable of the environment sets an option; the command line wins over it."""
    env = {
        "RECEIVER_CHUNK_BYTES": "2048",
        "RECEIVER_WINDOW_BYTES": "131072",
        "RECEIVER_PROCESSORS": "receiver.processors.levels:Levels",
        "RECEIVER_WORKERS": "99",
    }
    async with serving("--workers", "1", env=env) as program:
        ready = await program.said("receiver_ready")
        async with speaking(ready["url"]) as client:
            opened = await client.greet()
        program.interrupt(signal.SIGTERM)

        assert 0 == await program.ended()

    assert (2048, 65_536) == (opened.max_chunk, opened.window)  # half, without a store


async def test_it_ends_in_time_although_a_processor_hangs(tmp_path):
    """After SIGTERM the receiver exits with 0 within drain_timeout, although a processor hangs."""
    (tmp_path / "hanging.py").write_text(HANGING)
    options = ("--processors", "hanging:Hanging", "--drain-timeout", "0.5")
    async with serving(*options, env={"PYTHONPATH": str(tmp_path)}) as program:
        ready = await program.said("receiver_ready")
        async with speaking(ready["url"]) as client:
            await client.greet()
            await client.send(sound(100))
            await client.acknowledged()
            await client.say(client.outbound.eos())
            await (await client.connection.ping())
            began = time.monotonic()
            program.interrupt(signal.SIGTERM)
            code, _reason = await client.closed()

            assert 0 == await program.ended()
            assert time.monotonic() - began < 4

    assert 1012 == code
    assert "receiver_stopped" == program.log[-1]["event"]


async def test_the_version():
    """`receiver --version` prints the version."""
    async with started(COMMANDS / "receiver", "--version") as program:
        assert 0 == await program.ended()

    assert "0.1.0\n" == program.out
