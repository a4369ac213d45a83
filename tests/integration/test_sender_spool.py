"""Raw standard input goes through a spool on disk, which outlives the sender."""

import asyncio
import random

import pytest
import soundfile

from receiver.inspect import verify_store
from receiver.stores.journal import Layout, PosixDisk
from tests.support import waits
from tests.support.commands import outcomes, sending, sent
from tests.support.rawclient import running, sound

RAW = ("-", "--raw", "s16le:8000:2", "--progress", "never")
SOUND = sound(200_000)


def recorded(store):
    """Return the samples of each recording."""
    return [
        soundfile.read(path, dtype="int16")[0].tobytes()
        for path in sorted((store / "audio").glob("[!.]*.wav"))
    ]


async def finished(store, count):
    """Wait for *count* recordings; return their samples."""
    await waits.recorded(store, count)
    return recorded(store)


@pytest.mark.parametrize("seed", range(2))
async def test_a_killed_sender_that_is_started_again_finishes_the_stream(tmp_path, seed):
    """The frames that a killed sender took from the pipe arrive once, from its spool."""
    taken = random.Random(seed).randrange(10_000, len(SOUND)) // 4 * 4
    store, spool = tmp_path / "store", tmp_path / "spool"
    async with running(store=str(store), limits={"reserve_bytes": 0}) as receiver:
        options = (*RAW, "--to", receiver.url, "--spool", spool)
        async with sending(*options, stdin=asyncio.subprocess.PIPE) as program:
            program.process.stdin.write(SOUND[:taken])
            await receiver.until("receiver_frames_total", lambda n: n == taken // 4)
            program.process.kill()
            await program.ended()
        left = list(spool.rglob("*.spool"))
        program, code = await sent(*options, "--report", tmp_path / "report.jsonl")
        (samples,) = await finished(store, 1)

    assert left
    assert 1 == code, "its own standard input had nothing"
    assert SOUND[:taken] == samples
    assert 0 == verify_store(Layout(PosixDisk(), store))
    assert [] == list(spool.rglob("*.spool"))


async def test_without_a_receiver_the_sender_still_takes_the_pipe(tmp_path):
    """The writer does not wait; a later run completes the stream."""
    store, spool = tmp_path / "store", tmp_path / "spool"
    async with running(store=str(store), limits={"reserve_bytes": 0}) as receiver:
        url = receiver.url
    options = (*RAW, "--to", url, "--spool", spool, "--connect-timeout", "0.2")
    async with sending(*options, stdin=asyncio.subprocess.PIPE) as program:
        program.process.stdin.write(SOUND)
        program.process.stdin.close()
        failed = await program.ended()
    port = int(url.rpartition(":")[2])
    async with running(store=str(store), port=port, limits={"reserve_bytes": 0}) as receiver:
        await sent(*options)
        (samples,) = await finished(store, 1)

    assert 1 == failed
    assert SOUND == samples


async def test_a_full_spool_can_be_an_error(tmp_path):
    """With --spool-full fail, a full spool ends the stream; its frames stay."""
    spool, report = tmp_path / "spool", tmp_path / "report.jsonl"
    small = ("--spool", spool, "--spool-bytes", "1048576", "--spool-full", "fail")
    options = (*RAW, *small, "--to", "ws://127.0.0.1:1", "--connect-timeout", "0.5")
    async with sending(*options, "--report", report, stdin=asyncio.subprocess.PIPE) as program:
        program.process.stdin.write(SOUND * 2)
        program.process.stdin.close()
        code = await program.ended()

    assert 1 == code
    assert 1 == len(outcomes(report))
    assert 900_000 < sum(path.stat().st_size for path in spool.rglob("*.spool")) <= 1_048_576


async def test_patience_begins_when_the_spool_is_full(tmp_path):
    """While the spool has room the sender waits; when it is full, patience starts."""
    small = ("--spool", tmp_path, "--spool-bytes", "1048576", "--connect-timeout", "0.2")
    async with sending(
        *RAW, *small, "--to", "ws://127.0.0.1:1", stdin=asyncio.subprocess.PIPE
    ) as program:
        program.process.stdin.write(SOUND * 2)
        code = await program.ended()

    assert 1 == code
    assert "no progress for" in program.log[-1]["error"]
