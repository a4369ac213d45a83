"""The command ``sender``. Modules are loaded when a command needs them: they take 0.3 s."""

from __future__ import annotations

import sys
from importlib.metadata import version
from typing import Final

from sonoduct.runtime.command import command_line, run

app = command_line(
    "sender", version("sonoduct"), "Streams audio to a receiver: exactly once, with a receipt."
)
COMMANDS: Final = {
    "send": "Send files, folders, patterns, live input; 0 only if every stream has its receipt.",
    "probe": "Print what files are, and how they would be decoded; 0 only if all can be.",
    "devices": "List the audio devices that can be sent from, for `sender send --device`.",
    "watch": "Send what lies in a folder, then what appears in it, until SIGTERM or Ctrl-C.",
}
for name, summary in COMMANDS.items():
    app.command(f"sender.commands:{name}_command", name=name, help=summary)

STANDARD_INPUT: Final = {"-": "/dev/stdin"}
"""A lone "-" is an option to the parser."""


def main() -> None:
    """Run the command that the process's arguments name."""
    sys.exit(run(app, [STANDARD_INPUT.get(each, each) for each in sys.argv[1:]]))


if __name__ == "__main__":
    main()
