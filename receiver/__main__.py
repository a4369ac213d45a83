"""The command ``receiver``. Modules are loaded when a command needs them: they take 0.3 s."""

from __future__ import annotations

import sys
from importlib.metadata import version
from typing import Final

from sonoduct.runtime.command import command_line, examples, run

app = command_line("receiver", version("sonoduct"), "Turns streams of audio into numpy arrays.")

COMMANDS: Final = {
    "serve": (
        "Receive streams until SIGTERM or Ctrl-C, then send the senders to other receivers.",
        examples(
            "receiver",
            "store",
            ("receiver serve", "store streams in ./recordings, and measure levels"),
            ("receiver serve --processors levels --processors mine:Voice", "with your own"),
            ("receiver serve --store none", "process, and store nothing"),
        ),
    ),
    "export": (
        "Write a playable file of any stream, finished or not; 1 if it is damaged.",
        examples(
            "receiver",
            "store",
            ("receiver export 2bd1", "the stream whose id begins so, as WAV"),
            ("receiver export 2bd1 --output a.flac", "as FLAC"),
        ),
    ),
    "verify": (
        "Check every journal and recording of a store; 1 if anything is damaged.",
        examples(
            "receiver", "store", ("receiver verify --store recordings", "while a receiver runs")
        ),
    ),
    "status": (
        "Show what replicas do, until Ctrl-C; with --once 1 if one of them does not answer.",
        examples(
            "receiver",
            "interval",
            ("receiver status", "the receiver on this machine"),
            ("receiver status receiver", "every replica that DNS names, in Compose"),
            ("receiver status 10.0.0.5:8767 --once", "for a script"),
        ),
    ),
    "streams": (
        "List the connections of replicas, the one furthest behind first.",
        examples(
            "receiver",
            "interval",
            ("receiver streams", "of the receiver on this machine"),
            ("receiver streams receiver --json", "of every replica, for a script"),
        ),
    ),
}
for name, (summary, epilogue) in COMMANDS.items():
    app.command(
        f"receiver.commands:{name}_command", name=name, help=summary, help_epilogue=epilogue
    )


def main() -> None:
    """Run the command that the process's arguments name."""
    sys.exit(run(app, sys.argv[1:]))


if __name__ == "__main__":
    main()
