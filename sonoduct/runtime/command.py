"""
One definition for a service's command line and its environment.

Every option of ``NAME`` is also the variable ``NAME_OPTION``. All errors are reported together.
"""

from __future__ import annotations

import errno
import io
import os
import re
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, Final, TextIO

from cyclopts import App, ArgumentCollection, CycloptsError, Group
from cyclopts.config import Env

if TYPE_CHECKING:
    from _typeshed import ReadableBuffer
    from cyclopts.help import HelpEntry, HelpPanel
    from rich.console import Console, ConsoleOptions

USAGE: Final = 2
"""Exit code for a wrong command line or environment."""

INTERRUPTED: Final = 130
"""Exit code after SIGINT: 128 + 2, as shells do."""


def command_line(name: str, version: str, summary: str) -> App:
    """Return an application without commands; add them, then call `run`."""
    variables = Env(f"{name.upper()}_", command=False)
    return App(
        name=name,
        help=summary,
        version=version,
        config=[variables, _report_together],
        group_parameters=Group("Options"),
        help_format="plaintext",
        help_formatter=_Help(),
        suppress_keyboard_interrupt=False,  # `run` decides the exit code
    )


def examples(name: str, option: str, *lines: tuple[str, str]) -> str:
    """Return the end of a command's help: how variables are named, and commands with effects."""
    variable = f"{name}_{option}".upper().replace("-", "_")
    text = f"Each option is also a variable, such as {variable} for --{option}.\n\nExamples:\n"
    width = max(len(command) for command, _ in lines)
    return text + "".join(f"\n    {command:{width}}  {effect}" for command, effect in lines)


def keep_standard_streams() -> None:
    """
    Open standard input, output and error on nothing if they are closed.

    A service may be started with one of them closed. The next file or socket that it opens would
    get that number, and messages for people would be written into it.
    """
    for number, name in enumerate(("stdin", "stdout", "stderr")):
        try:
            os.fstat(number)
        except OSError:
            os.open(os.devnull, os.O_RDWR)  # gets the lowest free number: this one
        if getattr(sys, name) is None:
            setattr(sys, name, open(number, "w" if number else "r", closefd=False))  # noqa: SIM115  # for as long as the process lives


class Output(io.RawIOBase):
    """
    Writes to a descriptor until that fails once, and drops everything after that.

    The reader of a pipe may go away, or a disk may be full. The exit code of a command tells what
    the command has done, not whether its output could be written.
    """

    def __init__(self, descriptor: int) -> None:
        self.failure: OSError | None = None
        """Why nothing more is written; None while writing works."""
        self._descriptor = descriptor

    def write(self, data: ReadableBuffer) -> int:
        """Write *data*, or drop it."""
        if self.failure is None:
            try:
                return os.write(self._descriptor, data)
            except OSError as exc:
                self.failure = exc
        return memoryview(data).nbytes

    def fileno(self) -> int:
        """Return the descriptor."""
        return self._descriptor

    def isatty(self) -> bool:
        """Whether it is a terminal."""
        return os.isatty(self._descriptor)

    def writable(self) -> bool:
        """Whether it can be written to: always."""
        return True


@contextmanager
def lossy_output() -> Iterator[None]:
    """
    Replace standard output and standard error by an `Output` each.

    At the end, if standard output could not be written, one line on standard error says so.
    """
    if sys.stdout is not sys.__stdout__ or sys.stderr is not sys.__stderr__:
        yield  # replaced already, as by a test
        return
    before = sys.stdout, sys.stderr
    sys.stdout, output = _lossy(before[0])
    sys.stderr, _ = _lossy(before[1])
    try:
        yield
    finally:
        sys.stdout.flush()
        if output.failure is not None and output.failure.errno != errno.EPIPE:
            print(f"standard output: {output.failure.strerror}", file=sys.stderr)  # noqa: T201
        sys.stderr.flush()
        sys.stdout, sys.stderr = before


def _lossy(stream: TextIO | None) -> tuple[io.TextIOWrapper, Output]:
    assert stream is not None  # see keep_standard_streams
    output = Output(stream.fileno())
    wrapped = io.TextIOWrapper(
        io.BufferedWriter(output),
        encoding=stream.encoding,
        errors=stream.errors,
        line_buffering=stream.isatty() or stream is sys.__stderr__,
    )
    return wrapped, output


