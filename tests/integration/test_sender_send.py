"""The command `sender send` as a user runs it: exit codes, results, logs, reports."""

import asyncio
import json
import os
import pty
import re
import struct
import termios
from fcntl import ioctl

from tests.support.commands import COMMANDS, sending, sent, started
from tests.support.delivering import delivered
from tests.support.recorder import Recorder, listening
from tests.support.relay import free_port
from tests.support.rights import enterable_folder, without_rights
from tests.support.sounds import noise, same, samples, write


async def test_files_and_folders(tmp_path):
    """Receipts are on standard output, logs on standard error, JSON lines in the report."""
    single = write(tmp_path / "single.flac", 40_000, 2, "PCM_24")
    (tmp_path / "album" / ".trash").mkdir(parents=True)
    album = [write(tmp_path / "album" / f"{number}.WAV", 3000 + number) for number in (2, 1, 3)]
    write(tmp_path / "album" / ".hidden.wav")
    write(tmp_path / "album" / ".trash" / "gone.wav")
    (tmp_path / "album" / "cover.txt").write_text("no audio")
    odd = write(tmp_path / "take 1 [live].wav", 77)
    report, recorder = tmp_path / "report.jsonl", Recorder()
    async with listening(recorder) as running:
        program, code = await sent(
            *("single.flac", "album", "*].wa?", single, "--to", running.url),
            *("--report", report, "--jobs", "1"),
            cwd=tmp_path,
        )
        again, code_again = await sent(
            "single.flac",
            "album",
            cwd=tmp_path,
            env={"SENDER_TO": running.url, "SENDER_REPORT": str(report), "SENDER_JOBS": "2"},
        )

    paths = [single, *sorted(album), odd]
    names = [str(path.relative_to(tmp_path)) for path in paths]
    assert (0, 0) == (code, code_again)
    assert names == [take.stream.name for take in recorder.takes]
    for path, take in zip(paths, recorder.takes, strict=True):
        assert same(samples(path), take.samples)
    lines = [json.loads(line) for line in report.read_text().splitlines()]
    assert ["sent"] * 5 + ["known"] * 4 == [line["result"] for line in lines]
    for name, path, line in zip(names, paths, lines, strict=False):
        receipt = line["receipt"]
        row = rf"{re.escape(name)} +sent +{receipt['frames']} .* {receipt['digest']}"
        assert re.search(row, program.out)
        assert len(samples(path)) == receipt["frames"]
        assert line["sent_bytes"] > 0 == line["resent_bytes"] == line["reconnects"]
    first, second, *others = (line["event"] for line in program.log)
    assert ["stream_started", "stream_ended"] * 5 == [first, second, *others[1:]]
    assert "files_left_out" == others[0]
    assert {"path": "album", "kinds": "2 hidden, 1 .txt"}.items() <= program.log[2].items()
    assert "left out: 2 hidden, 1 .txt\n" == program.lines[-1]
    assert {"info"} == {line["level"] for line in program.log}
    assert 4 == again.out.count(" known ")
    assert all(line["sent_bytes"] == 0 for line in lines[5:])


async def test_options(tmp_path):
    """The stream that arrives is the one that the options describe."""
    path = write(tmp_path / "a.wav", 1201)
    recorder = Recorder()
    async with listening(recorder) as running:
        program, code = await sent(
            *(path, "--to", running.url, "--encoding", "f32le", "--chunk-frames", "500"),
            *("--ack", "received", "--realtime", "--speed", "10", "--log-level", "error"),
        )

    assert 0 == code
    assert [500, 500, 201] == [len(block) for block in recorder.takes[0].blocks]
    assert same(samples(path), recorder.takes[0].samples)
    assert [] == program.errors


async def test_wrong_usage(tmp_path):
    """One line names every wrong value, the sender sends nothing, and the exit code is 2."""
    program, code = await sent(
        *(tmp_path, "--to", "http://localhost", "--encoding", "mp3", "--jobs", "0"),
        *("--raw", "s16le:0:1", "--report", tmp_path, "--speed", "-1"),
        env={"SENDER_ACK": "maybe", "SENDER_PATIENCE": "long"},
    )

    assert 2 == code
    assert "" == program.out
    (line,) = program.errors
    assert line.startswith("sender: ")
    for fault in (
        "address 'http://localhost', expected ws://HOST:PORT or wss://HOST:PORT",
        "mp3",
        "s24le",  # one of those expected
        "--jobs",
        ">= 1",
        "'s16le:0:1', expected samplerate 1 to 768000, channels 1 to 64",
        f"{tmp_path}: Is a directory, expected a file to write to",
        "--speed",
        "maybe",
        "durable",
        "long",
    ):
        assert fault in line


