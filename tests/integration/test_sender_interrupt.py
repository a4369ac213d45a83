"""Ctrl-C soon ends the command with 130, at any moment; a second run completes the stream."""

import asyncio
import json
import os
import signal
from contextlib import asynccontextmanager, suppress

import pytest
from prometheus_client import CollectorRegistry

from tests.support.clients import connected
from tests.support.commands import sending, sent, watching
from tests.support.programs import script
from tests.support.recorder import SMALL, Recorder, listening
from tests.support.relay import Relay, free_port
from tests.support.sounds import noise, same, samples, write
from tests.support.waits import until

SOON_S = 5
"""The limit for an interrupted process; every wait of the sender is longer."""


async def interrupted(program, number=signal.SIGINT):
    """Interrupt *program*; return its exit code, which must come soon."""
    program.interrupt(number)
    async with asyncio.timeout(SOON_S):
        return await program.ended()


async def test_while_connecting_to_nothing(tmp_path):
    """The sender ends while no receiver answers."""
    path = write(tmp_path / "a.wav")
    async with sending(path, "--to", f"ws://127.0.0.1:{free_port()}") as program:
        await program.said("retrying")
        code = await interrupted(program)

    assert 130 == code
    assert {"interrupted"} == {
        line["result"] for line in program.log if line["event"] == "stream_ended"
    }
    assert " interrupted " in program.out


async def test_in_the_middle_and_again(tmp_path):
    """The next run continues an interrupted stream; each frame arrives once."""
    path = write(tmp_path / "a.wav", 48_000)
    report, recorder, registry = tmp_path / "report.jsonl", Recorder(), CollectorRegistry()
    async with listening(recorder, registry=registry) as running:
        command = (path, "--to", running.url, "--report", report)
        async with sending(*command, "--realtime") as program:
            await recorder.until(lambda: recorder.takes and recorder.takes[0].frames >= 4096)
            code = await interrupted(program)
        before = recorder.takes[0].frames
        _, code_again = await sent(*command)

    (take,) = recorder.takes
    first, second = (json.loads(line) for line in report.read_text().splitlines())
    assert (130, 0) == (code, code_again)
    assert (("interrupted", None), "sent") == (
        (first["result"], first["receipt"]),
        second["result"],
    )
    assert 4096 <= before < 48_000 == second["receipt"]["frames"]
    assert second["sent_bytes"] < 2 * (48_000 - before) + 1000
    assert take.gapless
    assert same(samples(path), take.samples)
    assert 1 == registry.get_sample_value("receiver_resumes_total")


async def test_while_waiting_for_credit(tmp_path):
    """The sender ends while a hanging processor keeps it waiting for credit."""
    path = write(tmp_path / "a.wav", 200_000)
    recorder = Recorder()
    recorder.gate.clear()
    async with (
        listening(recorder, **SMALL) as running,
        Relay(running.port).listen() as proxy,
    ):
        async with sending(path, "--to", proxy.url) as program:
            await proxy.until(lambda: proxy.passed >= 65_536)
            code = await interrupted(program, signal.SIGTERM)
        recorder.gate.set()
        _, code_again = await sent(path, "--to", proxy.url)

    (take,) = recorder.takes
    assert (130, 0) == (code, code_again)
    assert take.gapless
    assert same(samples(path), take.samples)


async def test_while_nothing_gets_through(tmp_path):
    """The sender ends while the network carries nothing."""
    path = write(tmp_path / "a.wav", 200_000)
    recorder = Recorder()
    async with listening(recorder) as running, Relay(running.port).listen() as proxy:
        async with sending(path, "--to", proxy.url, "--realtime") as program:
            await recorder.until(lambda: recorder.takes and recorder.takes[0].frames)
            proxy.flowing.clear()
            code = await interrupted(program)
        proxy.flowing.set()

    assert 130 == code


async def test_while_standard_input_waits(tmp_path):
    """The sender ends while its standard input is silent, and keeps the stream for a later run."""
    data = noise(8192).tobytes()
    recorder, registry = Recorder(), CollectorRegistry()
    async with listening(recorder, registry=registry) as running:
        raw = ("-", "--raw", "f32le:16000:1", "--to", running.url)
        async with sending(*raw, stdin=asyncio.subprocess.PIPE) as program:
            program.process.stdin.write(data + b"some")
            await recorder.until(lambda: recorder.takes and recorder.takes[0].frames >= 8192)
            code_raw = await interrupted(program)
        async with sending("-", "--to", running.url, stdin=asyncio.subprocess.PIPE) as program:
            program.process.stdin.write(write(tmp_path / "a.wav", 200_000).read_bytes()[:-2])
            await recorder.until(lambda: len(recorder.takes) == 2)  # it is taken as it comes
            code_container = await interrupted(program)

    assert (130, 130) == (code_raw, code_container)
    assert 0 == registry.get_sample_value("receiver_streams_total", {"result": "cancelled"})


def hanging(folder):
    """Write an ffmpeg that never answers, and a file for it."""
    for name in ("bin", "lib"):  # a program may read the libraries beside it
        (folder / name).mkdir()
    program = script(folder / "bin" / "ffmpeg", f"read line < {folder}/lib/gate")
    os.mkfifo(folder / "lib" / "gate")
    (folder / "files").mkdir()
    (folder / "files" / "a.m4a").write_bytes(b"anything")
    return program


@asynccontextmanager
async def asked(folder):
    """Wait until the sender asks ffmpeg about a file."""
    gates = []

    def opened():
        with suppress(OSError):  # ffmpeg has not opened its end
            gates.append(os.open(folder / "lib" / "gate", os.O_WRONLY | os.O_NONBLOCK))
        return gates

    await until(opened, SOON_S)
    try:
        yield
    finally:
        os.close(*gates)


@pytest.mark.parametrize("command", [sending, watching])
async def test_while_a_decoder_hangs(tmp_path, command):
    """The sender ends while a decoder opens a file, and kills the decoder."""
    program = hanging(tmp_path)
    async with listening(Recorder()) as running:
        how = ("--ffmpeg", program)
        start = (
            command(tmp_path / "files", *how, "--to", running.url)
            if command is sending
            else command(tmp_path / "files", running.url, *how)
        )
        async with start as process, asked(tmp_path):
            code = await interrupted(process)

    assert (130 if command is sending else 0) == code


async def test_while_a_decoder_hangs_in_a_program(tmp_path):
    """A program that cancels `send` gets the thread back that opened the file."""
    program = hanging(tmp_path)
    async with connected("ws://127.0.0.1:1", ffmpeg=str(program)) as client:
        task = asyncio.create_task(client.send(tmp_path / "files" / "a.m4a"))
        async with asked(tmp_path):
            task.cancel()
            await asyncio.wait([task])
            async with asyncio.timeout(SOON_S):
                await asyncio.get_running_loop().shutdown_default_executor()

    assert task.cancelled()