def run(app: App, arguments: Sequence[str]) -> int:
    """
    Run the command that *arguments* name; return its exit code.

    After wrong usage, standard error names every error and the exit code is 2.
    """
    keep_standard_streams()
    replace_unprintable()
    with lossy_output():
        return _run(app, arguments)


def _run(app: App, arguments: Sequence[str]) -> int:
    try:
        code = app(
            list(arguments), exit_on_error=False, print_error=False, result_action="return_value"
        )
    except CycloptsError as exc:
        print(f"{app.name[0]}: {_sentence(exc)}", file=sys.stderr)  # noqa: T201  # before logs
        return USAGE
    except ImportError as exc:
        if not isinstance(exc.__cause__, ModuleNotFoundError):
            raise
        service, package = app.name[0], exc.__cause__.name  # an extra that is not installed
        print(  # noqa: T201  # before logs
            f"{service}: the package {package} is missing: pip install 'sonoduct[{service}]'",
            file=sys.stderr,
        )
        return USAGE
    except KeyboardInterrupt:
        return INTERRUPTED
    return code if isinstance(code, int) else 0


def replace_unprintable() -> None:
    r"""
    Let standard output and error write ``\u…`` for a character that their encoding does not have.

    By default Python raises an error, and the rest of the output is lost. If the user has chosen
    (``PYTHONIOENCODING=latin-1:replace``), that choice stays.
    """
    for stream in (sys.stdout, sys.stderr):  # None if the process was started without it
        if isinstance(stream, io.TextIOWrapper) and stream.errors in ("strict", "surrogateescape"):
            stream.reconfigure(errors="backslashreplace")


class _Help:
    """Draws the help. The library's own formatter is loaded when it is needed: it takes 50 ms."""

    def __call__(self, console: Console, options: ConsoleOptions, panel: HelpPanel) -> None:
        """Draw one group of options or commands."""
        from cyclopts.help.formatters import DefaultFormatter

        if panel.format == "parameter":
            panel = panel.copy(entries=[_readable(entry) for entry in panel.entries])
        DefaultFormatter()(console, options, panel)

    def render_usage(self, console: Console, options: ConsoleOptions, usage: Any) -> None:
        """Draw the first line."""
        from cyclopts.help.formatters import DefaultFormatter

        DefaultFormatter().render_usage(console, options, usage)


def _readable(entry: HelpEntry) -> HelpEntry:
    """
    Return *entry* without the names that only scripts need, and with a readable default.

    The library shows `PATHS --paths`, `--realtime --no-realtime`, `--url --empty-url`, and the
    variable of each option, which the end of the help explains once. It also keeps the line breaks
    of docstrings, and their backticks.
    """
    from rich.text import Text

    text = entry.description.primary_renderable
    if isinstance(text, Text):
        plain = " ".join(text.plain.replace("`", "").split())
        entry.description.primary_renderable = Text(plain)
    default = entry.default
    if default in ("()", "False"):
        default = None
    elif default and re.fullmatch(r"\d+\.0", default):
        default = default.removesuffix(".0")
    elif default and any(name.endswith("-bytes") for name in entry.positive_names):
        default = f"{default} = {_size(int(default))}"
    elif default and default.startswith("("):
        default = " ".join(re.findall("'(.*?)'", default))
    return entry.copy(
        positive_names=() if entry.positional_label else entry.positive_names,
        negative_names=(),
        env_var=None,
        default=default,
    )


def _size(size: int) -> str:
    """Return *size* bytes in the largest binary unit of which they are a whole number."""
    units = ("bytes", "KiB", "MiB", "GiB")
    power = next(power for power in (3, 2, 1, 0) if size % 1024**power == 0)
    return f"{size // 1024**power} {units[power]}"


def _report_together(_app: App, _commands: tuple[str, ...], arguments: ArgumentCollection) -> None:
    """Convert every given value, so that one run reports every error."""
    faults = [_fault(argument.convert_and_validate) for argument in arguments]
    # A dataclass with a wrong value repeats that value's error.
    distinct = list(dict.fromkeys(fault for fault in faults if fault))
    if distinct:
        raise CycloptsError(msg="; ".join(distinct), verbose=False)


def _fault(convert: Callable[[], object]) -> str:
    try:
        convert()
    except CycloptsError as exc:
        return _sentence(exc)
    except ValueError as exc:  # from a dataclass whose fields disagree
        return str(exc)
    return ""


def _sentence(error: CycloptsError) -> str:
    error.verbose = False
    return str(error).rstrip(".")
