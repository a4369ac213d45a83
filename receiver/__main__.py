"""The command ``receiver``. Modules are loaded when a command needs them: they take 0.3 s."""

from __future__ import annotations

import sys
from importlib.metadata import version
from typing import Final

from sonoduct.runtime.command import command_line, run

app = command_line("receiver", version("sonoduct"), "Turns streams of audio into numpy arrays.")
COMMANDS: Final = {
    "serve": "Listen for streams until SIGTERM or Ctrl-C, then send the senders elsewhere.",
    "export": "Write a playable file of any stream, finished or not; 1 if it is damaged.",
    "verify": "Check every journal and recording of a store; 1 if anything is damaged.",
}
for name, summary in COMMANDS.items():
    app.command(f"receiver.commands:{name}_command", name=name, help=summary)


def main() -> None:
    """Run the command that the process's arguments name."""
    sys.exit(run(app, sys.argv[1:]))


if __name__ == "__main__":
    main()
