"""What `--help` shows of each command."""

import ast
import re
import shlex
from pathlib import Path

import pytest
from rich.console import Console

import receiver.__main__
import receiver.settings
import sender.__main__
import sender.settings
from sonoduct.runtime.command import run

ROOT = Path(__file__).parents[1]
SERVICES = {"sender": sender.__main__, "receiver": receiver.__main__}
COMMANDS = [(name, command) for name, service in SERVICES.items() for command in service.COMMANDS]
SCRIPTS = re.compile(r"--(?:no|empty)-|[A-Z]+ --[a-z]|env var|\(\)|False|None|`| \d+\.0\]")
"""What the library would show: names for scripts, values as Python writes them, markup."""


def shown(capsys, monkeypatch, name, command):
    """The help of a command, on a wide terminal."""
    app = SERVICES[name].app
    monkeypatch.setattr(app, "_console", Console(width=300))
    assert 0 == run(app, [command, "--help"])
    return capsys.readouterr().out


def headings(text):
    """The titles of the groups, in their order."""
    return re.findall(r"^╭─ (.+?) ─", text, re.MULTILINE)


@pytest.mark.parametrize(("name", "command"), COMMANDS)
def test_help_is_for_people(capsys, monkeypatch, name, command):
    """It begins with the usage, and has no artefacts of the library."""
    text = shown(capsys, monkeypatch, name, command)

    assert text.startswith(f"Usage: {name} {command}")
    assert [] == SCRIPTS.findall(text)


@pytest.mark.parametrize(("name", "command"), COMMANDS)
def test_help_ends_with_examples(capsys, monkeypatch, tmp_path, name, command):
    """Each example is a valid command line of this command."""
    text = shown(capsys, monkeypatch, name, command)
    if command == "devices":  # it has no options
        return
    (tmp_path / "incoming").mkdir()
    (tmp_path / "recordings" / "streams").mkdir(parents=True)
    (tmp_path / "mine.py").write_text("class Voice: ...")
    monkeypatch.chdir(tmp_path)
    monkeypatch.syspath_prepend(tmp_path)
    examples = text.partition("Examples:")[2].strip().splitlines()

    assert examples
    for example in examples:
        program, *arguments = shlex.split(re.split(r"\s{2,}", example.strip())[0])
        assert [name, command] == [program, arguments[0]]
        arguments = ["/dev/stdin" if each == "-" else each for each in arguments]
        SERVICES[name].app.parse_args(arguments, exit_on_error=False, print_error=False)


GROUPS = {
    ("sender", "send"): [
        *("What to send", "The receiver", "Audio", "Output", "Metrics", "How long to try"),
        "State on disk",
        "Limits of decoding",
    ],
    ("sender", "watch"): [
        *("The folder", "The receiver", "Audio", "Output", "Metrics", "How long to try"),
        *("State on disk", "Limits of decoding"),
    ],
    ("sender", "probe"): ["Files", "Output", "Limits of decoding"],
    ("sender", "devices"): [],
    ("receiver", "serve"): [
        *("Listening", "Who may connect", "Encryption", "Storing streams", "Processors"),
        *("Plain clients", "Memory", "Time limits"),
        "Decoding files",
    ],
    ("receiver", "export"): ["Options"],
    ("receiver", "verify"): ["Options"],
    ("receiver", "status"): ["Options"],
    ("receiver", "streams"): ["Options"],
}


@pytest.mark.parametrize(("name", "command"), COMMANDS)
def test_options_stand_in_groups(capsys, monkeypatch, name, command):
    """The important ones come first, and none stands outside of a group."""
    assert GROUPS[name, command] == headings(shown(capsys, monkeypatch, name, command))


def test_defaults_are_readable(capsys, monkeypatch):
    """A size is shown as it can be given, and as people read it; names stand without quotes."""
    text = shown(capsys, monkeypatch, "receiver", "serve")

    assert "[default: 4194304 = 4 MiB]" in text
    assert "[default: levels]" in text
    assert "[default: 22]" in text
    assert "[default: 127.0.0.1]" in text


def meanings(module):
    """The docstring of each field of the settings in *module*."""
    for node in ast.parse(Path(module.__file__).read_text()).body:
        if isinstance(node, ast.ClassDef):
            for field, text in zip(node.body, node.body[1:], strict=False):
                if isinstance(field, ast.AnnAssign) and isinstance(text, ast.Expr):
                    yield field.target.id, " ".join(text.value.value.split())


@pytest.mark.parametrize(("prefix", "service"), [("SENDER", sender), ("RECEIVER", receiver)])
def test_help_and_operations_say_the_same(prefix, service):
    """What an option means is written in one way, in the help and in operations.md."""
    rows = re.findall(
        r"^\| `--[a-z-]+` \| `(\w+)` \| [^|]* \| (.*) \|$",
        (ROOT / "docs" / "operations.md").read_text(),
        re.MULTILINE,
    )
    documented = {(variable, meaning) for variable, meaning in rows if variable.startswith(prefix)}

    helped = {
        (f"{prefix}_{field.upper()}", meaning) for field, meaning in meanings(service.settings)
    }
    assert helped == documented