async def test_standard_input(tmp_path):
    """The sender takes a whole container or raw samples from a pipe."""
    wav = write(tmp_path / "a.wav", 30_001, 2, "PCM_24")
    floats = noise(20_011, 2)
    report, recorder = tmp_path / "report.jsonl", Recorder()
    async with listening(recorder) as running:
        to = ("--to", running.url, "--report", report)
        for data, arguments in (
            (wav.read_bytes(), ("-",)),
            (floats.tobytes(), ("-", "--raw", "f32le:44100:2")),
            (floats.tobytes()[:-3], ("-", "--raw", "f32le:44100:2")),
        ):
            async with sending(*arguments, *to, stdin=asyncio.subprocess.PIPE) as program:
                program.process.stdin.write(data)
                program.process.stdin.close()
                code = await program.ended()

    container, raw, cut = (json.loads(line) for line in report.read_text().splitlines())
    assert {"standard input"} == {each["name"] for each in (container, raw, cut)}
    assert same(samples(wav), recorder.takes[0].samples)
    assert same(floats, recorder.takes[1].samples)
    assert (44_100, 2) == (raw["receipt"]["samplerate"], raw["receipt"]["channels"])
    assert 1 == code
    assert "standard input: 5 bytes at the end, expected 8 a frame" == cut["error"]
    assert same(floats[:-1], recorder.takes[2].samples)


async def test_standard_input_without_audio_is_an_error(tmp_path):
    """Empty, closed or foreign standard input is an error of one line."""
    report = tmp_path / "report.jsonl"
    (tmp_path / "text").write_text("no audio")
    raw = ("--raw", "s16le:8000:1")
    async with listening(Recorder()) as running:
        for stdin, mode, how, expected in (
            (tmp_path / "text", "rb", (), "standard input: no audio: "),
            ("/dev/null", "rb", raw, "standard input: 0 frames, expected at least 1"),
            (tmp_path / "out", "wb", raw, "standard input: Bad file descriptor, expected samples"),
        ):
            with open(stdin, mode) as file:  # noqa: PTH123
                _, code = await sent(
                    *("-", "--to", running.url, "--report", report, *how), stdin=file
                )

            line = json.loads(report.read_text().splitlines()[-1])
            assert 1 == code
            assert line["error"].startswith(expected)


def read_terminal(master):
    """Return the bytes that come to a pseudo terminal until its other end is closed."""
    text = b""
    while True:
        try:
            data = os.read(master, 65536)
        except OSError:  # how Linux says that the other end is closed
            data = b""
        if not data:
            return text.decode()
        text += data


async def test_terminal(tmp_path):
    """On a terminal, each stream has a bar with its position, its speed and its unsent rest."""
    paths = [write(tmp_path / name, 16_000) for name in ("take [live].wav", "b.wav")]
    recorder = Recorder()
    master, slave = pty.openpty()
    ioctl(slave, termios.TIOCSWINSZ, struct.pack("HHHH", 40, 150, 0, 0))
    env = {name: value for name, value in os.environ.items() if name not in ("COLUMNS", "LINES")}
    async with listening(recorder) as running:
        process = await asyncio.create_subprocess_exec(
            *(COMMANDS / "sender", "send", *[path.name for path in paths], "--to", running.url),
            *("--realtime", "--speed", "2"),
            cwd=tmp_path,
            stdin=slave,
            stdout=slave,
            stderr=slave,
            env=env | {"TERM": "xterm-256color"},
        )
        os.close(slave)
        screen = await asyncio.to_thread(read_terminal, master)
        code = await process.wait()
    os.close(master)

    text = re.sub(r"\x1b\[[0-9;?]*[a-zA-Z]", "", screen)
    bars, table = text[: text.rindex("x real time")], text[text.rindex("x real time") :]
    assert 0 == code
    for path in paths:
        assert re.search(
            rf"{re.escape(path.name)} .*[━╸╺].* 0:00 / 0:01 +[0-9.]+ x +\d+ KiB to", bars
        )
        assert re.search(rf"{re.escape(path.name)} +sent +16000 +1\.00 +\d+ +[0-9a-f]{{32}}", table)
    assert "stream_started" not in text


