"""NATS JetStream: each message is acknowledged; durable means that each is synced before."""

import asyncio
import re
import shutil
import subprocess
import sys
import time
from contextlib import contextmanager
from functools import partial
from pathlib import Path

import xxhash

from benchmarks.contenders import AbsentError, Contender, require
from benchmarks.processes import ending, free_port

from . import RUN_S, needs_package, sink

SUBJECT = "audio"
OLDEST = (2, 10)
"""The first that can sync each message."""

UNACKED = 64
"""Messages on their way at once."""

CONFIG = """
listen: "127.0.0.1:{port}"
jetstream {{
    store_dir: "{folder}/store"
    max_memory_store: 1GB
    sync_interval: always
}}
"""


def find_server():
    """Return the server: the one beside this Python, or the machine's."""
    beside = Path(sys.executable).with_name("nats-server")
    if not (found := str(beside) if beside.exists() else shutil.which("nats-server")):
        raise AbsentError("no program nats-server; expected 2.10 or later")
    said = subprocess.run([found, "--version"], check=True, capture_output=True, text=True).stdout  # noqa: S603  # what is compared
    version = tuple(map(int, re.search(r"(\d+)\.(\d+)", said).groups()))
    if version < OLDEST:
        raise AbsentError(f"{said.strip()} cannot sync each message; expected 2.10 or later")
    return found


@contextmanager
def serve(folder, *, kept):
    """A server on the loopback interface."""
    needs_package("nats")
    program, port = find_server(), free_port()
    config = folder / "nats.conf"
    config.write_text(CONFIG.format(port=port, folder=folder))
    url = {"url": f"nats://127.0.0.1:{port}", "storage": "file" if kept else "memory"}
    with ending([program, "-c", str(config)], port, url) as running:
        yield running


def send(pipe, url, sounds):
    """Messages of 256 KiB until all are acknowledged; afterwards, what the stream has."""
    asyncio.run(_send(pipe, url, sounds[0]))


async def _send(pipe, url, sound):
    nats = needs_package("nats")
    client = await nats.connect(url["url"])
    stream = client.jetstream(publish_async_max_pending=UNACKED)
    await stream.add_stream(name=SUBJECT, subjects=[SUBJECT], storage=url["storage"])
    pipe.send("ready")
    await asyncio.to_thread(pipe.recv)
    started, count = time.perf_counter(), 0
    promised = []
    for data in sink.pieces(sound):
        promised.append(await stream.publish_async(SUBJECT, data, wait_stall=RUN_S))
        count += 1
    async with asyncio.timeout(RUN_S):
        await asyncio.gather(*promised)
    pipe.send({"seconds": time.perf_counter() - started, "proves": True})
    await asyncio.to_thread(pipe.recv)
    digest, total = xxhash.xxh3_128(), 0
    reader = await stream.subscribe(SUBJECT, ordered_consumer=True)
    for _ in range(count):
        data = (await reader.next_msg(RUN_S)).data
        digest.update(data)
        total += len(data)
    pipe.send({"bytes": total, "digest": digest.hexdigest()})
    await asyncio.to_thread(pipe.recv)


def check(answer, sounds, _folder):
    """Compare what the stream has with what was sent."""
    require("bytes", answer["bytes"], sounds[0].payload_bytes)
    require("digest", answer["digest"], sounds[0].digest)


NATS = Contender("NATS JetStream, in memory", partial(serve, kept=False), send, check)
NATS_SYNCED = Contender("NATS JetStream, sync always", partial(serve, kept=True), send, check)
