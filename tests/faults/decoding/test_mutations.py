"""Two thousand damaged files, through every decoder, on either side."""

import hashlib
import json
import os
import signal
from pathlib import Path

import pytest

from sonoduct.audio.decoding import DecodeError, DecodeOptions, Limits, probe
from tests.faults.decoding.tracing import Trace, traced
from tests.faults.storage.tracing import obstacle
from tests.integration.test_mutated_files import place, write_mutations
from tests.support.commands import COMMANDS, outcomes, started
from tests.support.corpus import write
from tests.support.extent import either, percentiles
from tests.support.mutations import BASES, make_bases, mutate
from tests.support.ports import steady_port
from tests.support.waits import ended, until

pytestmark = pytest.mark.faults

BATCH = either(8, 100)

WALL_S = 10
LIMITS = ("--decode-wall-seconds", str(WALL_S), "--decode-cpu-seconds", str(WALL_S))

SLACK_S = 5
"""A child is killed when its reader has waited for so long; it lives while its reader does not."""

PATIENCE_S = 120

SENDER, RECEIVER = COMMANDS / "sender", COMMANDS / "receiver"


class Batch:
    """Some damaged files, and the three programs that read them, each under strace."""

    def __init__(self, folder, number):
        self.folder = folder
        self.files = write_mutations(folder, range(number * BATCH, (number + 1) * BATCH), BASES)
        write(self.files / "99999-good.wav")
        self.paths = sorted(self.files.iterdir())
        self.kept = folder / "kept"  # a store syncs, and so opens, its folder
        self.kept.mkdir()
        self.store = self.kept / "store"
        self.traces = {}

    def watched(self, name, *command):
        """Run a program under strace; it behaves as without."""
        if not obstacle():
            self.traces[name] = self.folder / f"{name}.trace"
            command = traced(self.traces[name], *command)
        return started(*command)

    async def probe(self):
        """Return the lines of `sender probe --count`, by name."""
        command = ("probe", "--count", "--output", "json", *LIMITS, *self.paths)
        async with self.watched("probe", SENDER, *command) as program:
            assert await ended(program, PATIENCE_S) in (0, 1), program.errors
        assert not program.errors
        return {Path(line["name"]).name: line for line in map(json.loads, program.lines)}

    async def send(self, name, port, *options):
        """Return the outcomes of `sender send`, by name."""
        report = self.folder / f"{name}.jsonl"
        to = ("--to", f"ws://127.0.0.1:{port}", "--report", report, "--progress", "never")
        command = ("send", *self.paths, *to, *options, *LIMITS)
        async with self.watched(name, SENDER, *command) as program:
            assert await ended(program, PATIENCE_S) in (0, 1), program.errors
        return outcomes(report)

    def serving(self, port):
        """Run a receiver on *port*."""
        where = ("--host", "127.0.0.1", "--port", str(port), "--metrics-port", "0")
        how = ("--store", self.store, "--reserve-bytes", "0", *LIMITS)
        return self.watched("receiver", RECEIVER, "serve", *where, *how)

    async def recorded(self, count):
        """Wait for *count* recordings; the receiver decodes each file again for them."""
        await until(lambda: len(list(self.store.glob("streams/*/*/done.json"))) >= count)

    def require_confined(self, say):
        """Require that no traced program left its confines."""
        lives = []
        for name, path in self.traces.items():
            trace = Trace(path)
            trace.require_confined(self.files, self.kept, self.folder / f"{name}.jsonl")
            if name == "probe":
                trace.require_offline()
            lives += trace.seconds
        if self.traces:
            half, most, _ = percentiles(lives)
            say(f"{len(lives)} children, for {half:.2f} s, 95 % below {most:.2f} s")

            assert BATCH < len(lives)
            assert max(lives) < WALL_S + SLACK_S
        else:
            say(f"SYSTEM CALLS NOT SEEN: {obstacle()}")


@pytest.mark.parametrize("number", range(either(1, 20)))
async def test_probe_send_and_file(tmp_path, say, number):
    """Three programs survive all files and agree on each, whichever side decodes."""
    batch, port = Batch(tmp_path, number), steady_port()
    found = await batch.probe()
    async with batch.serving(port) as receiver:
        await receiver.until(lambda: any("receiver_ready" in each for each in receiver.errors))
        decoded = await batch.send("send", port)
        whole = await batch.send("file", port, "--encoding", "file")
        good = [name for name, line in found.items() if "error" not in line]
        await batch.recorded(2 * len(good))
        receiver.interrupt(signal.SIGTERM)
        assert 0 == await ended(receiver, PATIENCE_S), receiver.errors

    assert BATCH + 1 == len(found) == len(decoded) == len(whole)
    assert "99999-good.wav" in good
    assert len(good) < len(found), "mutations that do nothing"
    for name, line in found.items():
        require_agreement(batch.files / name, line, decoded[name], whole[name])
    batch.require_confined(say)


def require_agreement(path, found, decoded, whole):
    """Require that all three refuse the file in one line, or give the same frames."""
    if "error" in found:
        assert "\n" not in found["error"]
        assert ("failed", "failed") == (decoded["result"], whole["result"])
        assert place(f"{path}: {found['error']}") == place(decoded["error"])
        assert "file cannot be decoded: " in whole["error"] or not path.stat().st_size
    else:
        frames = {each["receipt"]["frames"] for each in (decoded, whole)}
        assert {found["frames"]} == frames
        assert hashlib.sha256(path.read_bytes()).hexdigest() == whole["receipt"]["sha256"]


def test_isolated(tmp_path):
    """With the receiver's isolation, no child outlives its file, and no descriptor stays open."""
    bases = make_bases(tmp_path / "bases")
    means = DecodeOptions(limits=Limits(wall_seconds=10, cpu_seconds=10))
    path, good, count = tmp_path / "a", 0, either(15, 2000)
    before = os.listdir("/dev/fd")  # noqa: PTH208  # as many as before is what is asked
    for seed in range(count):
        path.write_bytes(mutate(bases, seed)[1])
        try:
            good += bool(probe(path, means, isolated=True, count=True).frames)
        except DecodeError as exc:
            assert "\n" not in str(exc)

    assert good > either(0, 0.3 * count)
    assert len(before) == len(os.listdir("/dev/fd"))  # noqa: PTH208
    children = Path(f"/proc/self/task/{os.getpid()}/children")
    assert not children.exists() or not children.read_text().split()
