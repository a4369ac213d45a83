"""Files of several clients at one receiver's decoders: nobody keeps another one waiting."""

import asyncio
import os
import time
from contextlib import AsyncExitStack, contextmanager, suppress
from functools import partial
from pathlib import Path

import numpy as np
import pytest
import soundfile
from prometheus_client import CollectorRegistry

from receiver.metrics import Metrics
from receiver.stores import Original
from receiver.stores.memory import MemoryStore
from receiver.streams.file import Decoders
from receiver.streams.quotas import Quotas
from sonoduct import wire
from sonoduct.audio.decoding import DecodeOptions
from tests.integration.test_files import FILE, keeping, sending
from tests.support.commands import sent
from tests.support.programs import script
from tests.support.rawclient import speaking
from tests.support.recorder import Recorder
from tests.support.sounds import same, samples, write
from tests.support.waits import recorded, until

TOKENS = {name: f"{name}-0123456789abcdef" for name in ("hostile", "honest")}
SOON_S = 20


@pytest.fixture
def gated(tmp_path):
    """Write an ffmpeg that never answers until its gate is opened."""
    for name in ("bin", "lib"):
        (tmp_path / name).mkdir()
    os.mkfifo(tmp_path / "lib" / "gate")
    return str(script(tmp_path / "bin" / "ffmpeg", f"read line < {tmp_path}/lib/gate"))


def tokens(folder):
    """Write a file with two tokens; return its path."""
    path = folder / "tokens.toml"
    path.write_text("".join(f'[{name}]\ntoken = "{each}"\n' for name, each in TOKENS.items()))
    return str(path)


async def committing(stack, receiver, data, **how):
    """Send *data* as a file, and its eos; do not wait for the receipt."""
    client = await stack.enter_async_context(speaking(receiver.url, **FILE, **how))
    await client.greet()
    await client.send(data)
    await client.say(client.outbound.eos())
    return client


def opened(folder):
    """Open the gate for writing if an ffmpeg waits at it; return whether one does."""
    with suppress(OSError):
        os.close(os.open(folder / "lib" / "gate", os.O_WRONLY | os.O_NONBLOCK))
        return True
    return False


async def let_go(folder, clients):
    """Let every ffmpeg through, until the receiver has closed the connections of *clients*."""
    waiting = asyncio.gather(*(each.closed() for each in clients))
    while not waiting.done():
        opened(folder)
        await asyncio.wait([waiting], timeout=0.05)


def started(folder):
    """Return whether an ffmpeg was started; it goes on waiting."""
    name = os.fsencode(folder / "bin" / "ffmpeg")
    for each in Path("/proc").glob("[0-9]*/cmdline"):
        with suppress(OSError):
            if each.read_bytes().startswith(b"/bin/sh\0" + name):
                return True
    return False


async def test_a_file_of_another_token_need_not_wait(tmp_path, gated):
    """While files of one token hang in every decoder, one of another token is decoded."""
    path = write(tmp_path / "a.wav", 1000)
    settings = {"decoders": 1, "ffmpeg": gated, "tokens": tokens(tmp_path)}
    async with keeping(tmp_path, **settings) as receiver, AsyncExitStack() as stack:
        hostile = [
            await committing(stack, receiver, b"hostile", token=TOKENS["hostile"]) for _ in range(3)
        ]
        await until(lambda: started(tmp_path), SOON_S)
        client = await committing(stack, receiver, path.read_bytes(), token=TOKENS["honest"])
        async with asyncio.timeout(SOON_S):
            committed = await client.until(wire.Committed)
        await let_go(tmp_path, hostile)

    assert 1000 == committed.receipt.frames


async def test_files_behind_a_hundred_of_another_token(tmp_path):
    """A file waits for at most the file that is being decoded, and not for those that wait."""
    honest, hostile = write(tmp_path / "a.wav", 3000), tmp_path / "hostile.flac"
    soundfile.write(hostile, np.zeros(4_000_000, "int16"), 48_000)
    decoders = Decoders(
        DecodeOptions(),
        2,
        100,
        Quotas(10**9, MemoryStore(10), time.monotonic),
        Metrics(CollectorRegistry(), ()),
    )

    @contextmanager
    def spool(path):
        yield Original(path, "digest", "sha256")

    async def decode(path, owner):
        begun = time.monotonic()
        how = (partial(spool, path), "digest", owner, path.stat().st_size)
        async with decoders.open(*how) as file:
            while await decoders.read(file):
                pass
        return time.monotonic() - begun

    alone = await decode(honest, "honest")
    others = [asyncio.create_task(decode(hostile, "hostile")) for _ in range(100)]
    await until(lambda: decoders._turns.waiting == 98, SOON_S)
    behind = await decode(honest, "honest")
    left = sum(not each.done() for each in others)
    for each in others:
        each.cancel()
    await asyncio.gather(*others, return_exceptions=True)
    decoders.close()

    assert left > 90
    assert behind < 3 * alone + 1


async def test_a_file_that_finds_no_room_loses_nothing(tmp_path, gated):
    """A sender whose file is refused with 1013 sends it again later, and gets its receipt."""
    path, recorder, registry = write(tmp_path / "a.wav", 1000), Recorder(), CollectorRegistry()
    settings = {"decoders": 1, "decode_queue": 1, "ffmpeg": gated}
    async with (
        keeping(tmp_path, recorder, **settings) as receiver,
        sending(receiver.url, registry=registry) as client,
        AsyncExitStack() as stack,
    ):
        for _ in range(2):  # one is decoded, one waits
            await committing(stack, receiver, b"hostile", name="hostile")
        await until(lambda: started(tmp_path), SOON_S)
        task = asyncio.create_task(client.send(path))
        await until(lambda: refused(registry), SOON_S)
        while not task.done():
            opened(tmp_path)
            await asyncio.wait([task], timeout=0.05)
        receipt = task.result()
        (recording,) = await recorded(tmp_path / "store")

    assert 1000 == receipt.frames
    assert same(samples(path), samples(recording))
    assert same(samples(path), recorder.takes[-1].samples)


def refused(registry):
    """Return how often the sender was told that the receiver has no room."""
    return registry.get_sample_value("sender_reconnects_total", {"reason": "overloaded"})


async def test_a_recording_counts_with_its_decoded_size(tmp_path):
    """A small file that stands for many samples ends with one error, before they are decoded."""
    silence, recorder = tmp_path / "silence.flac", Recorder()
    soundfile.write(silence, np.zeros(5_000_000, "int16"), 16_000)
    limits = {"stream_bytes": 1_000_000}
    async with keeping(tmp_path, recorder, limits=limits) as receiver:
        program, code = await sent(silence, "--encoding", "file", "--to", receiver.url)
        ended = receiver.value("receiver_streams_total", result="failed")
        errors = receiver.value("receiver_protocol_errors_total", code="4413")

    assert silence.stat().st_size < 100_000
    assert (1, 1, 1) == (code, ended, errors)
    (line,) = [each for each in program.log if "bytes of the decoded file" in str(each)]
    assert "expected at most 1000000" in str(line)
    assert recorder.takes[0].frames <= 500_000
    assert [] == list((tmp_path / "store" / "audio").iterdir())
