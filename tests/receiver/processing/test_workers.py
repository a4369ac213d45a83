"""Threads that run processors, and the replacement of threads that hang."""

import asyncio
import threading
import time
from contextlib import AsyncExitStack, asynccontextmanager, suppress

import pytest

from receiver.processing import workers as module
from receiver.processing.workers import Job, Workers
from tests.support.faulty import Faulty, Hang
from tests.support.rawclient import PATIENCE_S, running, sound, speaking
from tests.support.recorder import Recorder
from tests.support.waits import until


@pytest.fixture(autouse=True)
def _quick(monkeypatch):
    monkeypatch.setattr(module, "WATCH_INTERVAL_S", 0.02)
    monkeypatch.setattr(module, "RELIEF_S", 0.1)


def alive():
    """Return the worker threads of this process."""
    return [each for each in threading.enumerate() if each.name == "processors"]


async def down_to(count):
    """Wait until only *count* worker threads are left."""
    await until(lambda: len(alive()) <= count)


@asynccontextmanager
async def watched(threads=1, timeout=30.0):  # of the calls
    """Run watched workers; at the end, all of their threads must have ended."""
    before = len(alive())
    workers = Workers(threads, timeout)
    watch = asyncio.create_task(workers.watch())
    try:
        yield workers
    finally:
        watch.cancel()
        with suppress(asyncio.CancelledError):
            await watch
        workers.close()
        await down_to(before)


class Work:
    """A job that calls *run* in its thread, and notes its outcome."""

    def __init__(self, run=lambda: None):
        self.ended = asyncio.Event()
        self.outcome = None
        self._run = run
        self.job = Job(self._in_thread, self._done, self._cut_off)

    def _in_thread(self, job):
        job.called = time.monotonic()
        self._run()

    def _done(self):
        self.outcome = "done"
        self.ended.set()

    def _cut_off(self):
        self.outcome = "cut off"
        self.ended.set()


async def submitted(workers, *works, small=False):
    """Run *works* until they end."""
    for work in works:
        workers.submit(work.job, small=small)
    async with asyncio.timeout(PATIENCE_S):
        for work in works:
            await work.ended.wait()


async def test_jobs_run_in_threads_and_end_on_the_loop():
    """One thread runs the jobs in the order of their submission."""
    seen = []
    async with watched() as workers:
        works = [Work(lambda n=n: seen.append((n, threading.current_thread()))) for n in range(50)]
        await submitted(workers, *works)

    assert list(range(50)) == [n for n, _ in seen]
    assert threading.main_thread() not in {thread for _, thread in seen}
    assert {"done"} == {work.outcome for work in works}


async def test_a_job_that_hangs_is_cut_off_and_its_thread_replaced():
    """The next job gets a thread; the late return changes nothing and the thread ends."""
    async with watched(timeout=0.05) as workers:
        with Hang() as hang:
            stuck, after = Work(hang), Work()
            await submitted(workers, stuck, after)

            assert ("cut off", "done", 1) == (stuck.outcome, after.outcome, workers.stuck)

        await until(lambda: not workers.stuck)

        assert "cut off" == stuck.outcome


async def test_jobs_behind_a_slow_one_get_a_thread_of_their_own():
    """A slow call within its time limit delays no other job, and ends well."""
    async with watched() as workers:
        with Hang() as hang:
            slow, others = Work(hang), [Work() for _ in range(5)]
            workers.submit(slow.job)
            await submitted(workers, *others)

            assert slow.outcome is None

        await slow.ended.wait()
        await submitted(workers, Work())

        assert "done" == slow.outcome


async def test_small_jobs_share_a_thread_unless_it_is_kept(monkeypatch):
    """If a small job takes long, another thread takes the small jobs behind it."""
    monkeypatch.setattr(module, "RELIEF_S", 60)
    async with watched(threads=2) as workers:
        with Hang() as hang:
            slow, others = Work(hang), [Work() for _ in range(5)]
            workers.submit(slow.job, small=True)
            await submitted(workers, *others, small=True)

            assert slow.outcome is None

        await slow.ended.wait()


async def test_small_jobs_behind_a_slow_one_get_a_thread_of_their_own():
    """Small jobs behind a slow call get a thread, even if there is only one."""
    async with watched() as workers:
        with Hang() as hang:
            slow, others = Work(hang), [Work() for _ in range(5)]
            workers.submit(slow.job, small=True)
            await submitted(workers, *others, small=True)

            assert slow.outcome is None

        await slow.ended.wait()
        await submitted(workers, Work(), small=True)


