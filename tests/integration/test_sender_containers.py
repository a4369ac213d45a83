"""Containers on standard input: an ffmpeg reads the pipe and decodes them as they come."""

import asyncio
import io
import json
import os
import subprocess
import tempfile
from contextlib import suppress
from pathlib import Path

import numpy as np
import pytest
import soundfile
from structlog.testing import capture_logs

from sender import opening
from sender.jobs.send import STANDARD_INPUT
from tests.support.commands import sending, sent
from tests.support.delivering import delivered
from tests.support.recorder import Recorder, listening
from tests.support.sounds import noise, same
from tests.support.waits import until

FRAMES = 60_000
EXACT = (
    *(("WAV", subtype) for subtype in ("PCM_U8", "FLOAT", "ULAW")),
    *(("AU", "PCM_16"), ("AIFF", "PCM_24"), ("W64", "PCM_16"), ("FLAC", "PCM_24")),
)
LOSSY = (
    *("-c:a libmp3lame -f mp3", "-c:a libopus -f webm", "-c:a aac -f mpegts"),
    "-c:a aac -movflags empty_moov -f mp4",
)


def container(form="WAV", subtype="PCM_16", frames=FRAMES):
    """Return noise in a container, and the samples that soundfile reads from it."""
    file = io.BytesIO()
    soundfile.write(file, 0.5 * noise(frames, 2), 44_100, subtype, format=form)
    file.seek(0)
    return file.getvalue(), soundfile.read(file, dtype="float32", always_2d=True)[0]


def ffmpeg(*options, data):
    """Return the samples that ffmpeg decodes from *data*."""
    command = ("ffmpeg", "-v", "error", "-i", "pipe:0", *options, "pipe:1")
    return subprocess.run(command, input=data, capture_output=True, check=True).stdout


@pytest.fixture(name="piped")
def _piped(monkeypatch):
    """Return a function that sends bytes through a pipe; it returns the takes and the outcome."""

    async def piped(data, **settings):
        reading, writing = os.pipe()
        monkeypatch.setattr(opening, "DESCRIPTOR", reading)
        recorder = Recorder()
        with open(reading, "rb"):  # noqa: PTH123
            writer = asyncio.create_task(asyncio.to_thread(fill, writing, data))
            async with listening(recorder) as running:
                (outcome,) = await delivered(STANDARD_INPUT, to=running.url, **settings)
        await writer
        return recorder, outcome

    return piped


def fill(descriptor, data):
    """Write *data* to a pipe and close it; stop if its reader leaves."""
    with suppress(BrokenPipeError), open(descriptor, "wb") as pipe:  # noqa: PTH123
        pipe.write(data)


@pytest.mark.parametrize(("form", "subtype"), EXACT)
async def test_lossless_containers_arrive_exactly(piped, form, subtype):
    """Lossless containers travel in the smallest encoding that holds their samples."""
    data, expected = container(form, subtype)
    recorder, outcome = await piped(data)

    assert outcome.good
    assert same(expected, recorder.takes[0].samples)


@pytest.mark.parametrize("options", LOSSY)
async def test_lossy_containers_arrive_as_ffmpeg_decodes_them(piped, options):
    """The decoder's own samples arrive, at the decoder's samplerate."""
    data = ffmpeg(*options.split(), data=container()[0])
    decoded = np.frombuffer(ffmpeg("-f", "f32le", "-c:a", "pcm_f32le", data=data), "<f4")
    recorder, outcome = await piped(data)

    assert outcome.good
    assert same(decoded.reshape(-1, 2), recorder.takes[0].samples)


