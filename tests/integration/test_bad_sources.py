"""Files that cannot be sent: the sender prints one clear line for each, and sends the others."""

import asyncio
import json
import os
import re

import pytest
import soundfile

from sender import SourceError
from sender.sources.file import AudioFile
from tests.support.clients import connected
from tests.support.commands import sending, sent
from tests.support.recorder import SMALL, Recorder, listening
from tests.support.relay import Relay
from tests.support.sounds import noise, same, samples, write

NO_AUDIO = "no audio: ffmpeg: Invalid data found when processing input"
TOO_LONG = "x" * 300


def make_bad_ones(folder):
    """Write a bad file of each kind to *folder*; return the expected errors by name."""
    (folder / "text.wav").write_text("no audio")
    (folder / "empty.wav").touch()
    (folder / "text.au").write_text("what libsndfile takes for samples")
    (folder / "samples.raw").write_bytes(bytes(100))
    soundfile.write(folder / "header.wav", noise(0), 16_000)
    os.mkfifo(folder / "pipe.wav")
    (folder / "loop.wav").symlink_to("loop.wav")
    (folder / "gone.wav").symlink_to("nowhere.wav")
    (folder / "folder").mkdir()
    (folder / "folder" / "notes.txt").touch()
    many = write(folder / "many.wav", 10, 2).read_bytes()
    (folder / "many.wav").write_bytes(many[:22] + (65).to_bytes(2, "little") + many[24:])
    return {
        "text.wav": NO_AUDIO,
        "empty.wav": NO_AUDIO,
        "text.au": NO_AUDIO,
        "samples.raw": NO_AUDIO,
        "header.wav": "0 frames, expected at least 1",
        "pipe.wav": "no regular file, expected one",
        "loop.wav": "Too many levels of symbolic links",
        "gone.wav": "No such file or directory",
        "missing.wav": "No such file or directory",
        "folder": "no audio in this folder, expected .aac, .ac3",
        "*.mp3": "no file matches this pattern",
        "many.wav": "",
        TOO_LONG: "File name too long",
    }


async def test_every_bad_file_is_named_and_the_rest_arrives(tmp_path):
    """The table, the log and the report have path and reason of each; the exit code is 1."""
    bad = make_bad_ones(tmp_path)
    good = [
        write(tmp_path / "a.wav"),
        write(tmp_path / "[z].wav"),
        write(tmp_path / "folder2.wav", 7),
        write(tmp_path / "b.wav", 11).rename(os.fsdecode(bytes(tmp_path) + b"/not\xff8.wav")),
    ]
    report, recorder = tmp_path / "report.jsonl", Recorder()
    async with listening(recorder) as running:
        program, code = await sent(
            *(good[0].name, *bad, *(path.name for path in good[1:])),
            *("--to", running.url, "--report", report),
            cwd=tmp_path,
        )

    lines = {line["name"]: line for line in map(json.loads, report.read_text().splitlines())}
    assert 1 == code
    assert len(bad) + len(good) == len(lines)
    for name, reason in bad.items():
        assert ("failed", None) == (lines[name]["result"], lines[name]["receipt"])
        assert lines[name]["error"].startswith(f"{name}: {reason}")
        assert "\n" not in lines[name]["error"]
    assert {path.name.replace("\udcff", "?") for path in good} == {
        name for name, line in lines.items() if line["result"] == "sent"
    }
    assert sorted(len(samples(os.fsencode(path))) for path in good) == sorted(
        take.frames for take in recorder.finished
    )
    logged = {line["name"]: line["error"] for line in program.log if line["level"] == "error"}
    assert {name: lines[name]["error"] for name in bad} == logged
    assert len(bad) == program.out.count(" failed ")
    assert "Traceback" not in program.out


@pytest.mark.skipif(os.geteuid() == 0, reason="root may read everything")
async def test_a_file_that_may_not_be_read(tmp_path):
    """If the sender may not read a file, the error has the operating system's reason."""
    path = write(tmp_path / "a.wav")
    path.chmod(0)
    with pytest.raises(SourceError, match=f"^{path}: Permission denied$"):
        AudioFile(path)


