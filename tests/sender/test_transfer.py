"""Reading the blocks of a source ahead of the transfer."""

import asyncio
import gc
from concurrent.futures import ThreadPoolExecutor
from contextlib import aclosing

import pytest

from sender.errors import SourceError
from sender.sources.file import AudioFile
from sender.transfer import read_ahead
from tests.support.sounds import write


@pytest.fixture(name="source")
def _source(tmp_path):
    source = AudioFile(write(tmp_path / "a.wav", 1000))
    yield source
    source.close()


async def test_blocks_follow_one_another(source):
    """Blocks follow from any frame to the end; every read is observed, also the empty last one."""
    seconds = []
    blocks = [block async for block in read_ahead(source, 100, 400, seconds.append)]

    assert [800, 800, 200] == [len(block) for block in blocks]
    assert source.read(100, 900) == b"".join(blocks)
    assert 4 == len(seconds)


async def test_one_block_is_read_ahead(source):
    """While one block is sent, the next one is decoded, and no further one."""
    calls = asyncio.Queue()
    loop = asyncio.get_running_loop()

    def observe(_seconds):
        loop.call_soon_threadsafe(calls.put_nowait, None)

    async with aclosing(read_ahead(source, 0, 100, observe)) as blocks:
        await anext(blocks)
        async with asyncio.timeout(5):
            await calls.get()
            await calls.get()
        assert calls.empty()
        assert 200 == source._position


async def test_a_fault_of_a_block_that_is_not_needed(source):
    """If the transfer ends before the block is needed, asyncio reports no unhandled fault."""
    loop, complaints, read = asyncio.get_running_loop(), [], source.read
    loop.set_exception_handler(lambda _loop, complaint: complaints.append(complaint))

    def fail(offset, units):
        if offset:
            raise SourceError("gone")
        return read(offset, units)

    source.read = fail
    with ThreadPoolExecutor(1) as executor:
        loop.set_default_executor(executor)
        async with aclosing(read_ahead(source, 0, 100, lambda _seconds: None)) as blocks:
            await anext(blocks)
            await loop.run_in_executor(None, lambda: None)  # after the read that fails
    del blocks
    gc.collect()

    assert [] == complaints