async def test_bars_without_a_connection(tmp_path):
    """`--progress always` draws without a terminal, and shows that no receiver answers."""
    path = write(tmp_path / "a.wav")
    program, code = await sent(
        *(path, "--to", f"ws://127.0.0.1:{free_port()}", "--connect-timeout", "0.5"),
        *("--progress", "always"),
    )

    assert 1 == code
    assert "no connection" in "".join(program.errors)
    assert "expected some within 0.5 s" in program.out


async def test_unreadable_folders_and_files_are_failures():
    """Each is a failure of its own, and the sender sends the others."""
    recorder = Recorder()
    with enterable_folder() as folder:
        for name in ("a.wav", "closed/b.wav", "c.wav", "open/d.wav"):
            (folder / name).parent.mkdir(exist_ok=True)
            write(folder / name, 100)
        (folder / "closed").chmod(0o000)
        (folder / "c.wav").chmod(0o000)
        (folder / "e.wav").symlink_to("gone")
        async with listening(recorder) as running:
            with without_rights():
                outcomes = await delivered(str(folder), f"{folder}/*/*.wav", to=running.url)

    good = sorted(each.name for each in outcomes if each.good)
    assert [f"{folder}/a.wav", f"{folder}/open/d.wav"] == good
    assert [
        f"{folder}/c.wav: Permission denied",
        f"{folder}/closed: Permission denied",
        f"{folder}/closed: Permission denied",  # by the folder, and by the pattern
        f"{folder}/e.wav: No such file or directory",
    ] == sorted(each.error for each in outcomes if each.error)


async def test_output_and_names_that_are_not_utf_8(tmp_path):
    """The output replaces characters that it cannot show, and does not read markup in names."""
    names = ["[b] :cat: [x].wav", "Привет.wav", "odd?.wav"]
    for number, name in enumerate(names):
        data = os.fsencode(name).replace(b"?", b"\xff")
        write(tmp_path / "a.wav", 100 + number).rename(tmp_path / os.fsdecode(data))
    (tmp_path / os.fsdecode(b"x.\xff")).touch()
    report, recorder = tmp_path / "report.jsonl", Recorder()
    shown = ["Привет.wav".encode("ascii", "backslashreplace").decode(), *names[::2]]
    async with listening(recorder) as running:
        for encoding in ("ascii", "latin-1:strict", "utf-8"):
            program, code = await sent(
                *(".", "--to", running.url, "--report", report, "--progress", "always"),
                env={"PYTHONIOENCODING": encoding},
                cwd=tmp_path,
            )
            rows = [re.split("  +", line)[0] for line in program.lines[1:-1]]

            assert 0 == code, program.errors
            assert sorted([names[1] if encoding == "utf-8" else shown[0], *shown[1:]]) == sorted(
                rows
            )
            assert "left out: 1 .jsonl, 1 .?\n" == program.lines[-1]
            assert "Traceback" not in "".join(program.errors)

    assert set(names) == {take.stream.name for take in recorder.takes}
    assert set(names) == {json.loads(line)["name"] for line in report.read_text().splitlines()}


async def test_progress_that_cannot_be_shown(tmp_path):
    """If standard error is on a full disk, the stream and the table still complete."""
    path, recorder = write(tmp_path / "a.wav"), Recorder()
    command = '"$0" send "$1" --to "$2" --progress always --ledger "" 2> /dev/full'
    async with listening(recorder) as running:
        arguments = (COMMANDS / "sender", path, running.url)
        async with started("/bin/sh", "-c", command, *map(str, arguments)) as program:
            code = await program.ended()

    assert (0, 1) == (code, len(recorder.finished))
    assert str(path) in program.out


async def test_results_that_cannot_be_shown(tmp_path):
    """If standard output or the report is on a full disk, the streams have still arrived."""
    path, recorder = write(tmp_path / "a.wav"), Recorder()
    command = '"$0" send "$1" --to "$2" --progress never --ledger "" $3 > /dev/full'
    async with listening(recorder) as running:
        for number, options in enumerate(("", "--report /dev/full")):
            arguments = (COMMANDS / "sender", path, running.url, options)
            async with started("/bin/sh", "-c", command, *map(str, arguments)) as program:
                code = await program.ended()

            assert number == code
            assert "standard output: No space left on device\n" == program.errors[-1]
            assert not any("Traceback" in line for line in program.errors)

    assert 1 == len(recorder.finished)
