"""Folders in which strangers put files: honest ones arrive, and nothing from elsewhere does."""

import asyncio
import os
import socket
import threading
from contextlib import contextmanager
from pathlib import Path

import pytest

from sender.errors import SourceError
from sender.jobs.find import find_files, walk
from sender.opening import open_file
from sender.settings import Settings
from sender.sources.within import open_regular
from tests.support.commands import sent, watching
from tests.support.rawclient import running
from tests.support.recorder import Recorder, listening
from tests.support.sounds import same, samples, write

ODD = {
    "not UTF-8": b"a\xff\xfe.wav",
    "lines": b"two\nlines\r.wav",
    "escapes": b"\x1b]0;title\x07\x9b31m.wav",
    "direction": "gpj\u202evaw.\u2066.wav".encode(),
    "255 bytes": b"x" * 251 + b".wav",
    "a dash": b"--to=ws.wav",
    "markup": b"[bold]{x} %s $(id) :smile:.wav",
    "spaces": b"  .wav",
}


def put(folder, name):
    """Write 100 frames to the file *name*, bytes, in *folder*."""
    path = Path(os.fsdecode(os.fsencode(folder) + b"/" + name))
    return write(folder / "made.wav", 100 + len(name)).rename(path)


@contextmanager
def hostile(folder, secret):
    """Fill *folder* with what no sender should read or stop at: twelve kinds of entries."""
    (folder / "link.wav").symlink_to(secret)
    (folder / "chain.wav").symlink_to("link.wav")
    (folder / "loop.wav").symlink_to("loop.wav")
    (folder / "folder").symlink_to(secret.parent)
    (folder / "device.wav").symlink_to("/dev/zero")
    (folder / "proc.wav").symlink_to("/proc/self/environ")
    (folder / "nowhere.wav").symlink_to("/nowhere/at.wav")
    os.mkfifo(folder / "pipe.wav")
    (folder / "empty.wav").touch()
    (folder / "text.wav").write_text("RIFF")
    (folder / "huge.wav").touch()
    os.truncate(folder / "huge.wav", 2**40)
    deep = folder
    for _ in range(40):
        deep /= "d" * 50
        deep.mkdir()
    with socket.socket(socket.AF_UNIX) as listener:
        at = Path.cwd()
        os.chdir(folder)  # the address of a socket is short
        listener.bind("socket.wav")
        os.chdir(at)
        yield


@pytest.fixture(name="secret")
def _secret(tmp_path):
    (tmp_path / "elsewhere").mkdir()
    return write(tmp_path / "elsewhere" / "secret.wav", 4321)


@pytest.fixture(name="folder")
def _folder(tmp_path):
    folder = tmp_path / "folder"
    folder.mkdir()
    return folder


@pytest.mark.parametrize("encoding", ["auto", "file"])
async def test_a_hostile_folder_that_is_watched(tmp_path, folder, secret, encoding):
    """The watcher lives, each odd name arrives as one line, and nothing from elsewhere is sent."""
    recorder = Recorder()
    odd = [put(folder, name) for name in ODD.values()]
    with hostile(folder, secret):
        # A disk without limits would send the holes of a huge file for hours.
        (folder / "huge.wav").unlink()
        async with (
            running(recorder, store=str(tmp_path / "store"), limits={"reserve_bytes": 0}) as served,
            watching(folder, served.url, "--encoding", encoding) as program,
        ):
            await program.said("stream_ended", len(odd), result="sent")
            late = write(folder / "late.wav", 77)
            await program.said("stream_ended", name=str(late), result="sent")
            program.interrupt()
            code = await program.ended()

    assert 0 == code
    assert len(odd) + 1 == len(recorder.finished)
    names = [take.stream.name for take in recorder.finished]
    assert all(name.isprintable() for name in names)
    assert any(name.endswith("/a??.wav") for name in names)
    assert all("elsewhere" not in name for name in names)
    frames = [*(100 + len(name) for name in ODD.values()), 77]
    assert sorted(frames) == sorted(take.frames for take in recorder.finished)
    left = [line["kinds"] for line in program.log if line["event"] == "files_left_out"]
    assert "link out of the folder" in left[0]


async def test_a_hostile_folder_that_is_sent(folder, secret):
    """Each bad file has one line; the honest ones arrive, and the exit code is 1."""
    recorder = Recorder()
    odd = [put(folder, name) for name in ODD.values()]
    with hostile(folder, secret):
        (folder / "huge.wav").unlink()
        async with listening(recorder) as served:
            program, code = await sent(folder, "--to", served.url)

    assert 1 == code
    assert len(odd) == len(recorder.finished)
    assert all(line.rstrip("\n").isprintable() for line in program.lines)
    assert "link out of the folder" in program.out


async def test_a_link_on_the_command_line_is_followed(folder, secret):
    """The user named it."""
    recorder = Recorder()
    link = folder / "link.wav"
    link.symlink_to(secret)
    (folder.parent / "linked").symlink_to(folder)
    write(folder / "a.wav", 50)
    async with listening(recorder) as served:
        _, code = await sent(link, folder.parent / "linked", "--to", served.url)

    assert 0 == code
    assert [50, 4321] == sorted(take.frames for take in recorder.finished)
    assert any(same(samples(secret), take.samples) for take in recorder.finished)


