"""Command line and environment from one definition."""

from dataclasses import dataclass
from typing import Annotated

import pytest
from cyclopts import Parameter
from cyclopts.validators import Number

from runtime.command import command_line, run


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


def test_exit_code_is_the_commands(app, seen):
    """What a command returns is what the process exits with."""
    assert 7 == run(app, ["go", "--low", "2"])
    assert [Settings(low=2)] == seen


def test_environment_is_the_other_way_to_say_it(app, seen, monkeypatch):
    """THING_LOW is --low, and the command line wins."""
    monkeypatch.setenv("THING_LOW", "3")
    monkeypatch.setenv("THING_HIGH", "9")

    assert 7 == run(app, ["go", "--high", "4"])
    assert [Settings(low=3, high=4)] == seen


def test_all_faults_are_reported_together(app, monkeypatch, capsys):
    """One run shows everything that is wrong, wherever it was said."""
    monkeypatch.setenv("THING_HIGH", "tall")

    assert 2 == run(app, ["go", "--low", "-1"])
    error = capsys.readouterr().err
    assert "-1" in error
    assert "THING_HIGH" in error
    assert "tall" in error
    assert 1 == error.count("\n")


def test_fields_that_disagree_are_a_fault(app, capsys):
    """What only the whole can know is usage, too."""
    assert 2 == run(app, ["go", "--low", "6"])
    assert "thing: low 6, expected at most 5\n" == capsys.readouterr().err


def test_unknown_option_is_usage(app, seen, capsys):
    """Nothing runs if a word is not understood."""
    assert 2 == run(app, ["go", "--wide", "6"])
    assert "--wide" in capsys.readouterr().err
    assert [] == seen


def test_interrupt_is_130(app):
    """Ctrl-C where nothing listens to it has the shell's exit code."""
    assert 130 == run(app, ["stop"])
