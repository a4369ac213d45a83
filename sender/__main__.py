"""The command ``sender``. Modules are loaded when a command needs them: they take 0.3 s."""

from __future__ import annotations

import sys
from importlib.metadata import version
from typing import Final

from sonoduct.runtime.command import command_line, examples, run

app = command_line(
    "sender", version("sonoduct"), "Streams audio to a receiver: exactly once, with a receipt."
)

COMMANDS: Final = {
    "send": (
        "Send files, folders, patterns, live input; 0 only if every stream has its receipt.",
        examples(
            "sender",
            "to",
            ("sender send speech.wav", "one file"),
            ("sender send archive 'more/**/*.flac' --jobs 8", "folders and patterns"),
            ("sender send - --raw s16le:16000:1", "samples on standard input"),
            ("sender send --url https://radio.example/live", "a stream from the web"),
            ("sender send --device 2 --to ws://host:8766", "a microphone"),
        ),
    ),
    "watch": (
        "Send the audio files in a folder, then new ones as they appear, until SIGTERM or Ctrl-C.",
        examples(
            "sender",
            "to",
            ("sender watch incoming", "to a receiver on this machine"),
            ("sender watch incoming --to ws://host:8766 --encoding flac", "in fewer bytes"),
        ),
    ),
    "probe": (
        "Print the formats of files, and how they would be decoded; 0 only if all can be.",
        examples(
            "sender",
            "ffmpeg",
            ("sender probe archive", "as each file's header claims"),
            ("sender probe --count --output json a.mp3", "decoded, and counted"),
        ),
    ),
    "devices": ("List the audio devices that can be sent from, with --device.", None),
}
for name, (summary, epilogue) in COMMANDS.items():
    app.command(f"sender.commands:{name}_command", name=name, help=summary, help_epilogue=epilogue)

STANDARD_INPUT: Final = {"-": "/dev/stdin"}
"""The parser takes a lone "-" for an option."""


def main() -> None:
    """Run the command that the process's arguments name."""
    sys.exit(run(app, [STANDARD_INPUT.get(each, each) for each in sys.argv[1:]]))


if __name__ == "__main__":
    main()