async def test_links_that_the_user_wants_followed(folder, secret):
    """Files and folders behind links are sent, each once, and loops end."""
    recorder = Recorder()
    (folder / "link.wav").symlink_to(secret)
    (folder / "up").symlink_to(folder.parent)
    write(secret.parent / "other.wav", 99)
    async with listening(recorder) as served:
        _, code = await sent(folder, "--follow-links", "--to", served.url)

    assert 0 == code
    assert [99, 4321] == sorted(take.frames for take in recorder.finished)


def test_links_within_the_folder_are_taken(folder, secret):
    """They lead to what is sent anyway, or may be."""
    write(folder / "a.wav", 10)
    (folder / "b.wav").symlink_to("a.wav")
    (folder / "c.wav").symlink_to(secret)

    assert ["a.wav", "b.wav"] == [path.name for path in walk(folder).files]
    assert {"link out of the folder": 1} == walk(folder).left_out
    assert 10 == open_file(folder / "b.wav", Settings(), folder=folder).units


@pytest.mark.parametrize("encoding", ["auto", "file"])
def test_a_match_of_a_pattern_is_not_followed(folder, secret, encoding):
    """A pattern names no file; it finds files in a folder."""
    (folder / "link.wav").symlink_to(secret)
    (folder / "below").symlink_to(secret.parent)
    for pattern in ("*.wav", "*/secret.wav"):
        found = find_files(f"{folder}/{pattern}")
        for path in found.files:
            with pytest.raises(SourceError, match="a link out of .*expected --follow-links"):
                open_file(path, Settings(encoding=encoding), folder=found.folder)
        assert found.files


@pytest.mark.parametrize("what", ["file", "folder"])
def test_a_link_that_is_made_after_the_check(folder, secret, monkeypatch, what):
    """The file is opened from the folder on, step by step, without a link in between."""
    below = folder / "below"
    below.mkdir()
    path = write(below / "secret.wav", 10)

    real = os.path.realpath

    def swap(which):
        found = real(which)
        if which == path:  # the link is made as soon as the path is known to be good
            if what == "file":
                path.unlink()
                path.symlink_to(secret)
            else:
                below.rename(folder / "before")
                below.symlink_to(secret.parent)
        return found

    monkeypatch.setattr("sender.sources.within.os.path.realpath", swap)

    with pytest.raises((OSError, ValueError), match="no regular file|Not a directory"):
        open_regular(path, folder)


def test_a_file_that_is_swapped_all_the_time(folder, secret):
    """However often it is opened, what is read is the honest file."""
    path, ended = folder / "a.wav", threading.Event()
    honest = write(folder / "honest.wav", 10)
    size = honest.stat().st_size

    def swap():
        while not ended.is_set():
            os.link(honest, folder / "next")
            (folder / "next").rename(path)
            (folder / "next").symlink_to(secret)
            (folder / "next").rename(path)

    swapping = threading.Thread(target=swap)
    swapping.start()
    seen = set()
    try:
        for _ in range(3000):
            try:
                handle = open_regular(path, folder)
            except (OSError, ValueError):
                continue
            seen.add(os.fstat(handle).st_size)
            os.close(handle)
    finally:
        ended.set()
        swapping.join()

    assert {size} == seen


@pytest.mark.parametrize("kind", ["fifo", "device"])
def test_what_is_no_file_is_not_opened(tmp_path, monkeypatch, kind):
    """Opening some devices does something."""
    path = Path("/dev/null")
    if kind == "fifo":
        os.mkfifo(path := tmp_path / "pipe.wav")
    monkeypatch.setattr("sender.sources.within.os.open", lambda *_: pytest.fail("opened"))

    with pytest.raises(ValueError, match="no regular file"):
        open_regular(path)


async def test_files_that_come_and_go_while_a_folder_is_watched(folder):
    """A file that vanishes or grows under the sender's hands ends nothing."""
    recorder, ended = Recorder(), threading.Event()

    def stir():
        while not ended.is_set():
            write(folder / "moving.wav", 100)
            (folder / "moving.wav").rename(folder / "moved.wav")
            (folder / "moved.wav").unlink()
            with (folder / "growing.wav").open("ab") as file:
                file.write(b"RIFF" * 10)

    async with listening(recorder) as served, watching(folder, served.url, settle="0") as program:
        await program.said("sender_watching")
        stirring = asyncio.create_task(asyncio.to_thread(stir))
        honest = [write(folder / f"{number}.wav", 100 + number) for number in range(5)]
        for path in honest:
            await program.said("stream_ended", name=str(path), result="sent")
        ended.set()
        await stirring
        program.interrupt()
        code = await program.ended()

    assert 0 == code
    assert {100, 101, 102, 103, 104} <= {take.frames for take in recorder.finished}