async def test_the_beginning_arrives_before_the_end_is_written():
    """The receiver gets frames while the writer still writes."""
    data, expected = container("FLAC", frames=600_000)
    recorder = Recorder()
    async with listening(recorder) as running:
        options = ("-", "--to", running.url)
        async with sending(*options, stdin=asyncio.subprocess.PIPE) as program:
            program.process.stdin.write(data[: len(data) // 2])
            await recorder.until(lambda: recorder.takes and recorder.takes[0].frames > 200_000)
            program.process.stdin.write(data[len(data) // 2 :])
            program.process.stdin.close()
            code = await program.ended()

    assert 0 == code
    assert same(expected, recorder.takes[0].samples)


async def test_a_killed_sender_has_kept_the_decoded_frames(tmp_path):
    """A later run completes the stream, with any standard input of its own."""
    data, expected = container(frames=600_000)
    recorder = Recorder()
    async with listening(recorder) as running:
        options = ("-", "--to", running.url, "--spool", tmp_path)
        async with sending(*options, stdin=asyncio.subprocess.PIPE) as program:
            program.process.stdin.write(data[: len(data) // 2])
            await recorder.until(lambda: recorder.takes and recorder.takes[0].frames > 100_000)
            program.process.kill()
            await program.ended()
        await sent(*options)
        (received,) = recorder.finished

    assert received.gapless
    assert 100_000 < received.frames <= 300_000
    assert same(expected[: received.frames], received.samples)


async def test_a_container_is_converted(piped):
    """`--mono` and `--samplerate` apply to containers as to raw samples."""
    data, expected = container()
    recorder, outcome = await piped(data, channels="2")

    assert outcome.good
    assert same(expected[:, 1:], recorder.takes[0].samples)


def index_last():
    """Return an MP4 as most programs write it: its index follows its samples."""
    with tempfile.NamedTemporaryFile(suffix=".m4a") as file:
        ffmpeg("-c:a", "aac", "-y", file.name, "-f", "null", data=container(frames=600_000)[0])
        return Path(file.name).read_bytes()


@pytest.mark.parametrize(
    ("make", "reason"),
    [
        (bytes, "Invalid data found when processing input"),
        (lambda: b"no audio at all" * 10_000, "Invalid data found when processing input"),
        (lambda: container(frames=0)[0], ""),
        (lambda: container("CAF")[0], "Invalid data found when processing input"),
        (index_last, "partial file"),
    ],
    ids=["nothing", "text", "no frames", "CAF", "index last"],
)
async def test_input_that_ffmpeg_cannot_read_from_a_pipe_is_refused(piped, make, reason):
    """One line has the reason and a remedy; no stream starts at the receiver."""
    recorder, outcome = await piped(make())

    assert "failed" == outcome.result
    assert outcome.error.startswith(f"standard input: {reason}")
    assert outcome.error.endswith("send it as a file")
    assert "\n" not in outcome.error
    assert [] == recorder.takes


async def test_a_container_that_changes_its_format(piped):
    """The stream ends at the change with an error; the earlier frames have arrived."""
    twice = [
        ffmpeg("-ar", rate, "-c:a", "libmp3lame", "-f", "mp3", data=container()[0])
        for rate in ("44100", "22050")
    ]
    recorder, outcome = await piped(b"".join(twice))

    assert "failed" == outcome.result
    assert "another samplerate or other channels from frame 6" in outcome.error
    assert recorder.takes[0].frames > FRAMES


async def test_without_ffmpeg_the_sender_reads_to_the_end_first(piped, tmp_path):
    """The formats of libsndfile arrive; for others, the error says what to install."""
    data, expected = container()
    without = str(tmp_path / "none")
    with capture_logs() as log:
        recorder, outcome = await piped(data, ffmpeg=without)
    matroska = ffmpeg("-c:a", "libopus", "-f", "webm", data=data)
    _, failed = await piped(matroska, ffmpeg=without)

    assert ("sent", "failed") == (outcome.result, failed.result)
    assert same(expected, recorder.takes[0].samples)
    assert "input_read_to_its_end_first" in [line["event"] for line in log]
    assert "needs ffmpeg" in failed.error


async def test_a_file_as_standard_input_can_be_sent_again(tmp_path):
    """A file as standard input is not a pipe: the same bytes are the same stream."""
    path, report = tmp_path / "a.wav", tmp_path / "report.jsonl"
    path.write_bytes(container()[0])
    async with listening(Recorder()) as running:
        for _ in range(2):
            with path.open() as file:
                await sent("-", "--to", running.url, "--report", report, stdin=file)

    assert ["sent", "known"] == [
        line["result"] for line in map(json.loads, report.read_text().splitlines())
    ]


def children(program):
    """Return the processes that *program* has started."""
    tasks = Path(f"/proc/{program.process.pid}/task").glob("*/children")
    return [int(pid) for task in tasks for pid in task.read_text().split()]


@pytest.mark.parametrize("begun", [False, True])
async def test_an_interrupt_ends_the_decoder(begun):
    """An interrupt also ends the decoder, even while it waits for the first byte."""
    recorder = Recorder()
    async with listening(recorder) as running:
        options = ("-", "--to", running.url)
        async with sending(*options, stdin=asyncio.subprocess.PIPE) as program:
            program.process.stdin.write(container(frames=600_000)[0] if begun else b"")
            started, _ = await until(lambda: children(program))
            if begun:
                await recorder.until(lambda: recorder.takes)
            program.interrupt()
            code = await program.ended()

    assert 130 == code
    assert 1 == len(started)
    assert not Path(f"/proc/{started[0]}").exists()
