"""Ours: `receiver serve` as its users run it, and the sender inside a process that waits."""

import json
import time
import uuid
from contextlib import contextmanager

import msgspec
import soundfile
from prometheus_client import CollectorRegistry
from rich.console import Console

from benchmarks.processes import receiver
from sender import Settings, connect
from sender.jobs.delivery import Deliveries
from sender.jobs.send import Sending
from sender.metrics import Metrics
from sender.opening import Inputs
from sender.settings import SendSettings
from sender.terminal import Progress
from sonoduct.runtime.logs import configure
from sonoduct.runtime.loop import run_loop

from . import Contender, require


@contextmanager
def serve_durable(folder):
    """With everything on: the journal, recordings, and the default processor."""
    with receiver("--store", str(folder / "store")) as running:
        yield running
    # Recordings are made before a receiver that has a moment for it ends.


@contextmanager
def serve_none(_folder):
    """Without a store."""
    with receiver("--store", "none") as running:
        yield running


def send(pipe, url, sounds, **settings):
    """One file after another on one connection, each to its receipt."""
    configure("warning")
    pipe.send("ready")
    pipe.recv()

    async def run():
        started = time.perf_counter()
        async with connect(url, Settings(**settings)) as client:
            receipts = [await client.send(sound.path) for sound in sounds]
            return time.perf_counter() - started, receipts

    seconds, receipts = run_loop(run())
    pipe.send({"seconds": seconds, "receipts": msgspec.to_builtins(receipts)})
    pipe.recv()


def send_folder(pipe, url, sounds, jobs=8):
    """All files of a folder, as `sender send FOLDER --jobs 8` does it."""
    configure("warning")
    settings = SendSettings(to=url, jobs=jobs)
    outcomes = []
    progress = Progress(Console(stderr=True), shown=False)
    metrics = Metrics(CollectorRegistry(), "benchmark")
    deliveries = Deliveries(settings, metrics, progress, outcomes.append)
    sending = Sending(settings, metrics, deliveries, None, Inputs(settings, ()))
    pipe.send("ready")
    pipe.recv()
    started = time.perf_counter()
    run_loop(sending.run([str(sounds[0].path.parent)], uuid.uuid4().hex))
    seconds = time.perf_counter() - started
    receipts = [outcome.receipt for outcome in sorted(outcomes, key=lambda each: each.name)]
    pipe.send({"seconds": seconds, "receipts": msgspec.to_builtins(receipts)})
    pipe.recv()


def check(answer, sounds, folder):
    """Check each receipt's frames and digest, and each recording of a durable stream."""
    require("receipts", len(answer["receipts"]), len(sounds))
    for receipt, sound in zip(answer["receipts"], sounds, strict=True):
        require("frames", receipt["frames"], sound.frames)
        require("digest", receipt["digest"], sound.digest)
        require("durable", receipt["durable"], (folder / "store").is_dir())
        require("failures", receipt.get("failures", {}), {})


def check_recording(answer, sounds, folder):
    """Compare the recording with the file, sample by sample."""
    check(answer, sounds, folder)
    for manifest in (folder / "store" / "audio").glob("*.json"):
        made = manifest.with_name(json.loads(manifest.read_bytes())["recording"])
        blocks = soundfile.blocks(made, 1 << 20, dtype="int16")
        source = soundfile.blocks(sounds[0].path, 1 << 20, dtype="int16")
        for block, expected in zip(blocks, source, strict=True):
            require("recorded samples", (block == expected).all(), expected=True)


DURABLE = Contender("sonoduct, durable", serve_durable, send, check_recording)
NONE = Contender("sonoduct, store none", serve_none, send, check)
FOLDER = Contender("sonoduct, durable, 8 jobs", serve_durable, send_folder, check)


SPEED = 50
"""Four streams at 100 times their speed share two cores' caches, and cost more; see README.md."""


def send_paced(pipe, url, sounds):
    """As `send`, so many times as fast as the audio plays: less than the machine can do."""
    send(pipe, url, sounds, realtime=True, speed=SPEED, chunk_frames=65536)
