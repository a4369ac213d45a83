"""Streams in real time from a sender on the host, and their outcomes."""

import json
import os
import subprocess
import sys
import wave
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import xxhash

SENDER = Path(sys.executable).parent / "sender"
STREAMS = 60
RATE = 16_000
GRACE_S = 30
"""How long a load may take beyond the length of its streams."""


class Load:
    """A running `sender send --realtime` of WAV files, each with different noise."""

    def __init__(self, folder, url, seconds):
        self.seconds = seconds
        self.files = _write(folder, seconds)
        """What is sent: frames and digest, by the name of the file."""
        self._report = folder / "report.jsonl"
        self._log = folder / "log.jsonl"
        kept = {key: value for key, value in os.environ.items() if not key.startswith("SENDER_")}
        with (folder / "out").open("w") as out, self._log.open("w") as log:
            self._process = subprocess.Popen(
                [
                    *(SENDER, "send", *[folder / name for name in self.files], "--to", url),
                    *("--realtime", "--jobs", str(STREAMS), "--report", self._report),
                ],
                stdin=subprocess.DEVNULL,
                stdout=out,
                stderr=log,
                env=kept,
            )

    @property
    def runs(self):
        """Return whether the sender still runs."""
        return self._process.poll() is None

    def retried(self):
        """Return the names of the streams that have lost a connection so far."""
        lines = [json.loads(line) for line in self._log.read_text().splitlines()]
        return {Path(line["name"]).name for line in lines if line["event"] == "retrying"}

    def outcomes(self):
        """Wait for the end; return the exit code and the report's lines by the file's name."""
        code = self._process.wait(self.seconds + GRACE_S)
        lines = [json.loads(line) for line in self._report.read_text().splitlines()]
        return code, {Path(line["name"]).name: line for line in lines}

    def stop(self):
        """Kill the sender if it still runs."""
        self._process.kill()
        self._process.wait()


@contextmanager
def loaded(folder, url, seconds):
    """Run a load during the context."""
    load = Load(folder, url, seconds)
    try:
        yield load
    finally:
        load.stop()


def assert_arrived(load):
    """
    Require that every stream has a receipt with all of its frames and its file's digest.

    Returns the names of the streams that resumed on another connection.
    """
    code, outcomes = load.outcomes()

    assert [] == [each for each in outcomes.values() if each["result"] != "sent"]
    assert 0 == code
    receipts = {
        name: (each["receipt"]["frames"], each["receipt"]["digest"])
        for name, each in outcomes.items()
    }
    assert load.files == receipts
    return {name for name, each in outcomes.items() if each["reconnects"]}


def _write(folder, seconds):
    files, random = {}, np.random.default_rng()
    for number in range(STREAMS):
        samples = random.integers(-8000, 8000, seconds * RATE, np.int16).astype("<i2").tobytes()
        name = f"{folder.name}-{number:02}.wav"
        with wave.open(str(folder / name), "wb") as file:
            file.setnchannels(1)
            file.setsampwidth(2)
            file.setframerate(RATE)
            file.writeframes(samples)
        files[name] = (seconds * RATE, xxhash.xxh3_128_hexdigest(samples))
    return files
