"""Each encoding, decoded on either side, with kills at random offsets: every sample arrives."""

import asyncio
import json
import signal
from contextlib import AsyncExitStack
from dataclasses import dataclass, field
from pathlib import Path

import pytest
import soundfile

from receiver.stores.journal.committer import GROUP_S
from tests.support.commands import outcomes, sending
from tests.support.corpus import ffmpeg
from tests.support.evidence import RATE, manifests, unfinished
from tests.support.extent import either
from tests.support.receivers import Receiver, serving
from tests.support.relay import PIECE, Relay
from tests.support.sounds import noise, same, samples
from tests.support.waits import ended, until

pytestmark = pytest.mark.faults

KILLS = either(2, 20)
"""Of senders and receivers together: each is an offset at which every stream is resumed."""

SIZE = 15_000 * (KILLS + 1)
"""Bytes that each stream has at least on its way."""

LEAST = 5_000
"""Bytes that a connection passes at least: a handshake, a hello, and some chunks."""

PCM = ("--chunk-frames", "200")
CHUNK_BYTES = "1024"

FILES = {
    "s16.wav": ("PCM_16", SIZE // 2),
    "s24.flac": ("PCM_24", SIZE // 3),
    "s24.aiff": ("PCM_24", SIZE // 3),
    "s32.wav": ("PCM_32", SIZE // 4),
    "float.wav": ("FLOAT", SIZE // 4),
    "layer3.mp3": ("MPEG_LAYER_III", 5 * SIZE),
    "alac.m4a": (None, SIZE // 2),
}
"""Subtypes, and frames that make so many bytes; libsndfile does not write MP4."""

WAYS = {
    "auto": ("s16.wav", "s24.aiff", "s32.wav", "float.wav", "layer3.mp3", "alac.m4a"),
    "flac": ("s16.wav", "s24.flac", "alac.m4a"),
    "file": ("s16.wav", "s24.flac", "s32.wav", "float.wav", "layer3.mp3", "alac.m4a"),
}
"""What a sender of each encoding sends, by soundfile and by ffmpeg on either side."""

STREAMS = sum(map(len, WAYS.values()))


def make(folder):
    """Write the files; return the expected samples of each, by name."""
    expected = {}
    for name, (subtype, frames) in FILES.items():
        path, sound = folder / name, noise(frames)
        if subtype is None:
            source = path.with_suffix(".wav")
            soundfile.write(source, sound, RATE, "PCM_16")
            ffmpeg("-i", source, "-c:a", "alac", "-sample_fmt", "s16p", path)
        else:
            soundfile.write(path, sound, RATE, subtype)
            source = path
        expected[name] = samples(source)
        assert path.stat().st_size > SIZE, name
    return expected


class Dam(Relay):
    """Passes some bytes of each connection on; after them, the connection loses the rest."""

    def __init__(self, target, chance):
        super().__init__(target)
        self.full = 0
        """Connections whose line is dead."""
        self._chance = chance

    async def _up(self, wire, *_faults):
        left = self._chance.randrange(LEAST, SIZE // (KILLS + 1))
        while data := await wire.near[0].read(PIECE):
            if left > 0:
                await self._pass(data[:left], wire.far[1])
                left -= len(data)
                self.full += left <= 0


@dataclass
class Run:
    """One receiver, a sender for each encoding, and their observed offsets."""

    folder: Path
    receiver: Receiver
    senders: AsyncExitStack = field(default_factory=AsyncExitStack)
    offsets: dict[str, set] = field(default_factory=dict)
    """Where each stream was resumed."""

    async def start_senders(self, url):
        """Start a sender for each encoding; return the programs."""
        return [
            await self.senders.enter_async_context(
                sending(
                    *(self.folder / name for name in names),
                    *("--encoding", encoding, "--to", url, "--jobs", len(names)),
                    *("--progress", "never", "--report", self.folder / f"{encoding}.jsonl"),
                    *(() if encoding == "file" else PCM),
                )
            )
            for encoding, names in WAYS.items()
        ]

    async def kill_senders(self):
        """Kill the senders at once."""
        await self.senders.aclose()

    async def kill_receiver(self):
        """Kill the receiver at once, and start it again."""
        self.note()
        await self.receiver.kill()
        await self.receiver.start()

    def note(self):
        """Note the offsets at which the receiver resumed streams since its start."""
        for line in map(json.loads, self.receiver.errors):
            if line["event"] == "stream_opened" and line["offset"]:
                self.offsets.setdefault(line["stream"], set()).add(line["offset"])

    async def kill_often(self, dam, chance):
        """Kill a random side each time that every stream has made progress."""
        await self.start_senders(dam.url)
        for _ in range(KILLS):
            full = dam.full
            await until(lambda f=full: dam.full >= f + STREAMS)
            await asyncio.sleep(GROUP_S * 2 + chance.uniform(0, 0.2))  # so that some more is kept
            if chance.random() < 0.5:
                await self.kill_senders()
                await self.start_senders(dam.url)
            else:
                await self.kill_receiver()
        full = dam.full
        await until(lambda: dam.full >= full + STREAMS)
        await self.kill_senders()

    async def finish(self):
        """Send the rest; return the receipts by encoding and name."""
        receipts = {}
        programs = await self.start_senders(self.receiver.url)
        for encoding, program in zip(WAYS, programs, strict=True):
            assert 0 == await ended(program, 60), program.errors
            lines = outcomes(self.folder / f"{encoding}.jsonl")
            for name in WAYS[encoding]:
                receipts[encoding, name] = lines[name]["receipt"]
        await until(lambda: not unfinished(self.receiver.store))
        self.note()
        return receipts


async def test_killed_at_random_offsets(tmp_path, chance, say):
    """Each recording has the samples of its file, on either side of decoder and kill."""
    expected = make(tmp_path)
    receiver = Receiver(tmp_path / "store", "--chunk-bytes", CHUNK_BYTES, "--reserve-bytes", "0")
    run = Run(tmp_path, receiver)
    async with serving(receiver), Dam(receiver.port, chance).listen() as dam:
        await run.kill_often(dam, chance)
        receipts = await run.finish()
        receiver.program.interrupt(signal.SIGTERM)
        assert 0 == await receiver.program.ended()
    found = manifests(receiver.store)
    counts = [len(run.offsets[receipt["stream"]]) for receipt in receipts.values()]
    say(f"{KILLS} kills, {STREAMS} streams resumed at {min(counts)} to {max(counts)} offsets")

    assert STREAMS == len(found)
    assert min(counts) >= KILLS
    for (encoding, name), receipt in receipts.items():
        recording = receiver.store / "audio" / found[receipt["stream"]]["recording"]
        assert len(expected[name]) == receipt["frames"]
        assert same(expected[name], samples(recording)), (encoding, name)
