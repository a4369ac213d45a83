"""Converted samples arrive as exactly as unconverted ones."""

import asyncio

import numpy as np
import soundfile
import soxr
from prometheus_client import CollectorRegistry

from sender.__main__ import app
from sonoduct.runtime.command import run
from tests.support.clients import connected
from tests.support.commands import outcomes, sending, sent
from tests.support.rawclient import running
from tests.support.recorder import Recorder, listening
from tests.support.relay import Relay
from tests.support.sounds import noise, same, samples, write
from tests.support.waits import recorded

CUTS = (200_000, 0, 90_000, 420, 131_313)


def expected(path, samplerate=16_000):
    """Return the converted samples of a file with two channels at 44.1 kHz."""
    left, right = samples(path).T.astype(np.float64)
    mixed = ((left + right) / 2).astype(np.float32)[:, np.newaxis]
    return soxr.resample(mixed, 44_100, samplerate, "VHQ")


async def test_a_converted_stream_resumes_after_cuts(tmp_path):
    """After each cut, the sender continues with the same converted samples."""
    path = write(tmp_path / "a.wav", 600_000, 2, samplerate=44_100)
    recorder, registry = Recorder(), CollectorRegistry()
    async with (
        listening(recorder) as running,
        Relay(running.port, cuts=CUTS).listen() as proxy,
        connected(
            proxy.url, registry=registry, chunk_frames=999, samplerate=16_000, mono=True
        ) as client,
    ):
        receipt = await client.send(path)

    (take,) = recorder.takes
    assert len(CUTS) + 1 == proxy.accepted
    assert take.gapless
    assert same(expected(path), take.samples)
    assert (16_000, 1) == (receipt.samplerate, receipt.channels)


async def test_a_killed_sender_that_is_started_again(tmp_path):
    """The next run converts again from the first frame, and sends the missing frames."""
    path, store = tmp_path / "a.ogg", tmp_path / "store"
    soundfile.write(path, 0.3 * noise(400_000, 2), 44_100)
    killed = 60_000
    async with running(store=str(store), limits={"reserve_bytes": 0}) as receiver:
        options = (path, "--to", receiver.url, "--mono", "--samplerate", "16000")
        async with sending(*options, "--realtime", "--speed", "20") as program:
            await receiver.until("receiver_frames_total", lambda n: n >= killed)
            program.process.kill()
            await program.ended()
        report = tmp_path / "report.jsonl"
        program, code = await sent(*options, "--report", report)
        done = await recorded(store)

    line = outcomes(report)["a.ogg"]
    assert 0 == code
    assert 0 < line["sent_bytes"] < 4 * (line["receipt"]["frames"] - killed) + 10_000
    assert same(expected(path), samples(done[0]))


async def test_a_live_source_is_converted_before_it_is_kept(tmp_path):
    """A later run completes a killed sender's stream unchanged, despite its own options."""
    data = (noise(300_000, 2) * 2**15).astype("<i2")
    mixed = data.astype(np.float64).mean(axis=1, keepdims=True) / 2**15
    whole = soxr.resample(mixed.astype(np.float32), 44_100, 16_000, "VHQ")
    recorder = Recorder()
    async with listening(recorder) as running:
        options = ("--raw", "s16le:44100:2", "--spool", tmp_path, "--to", running.url)
        how = ("--mono", "--samplerate", "16000")
        async with sending("-", *options, *how, stdin=asyncio.subprocess.PIPE) as program:
            program.process.stdin.write(data.tobytes())
            program.process.stdin.close()
            assert 0 == await program.ended()
        async with sending("-", *options, *how, stdin=asyncio.subprocess.PIPE) as program:
            program.process.stdin.write(data.tobytes())
            await recorder.until(lambda: len(recorder.takes) == 2 and recorder.takes[1].frames)
            program.process.kill()
            await program.ended()
        await sent("-", *options, "--channels", "1")
        complete, killed = recorder.finished

    assert same(whole, complete.samples)
    assert 0 < killed.frames <= len(whole)
    assert same(whole[: killed.frames], killed.samples)


async def test_a_file_that_cannot_be_converted_is_one_error(tmp_path):
    """The sender reports the file, and sends the others."""
    mono, stereo = write(tmp_path / "mono.wav", 100), write(tmp_path / "stereo.wav", 100, 2)
    recorder, report = Recorder(), tmp_path / "report.jsonl"
    async with listening(recorder) as running:
        _, code = await sent(
            *(mono, stereo, "--channels", "2", "--to", running.url, "--report", report)
        )

    assert 1 == code
    assert "channel 2, expected 1 to 1" in outcomes(report)["mono.wav"]["error"]
    assert same(samples(stereo)[:, 1:], recorder.takes[0].samples)


def test_wrong_options_are_reported_together(capsys):
    """The error has each value and its expectation; the sender sends nothing."""
    code = run(app, ["send", "x.wav", "--channels", "0,1", "--samplerate", "0"])

    assert 2 == code
    said = capsys.readouterr().err
    assert "channels '0,1', expected different numbers from 1 to 64" in said
    assert "--samplerate" in said
