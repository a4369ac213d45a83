"""Logs are lines in JSON, and no work waits for them."""

import errno
import fcntl
import json
import logging
import os
import subprocess
import sys

import pytest
import structlog

from sonoduct.runtime.logs import LogLimit, LogStream, configure


@pytest.fixture
def pipe():
    """The reading and the writing end of a pipe that holds one page."""
    reader, writer = os.pipe()
    fcntl.fcntl(writer, fcntl.F_SETPIPE_SZ, 4096)
    yield reader, writer
    for each in (reader, writer):
        try:
            os.close(each)
        except OSError as exc:
            assert errno.EBADF == exc.errno


@pytest.fixture(autouse=True)
def _as_before():
    yield
    structlog.reset_defaults()


def test_lines_are_json(pipe):
    """Each event is one object with a level and a time."""
    reader, writer = pipe
    configure("info", LogStream(writer))
    structlog.get_logger().info("something_happened", name="Übung \udcff.wav")
    line = json.loads(os.read(reader, 4096).decode(errors="surrogateescape"))

    assert ("something_happened", "info") == (line["event"], line["level"])
    assert "timestamp" in line


def test_a_reader_that_is_gone(pipe):
    """If the reader is gone, the line is lost and counted, without an error."""
    reader, writer = pipe
    os.close(reader)
    stream = LogStream(writer)
    stream.write("one\n")

    assert 1 == stream.lost


def test_a_reader_that_does_not_read(pipe):
    """Lines that do not fit are lost; when there is room again, a line says how many they were."""
    reader, writer = pipe
    stream = LogStream(writer)
    for _ in range(10):
        stream.write("x" * 1000 + "\n")
    lost, there = stream.lost, os.read(reader, 8192)
    stream.write("after\n")
    *_, said, last = os.read(reader, 8192).splitlines()

    assert 0 < lost < 10
    assert there.startswith(b"x" * 1000 + b"\n")
    assert lost == json.loads(said)["lines"]
    assert (b"after", 0) == (last, stream.lost)


def test_a_line_that_was_torn_does_not_spoil_the_next(pipe):
    """If only the beginning of a line fits, the next one still begins on its own line."""
    reader, writer = pipe
    stream = LogStream(writer)
    stream.write("y" * 6000 + "\n")
    os.read(reader, 8192)
    stream.write("after\n")

    assert [b"", b'{"event": "log_lines_lost", "lines": 1, "level": "error"}', b"after"] == os.read(
        reader, 8192
    ).splitlines()


def test_a_disk_that_is_full():
    """If the disk is full, the line is lost and counted, without an error."""
    handle = os.open("/dev/full", os.O_WRONLY)
    try:
        stream = LogStream(handle)
        stream.write("one\n")

        assert 1 == stream.lost
    finally:
        os.close(handle)


PROGRAM = """
import os, sys
from sonoduct.runtime.command import keep_standard_streams
keep_standard_streams()
print("to nobody")
handle = os.open(sys.argv[1], os.O_WRONLY | os.O_CREAT)
os.write(handle, str(handle).encode())
"""


@pytest.mark.parametrize("closed", [0, 1, 2])
def test_a_standard_stream_that_was_closed(tmp_path, closed):
    """A file that is opened later does not get the number of the closed stream."""
    path = tmp_path / "file"
    command = f'exec "$0" -c "$1" "$2" {closed}>&-'
    done = subprocess.run(["/bin/sh", "-c", command, sys.executable, PROGRAM, path], timeout=30)

    assert 0 == done.returncode
    assert int(path.read_text()) > 2


def test_a_flood_of_lines_is_held_back():
    """
    A few lines pass at once, then a fixed number each second.

    The next line that passes says how many were held back.
    """
    now = 0.0
    limit = LogLimit(3, 2.0, lambda: now)
    at_once = [limit.take() for _ in range(5)]
    now = 1.0
    later = [limit.take() for _ in range(3)]

    assert [{}, {}, {}, None, None] == at_once
    assert [{"held_back": 2}, {}, None] == later


def test_lines_are_counted(pipe):
    """By their level, also those of other libraries; lines that are lost are counted as well."""
    reader, writer = pipe
    lines = configure("info", LogStream(writer), replica="north-1")
    log = structlog.get_logger()
    log.info("one", name="a")
    log.error("two")
    log.debug("not logged")
    logging.getLogger("websockets").warning("three")
    text = os.read(reader, 4096).decode()

    assert {"debug": 0, "info": 1, "warning": 1, "error": 1, "critical": 0} == lines.counts
    assert ["timestamp", "level", "event", "replica", "name"] == list(
        json.loads(text.splitlines()[0])
    )
    assert {"north-1"} == {json.loads(line)["replica"] for line in text.splitlines()}


def test_lost_lines_are_counted(monkeypatch):
    """A line that the log cannot take counts as lost."""
    broken, end = os.pipe()
    os.close(broken)
    monkeypatch.setattr("sonoduct.runtime.logs.STANDARD_ERROR", end)
    lines = configure("info")
    structlog.get_logger().info("one")
    os.close(end)

    assert (1, 1) == (lines.lost, lines.counts["info"])


@pytest.mark.parametrize("terminal", [False, True])
def test_fields_that_others_chose(pipe, monkeypatch, terminal):
    """Each text in a line is cleaned, also in a list, in a key and in another library's record."""
    reader, writer = pipe
    stream = LogStream(writer)
    monkeypatch.setattr(LogStream, "isatty", lambda _: terminal)
    configure("info", stream)
    evil = "a\x1b]0;t\x07\u202eb\x9b"
    structlog.get_logger().info("said", name=evil, more={evil: [evil, (evil,)]}, number=1)
    text = os.read(reader, 4096).decode()
    logging.getLogger("another").warning("it said %s", evil)
    text += os.read(reader, 4096).decode()

    assert 5 == text.count("a?]0;t??b?")
    for part in ("\x1b]0", "\x07", "\u202e", "\x9b", "\\u202e", "\\u001b]"):
        assert part not in text