async def test_slow_calls_get_a_limited_number_of_threads(monkeypatch):
    """Further slow calls wait; after them, the number of threads is as before."""
    monkeypatch.setattr(module, "RELIEVED", 2)
    async with watched() as workers:
        before = len(alive())
        with Hang() as hang:
            slow = [Work(hang) for _ in range(6)]
            for work in slow:
                workers.submit(work.job)
            for _ in range(3):
                assert await asyncio.to_thread(hang.entered.acquire, timeout=PATIENCE_S)

            assert not await asyncio.to_thread(hang.entered.acquire, timeout=0.3)
            assert before + 2 == len(alive())

        async with asyncio.timeout(PATIENCE_S):
            for work in slow:
                await work.ended.wait()
        await down_to(before)
        await submitted(workers, Work())

        assert {"done"} == {work.outcome for work in slow}
        assert before == len(alive())


async def test_a_slow_call_that_then_hangs_is_replaced_once():
    """Its thread was replaced when it was slow, so the number of threads stays right."""
    async with watched(timeout=0.3) as workers:
        before = len(alive())
        with Hang() as hang:
            stuck = Work(hang)
            await submitted(workers, stuck)

            assert ("cut off", before + 1) == (stuck.outcome, len(alive()))

        await down_to(before)
        await submitted(workers, Work())


async def test_calls_that_wait_for_their_turn_do_not_hang(monkeypatch):
    """If many calls wait for a model that takes one at a time, all of them end well."""
    monkeypatch.setattr(module, "RELIEF_S", 0.0)
    model, most = threading.Lock(), 0

    def call():
        nonlocal most
        most = max(most, len(alive()))
        with model:
            time.sleep(0.15)  # the model's work

    # Four threads wait for the model, so a call takes up to 0.6 s, more than the timeout.
    async with watched(threads=2, timeout=0.45) as workers:
        before = len(alive())
        works = [Work(call) for _ in range(10)]
        await submitted(workers, *works)

    assert {"done"} == {work.outcome for work in works}
    assert most <= before + module.RELIEVED


async def test_a_call_that_hangs_among_others_is_cut_off():
    """A call that hangs is cut off, although other calls of its processor end all the time."""
    async with watched(threads=2, timeout=0.2) as workers:
        with Hang() as hang:
            stuck = Work(hang)
            workers.submit(stuck.job)
            async with asyncio.timeout(PATIENCE_S):
                while stuck.outcome is None:
                    await submitted(workers, Work(lambda: time.sleep(0.01)))

            assert "cut off" == stuck.outcome


async def test_a_hanging_call_takes_those_with_it_that_wait_for_it():
    """Calls that wait for a lock of the hanging call are cut off with it."""
    async with watched(threads=2, timeout=0.2) as workers:
        with Hang() as hang:
            works = [Work(hang), Work(hang)]
            await submitted(workers, *works)

            assert {"cut off"} == {work.outcome for work in works}


async def test_no_processor_waits_for_another_one():
    """If one processor keeps all of its threads, another still gets the samples of all streams."""
    recorder, before = Recorder(), len(alive())
    with Hang() as hang:
        async with running(Faulty("process", hang), recorder, workers=1) as receiver:
            async with AsyncExitStack() as stack:
                for _ in range(1 + module.RELIEVED + 2):
                    client = await stack.enter_async_context(speaking(receiver.url, name="victim"))
                    await client.greet()
                    await client.send(sound(100))
                await recorder.until(
                    lambda: 5 == sum(take.frames == 100 for take in recorder.takes)
                )
                hang.released.set()
    await down_to(before)


async def test_a_slow_processor_keeps_no_other_stream_waiting():
    """While one stream's call takes long, another stream commits, even with one worker."""
    recorder, before = Recorder(), len(alive())
    with Hang() as hang:
        async with (
            running(Faulty("process", hang), recorder, workers=1) as receiver,
            speaking(receiver.url, name="victim") as slow,
        ):
            await slow.greet()
            await slow.send(sound(100))
            await slow.acknowledged()
            async with speaking(receiver.url) as client:
                await client.greet()
                await client.send(sound(1000))
                receipt = await client.commit()
            hang.released.set()
            slowly = await slow.commit()
    await down_to(before)

    assert ({}, {}) == (receipt.failures, slowly.failures)
    assert {"faulty", "recorder"} == set(slowly.processors)
