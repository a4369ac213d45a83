"""The command line of `sender`, and the faults that it finds before anything is sent."""

import pytest

from sender.__main__ import app
from sonoduct.runtime.command import run


@pytest.fixture(autouse=True)
def _clean(monkeypatch):
    for name in ("TO", "ACK", "JOBS", "RAW"):
        monkeypatch.delenv(f"SENDER_{name}", raising=False)


@pytest.mark.parametrize(
    ("arguments", "faults"),
    [
        (["send"], ["nothing to send, expected PATH, --url or --device"]),
        (["fly", "a.wav"], ["fly"]),
        (["send", "a.wav", "--colour", "red"], ["--colour"]),
        (["send", "a.wav", "--to"], ["--to"]),
        (["send", "a.wav", "--encoding", "mp3"], ["mp3", "auto", "s16le", "s24le", "f32le"]),
        (["send", "a.wav", "--ack", "maybe"], ["maybe", "received", "durable"]),
        (["send", "a.wav", "--protocol", "http"], ["http", "sonoduct", "plain"]),
        (["send", "a.wav", "--progress", "often"], ["often", "auto", "always", "never"]),
        (["send", "a.wav", "--jobs", "many"], ["--jobs", "many", "int"]),
        (["send", "a.wav", "--jobs", "1001"], ["--jobs", "1001", "<= 1000"]),
        (["send", "a.wav", "--chunk-frames", "-1"], ["--chunk-frames", "-1", ">= 0"]),
        (["send", "a.wav", "--patience", "0"], ["--patience", "0", "> 0"]),
        (["send", "a.wav", "--connect-timeout", "soon"], ["--connect-timeout", "soon", "float"]),
        (
            ["send", "a.wav", "--raw", "s16:1:1"],
            ["'s16:1:1', expected s16le|s24le|f32le:"],
        ),
        (["send", "a.wav", "--report", "/no/r"], ["/no/r: No such file or directory, expected"]),
        (["watch", "folder", "--settle", "-1"], ["--settle", "-1", ">= 0"]),
        (["watch", "folder", "--metrics-port", "65536"], ["65536", "<= 65535"]),
        (["watch", ".", "--protocol", "plain"], ["--protocol"]),
        (["watch", "gone"], ["gone: No such file or directory, expected a folder"]),
        (["watch", "x" * 300], ["File name too long, expected a folder"]),
        (["watch", __file__], [f"{__file__} is no folder, expected one"]),
    ],
)
def test_wrong_usage_is_one_line_and_exit_code_2(capsys, arguments, faults):
    """The line names the option or the value that is wrong, and the expected one."""
    assert 2 == run(app, arguments)
    out, error = capsys.readouterr()

    assert "" == out
    assert error.startswith("sender: ")
    assert 1 == error.count("\n")
    for fault in faults:
        assert fault in error


@pytest.mark.parametrize(
    "address",
    *(
        [
            "http://h:1",
            "h:1",
            "ws://",
            "ws://:1",
            "ws://h:0",
            "ws://h:65536",
            "ws://h:x",
            "ws://[::1",
        ],
    ),
)
def test_addresses(capsys, address):
    """Only ws://HOST:PORT and wss://HOST:PORT are addresses."""
    assert 2 == run(app, ["send", "a.wav", "--to", address])
    expected = f"address {address!r}, expected ws://HOST:PORT or wss://HOST:PORT"
    assert expected in capsys.readouterr().err


def test_help_names_every_option(capsys):
    """`--help` shows options and variables, `--version` the version, and both exit with 0."""
    assert 0 == run(app, ["send", "--help"])
    out = capsys.readouterr().out
    for option in ("--to", "--encoding", "--jobs", "--ack", "--protocol", "--report", "--realtime"):
        assert option in out
    assert "SENDER_TO" in out
    assert 0 == run(app, ["--version"])
    assert "0.1.0\n" == capsys.readouterr().out