def twin(path):
    """Write another file of the same size and time beside *path*."""
    other = write(path.with_name("b.wav"), 400_000)
    os.utime(other, ns=(path.stat().st_mtime_ns,) * 2)
    return other


@pytest.mark.parametrize(
    ("change", "seen"),
    [
        (lambda path: os.truncate(path, 200_044), 200_044),
        (lambda path: os.truncate(path, 10), 10),
        (lambda path: os.utime(path, (1, 1)), 800_044),
        (lambda path: write(path.with_name("b.wav"), 5).replace(path), 54),
        (lambda path: twin(path).replace(path), 800_044),
    ],
    ids=["truncated", "to nothing", "touched", "replaced", "replaced by one of its size and time"],
)
async def test_a_file_that_changes_while_it_is_read(tmp_path, change, seen):
    """If a file changes while the sender reads it, the sender stops with an error."""
    path = write(tmp_path / "a.wav", 400_000)
    recorder = Recorder()
    recorder.gate.clear()
    async with (
        listening(recorder, **SMALL) as running,
        Relay(running.port).listen() as proxy,
        connected(proxy.url, realtime=True, speed=1e6) as client,  # read in small blocks
    ):
        task = asyncio.create_task(client.send(path))
        await proxy.until(lambda: proxy.passed >= 57_000)  # it waits for credit
        change(path)
        recorder.gate.set()
        with pytest.raises(SourceError) as raised:
            await task

    start, _, expected = str(raised.value).partition(", expected ")
    assert start.startswith(f"{path}: changed while it was read, at frame ")
    assert re.search(rf"inode, size and time \(\d+, {seen}, \d+\)$", start)
    assert re.match(r"\(\d+, 800044, \d+\)$", expected)


async def test_a_file_that_is_truncated_in_a_command(tmp_path):
    """The command reports the file, exits with 1, and sends the next file."""
    path, other = write(tmp_path / "a.wav", 600_000), write(tmp_path / "b.wav", 100)
    recorder = Recorder()
    async with listening(recorder) as running:
        async with sending(
            *(path, other, "--to", running.url, "--realtime", "--jobs", "1", "--speed", "20")
        ) as program:
            await recorder.until(lambda: recorder.takes and recorder.takes[0].frames)
            os.truncate(path, 300_044)
            code = await program.ended()

    assert 1 == code
    assert f"{path}: changed while it was read" in program.log[1]["error"]
    assert [100] == [take.frames for take in recorder.takes[1:]]


@pytest.mark.parametrize("name", ["a.flac", "a.ogg", "a.mp3"])
async def test_a_file_that_is_damaged(tmp_path, name):
    """A damaged file is an error, or the decoder's samples up to the damage arrive."""
    path = tmp_path / name
    soundfile.write(path, 0.3 * noise(100_000), 16_000)
    whole, data = samples(path), path.read_bytes()
    path.write_bytes(data[: len(data) * 2 // 3])
    recorder = Recorder()
    async with listening(recorder) as running, connected(running.url) as client:
        try:
            receipt = await client.send(path)
        except SourceError as exc:
            assert str(exc).startswith(f"{path}: ")
        else:
            expected = whole[: receipt.frames] if name == "a.flac" else samples(path)
            assert same(expected, recorder.takes[0].samples)
            assert 50_000 < receipt.frames < 100_000


async def test_headers_that_lie(tmp_path):
    """If a header claims more or fewer frames than the file has, the file's frames arrive."""
    path = write(tmp_path / "a.wav", 1000)
    data, recorder = path.read_bytes(), Recorder()
    async with listening(recorder) as running, connected(running.url) as client:
        for claimed, expected in ((2**32 - 1, 1000), (4000, 1000), (1000, 500)):
            path.write_bytes(data[:40] + claimed.to_bytes(4, "little") + data[44:])
            receipt = await client.send(path)

            assert expected == receipt.frames
            assert same(samples(path), recorder.takes[-1].samples)
