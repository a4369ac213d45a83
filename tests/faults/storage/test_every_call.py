"""A receiver that dies at any system call of a stream."""

import asyncio
import itertools
import json
import os
import signal
import sys
from contextlib import asynccontextmanager
from pathlib import Path

import pytest
import soundfile

from receiver.stores.journal import Layout, PosixDisk, RecordingOptions, Retention
from receiver.stores.journal.janitor import Janitor
from tests.faults.storage.actor import carry
from tests.faults.storage.scene import FRAMES, HELLO, SOUND
from tests.faults.storage.tracing import injecting, require_strace
from tests.support.extent import either
from tests.support.waits import PATIENCE_S

pytestmark = pytest.mark.faults

ROOT = Path(__file__).parents[3]

CALLS = (
    *("open", "openat", "write", "writev", "fdatasync", "fsync", "ftruncate", "close"),
    *(
        "rename",
        "renameat",
        "renameat2",
        "symlink",
        "symlinkat",
        "unlink",
        "unlinkat",
        "mkdir",
        "mkdirat",
        "rmdir",
    ),
)
"""This machine's libraries use one of them for each purpose."""

LEAST = 80
"""Kills that there are at least; fewer would mean that nothing was tested."""


class Stage:
    """The process that starts actors, and their answers."""

    def __init__(self, process):
        self._process = process

    async def line(self):
        """Return the next line, in words."""
        async with asyncio.timeout(PATIENCE_S):
            return (await self._process.stdout.readline()).decode().split()

    def tell(self, line):
        """Send a line to the process."""
        self._process.stdin.write(f"{line}\n".encode())

    async def play(self, folder, *faults):
        """Let an actor keep the scene in *folder*; return its promises and its exit code."""
        self.tell(folder)
        _, pid = await self.line()
        promises = []
        async with injecting(pid, *faults):
            self.tell("go")
            while (said := await self.line())[0] == "promised":
                promises.append(said[1])
        return promises, int(said[1])


@asynccontextmanager
async def stage():
    """Start the process that forks the actors."""
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "tests.faults.storage.actor"),
        stdin=asyncio.subprocess.PIPE,
        stdout=asyncio.subprocess.PIPE,
        cwd=ROOT,
    )
    made = Stage(process)
    try:
        assert ["ready"] == await made.line()
        yield made
    finally:
        process.stdin.close()
        async with asyncio.timeout(PATIENCE_S):
            await process.wait()


def require_kept(promises, later):
    """Require that a claim with the promises *later* kept the promises *before*."""
    units = [0, *(int(each) for each in promises if each != "receipt")]

    assert not later or int(later[0]) >= max(units), "less than was promised"
    assert "receipt" not in promises or later in ([], [str(FRAMES)]), "the receipt is gone"


def recover(store, promises):
    """Continue in *store* after a process died; check that it kept its *promises*."""
    kept = []
    carry(store, 1, lambda what: kept.append(str(what)))
    require_kept(promises, kept)


def require_whole(store):
    """Require that *store* has the one recording, bit for bit, and nothing else."""
    for draft in (*store.glob("audio/.*"), *store.glob("streams/*/*/.*")):
        os.utime(draft, (0, 0))  # long after the kill
    Janitor(Layout(PosixDisk(), store), RecordingOptions("wav"), Retention(1e9, 1e9)).sweep()
    (folder,) = store.glob("streams/*/*")
    (manifest,) = store.glob("audio/*.json")
    recording = store / "audio" / json.loads(manifest.read_bytes())["recording"]

    assert SOUND == soundfile.read(recording, dtype="int16")[0].astype("<i2").tobytes()
    assert {"done.json"} == {each.name for each in folder.iterdir()}
    assert {recording, manifest} == set((store / "audio").iterdir())
    assert HELLO.stream == folder.name


async def test_a_kill_at_every_system_call(tmp_path, chance, say):
    """Each earlier promise is kept, and the recording is completed bit for bit."""
    require_strace()
    count, numbers = 0, itertools.count()
    async with stage() as made:
        for call in CALLS:
            for when in itertools.count(1):
                store = tmp_path / str(next(numbers))
                promises, code = await made.play(store, f"?{call}:signal=KILL:when={when}")
                if code == 0:
                    break
                assert -signal.SIGKILL == code
                count += 1
                if chance.random() < either(0.25, 1):  # and once more while it recovers
                    again = f"?{chance.choice(CALLS)}:signal=KILL:when={chance.randint(1, 8)}"
                    more, code = await made.play(store, again)
                    require_kept(promises, more)
                    promises += more
                    count += code != 0
                recover(store, promises)
                require_whole(store)
    say(f"{count} kills")

    assert count >= LEAST
