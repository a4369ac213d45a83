"""Command line and environment from one definition."""

import errno
import io
import os
import sys
from dataclasses import dataclass
from typing import Annotated

import pytest
from cyclopts import Parameter
from cyclopts.validators import Number

from sonoduct.runtime.command import Output, command_line, run


@Parameter(name="*")
@dataclass(frozen=True, kw_only=True)
class Settings:
    """Two fields that can be wrong alone, and together."""

    low: Annotated[int, Parameter(validator=Number(gte=0))] = 1
    high: int = 5

    def __post_init__(self):
        if self.low > self.high:
            raise ValueError(f"low {self.low}, expected at most {self.high}")


@pytest.fixture(name="seen")
def _seen():
    return []


@pytest.fixture(name="app")
def _app(seen):
    app = command_line("thing", "1.2", "Does things.")

    @app.command
    def go(settings: Settings | None = None):
        seen.append(settings or Settings())
        return 7

    @app.command
    def stop():
        raise KeyboardInterrupt

    return app


def test_the_command_gives_the_exit_code(app, seen):
    """The process exits with the number that the command returns."""
    assert 7 == run(app, ["go", "--low", "2"])
    assert [Settings(low=2)] == seen


def test_environment_variables_set_options(app, seen, monkeypatch):
    """THING_LOW stands for --low, and the command line overrides it."""
    monkeypatch.setenv("THING_LOW", "3")
    monkeypatch.setenv("THING_HIGH", "9")

    assert 7 == run(app, ["go", "--high", "4"])
    assert [Settings(low=3, high=4)] == seen


def test_all_faults_are_reported_together(app, monkeypatch, capsys):
    """One line names every fault of the command line and of the environment."""
    monkeypatch.setenv("THING_HIGH", "tall")

    assert 2 == run(app, ["go", "--low", "-1"])
    error = capsys.readouterr().err
    assert "-1" in error
    assert "THING_HIGH" in error
    assert "tall" in error
    assert 1 == error.count("\n")


def test_fields_that_disagree_are_a_fault(app, capsys):
    """If two options contradict each other, that is a fault of usage."""
    assert 2 == run(app, ["go", "--low", "6"])
    assert "thing: low 6, expected at most 5\n" == capsys.readouterr().err


def test_unknown_option_is_usage(app, seen, capsys):
    """If an option is unknown, no command runs, and the exit code is 2."""
    assert 2 == run(app, ["go", "--wide", "6"])
    assert "--wide" in capsys.readouterr().err
    assert [] == seen


def test_interrupt_is_130(app):
    """If a command does not catch Ctrl-C, the exit code is the shell's 130."""
    assert 130 == run(app, ["stop"])


@pytest.fixture(name="printing")
def _printing(app):
    @app.command
    def show(text: str):
        """Show П."""
        for stream in (sys.stdout, sys.stderr):
            print(text, file=stream)

    return app


def streams(monkeypatch, encoding, errors="strict"):
    """Replace standard output and error; return the bytes that are written to each."""
    written = io.BytesIO(), io.BytesIO()
    for name, buffer in zip(("stdout", "stderr"), written, strict=True):
        stream = io.TextIOWrapper(buffer, encoding, errors, write_through=True)
        monkeypatch.setattr(sys, name, stream)
    return written


@pytest.mark.parametrize(
    ("encoding", "errors", "shown"),
    [
        ("ascii", "strict", b"\\xe9\\u041f\\udcff\n"),
        ("ascii", "surrogateescape", b"\\xe9\\u041f\\udcff\n"),
        ("latin-1", "strict", b"\xe9\\u041f\\udcff\n"),
        ("utf-8", "strict", b"\xc3\xa9\xd0\x9f\\udcff\n"),
        ("ascii", "replace", b"???\n"),  # the user has asked for it
    ],
)
def test_missing_characters_are_replaced(monkeypatch, printing, encoding, errors, shown):
    """No output of a command ends in an error of encoding."""
    out, error = streams(monkeypatch, encoding, errors)
    run(printing, ["show", "é\u041f\udcff"])

    assert (shown, shown) == (out.getvalue(), error.getvalue())


def test_usage_and_help_in_another_encoding(monkeypatch, printing):
    """In errors of usage and in help, characters that the output lacks are replaced."""
    out, error = streams(monkeypatch, "ascii")

    assert 2 == run(printing, ["show", "a", "--wide\u041f"])
    assert b"--wide\\u041f" in error.getvalue()
    assert 0 == run(printing, ["show", "--help"])
    assert b"Show \\u041f." in out.getvalue()


def test_without_standard_output(monkeypatch, printing):
    """If the process has no standard output, the command works."""
    for name in ("stdout", "stderr"):
        monkeypatch.setattr(sys, name, None)

    assert 0 == run(printing, ["show", "a"])


@pytest.mark.parametrize("gone", [False, True], ids=["full", "reader gone"])
def test_output_that_cannot_be_written(gone):
    """If the output cannot be written, it is dropped, and the failure is remembered."""
    if gone:
        reader, descriptor = os.pipe()
        os.close(reader)
    else:
        descriptor = os.open("/dev/full", os.O_WRONLY)
    try:
        output = Output(descriptor)
        counts = [output.write(b"one"), output.write(b"three")]

        assert [3, 5] == counts
        assert (errno.EPIPE if gone else errno.ENOSPC) == output.failure.errno
        assert (descriptor, False, True) == (output.fileno(), output.isatty(), output.writable())
    finally:
        os.close(descriptor)
