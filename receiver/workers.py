"""Threads that run processors, and get replaced when a processor does not come back."""

from __future__ import annotations

import asyncio
import queue
import threading
import time
from collections.abc import Callable
from typing import Final

WATCH_INTERVAL_S: Final = 0.25
RELIEF_S: Final = 1.0
"""A call that takes longer gets a thread beside its own, so that other streams do not wait."""

RELIEVED: Final = 32
"""Threads that slow calls may get in addition."""


class Job:
    """
    Work for a thread. `run` happens there; `done` or `cut_off` happens on the event loop.

    `run` sets `called` to the monotonic time before each call that might hang.
    """

    def __init__(
        self, run: Callable[[Job], None], done: Callable[[], None], cut_off: Callable[[], None]
    ) -> None:
        self.run = run
        self.done = done
        self.cut_off = cut_off
        self.called: float | None = None
        self.relieved = False
        """Whether a thread has been started for those that wait behind it."""
        self.abandoned = False
        self.finished = False


class Workers:
    """
    A fixed number of working threads: one that hangs is left behind and another takes its place.

    concurrent.futures cannot do this: its pool shrinks with each hanging thread, and the
    interpreter waits for all of them at exit.
    """

    def __init__(self, threads: int, timeout: float) -> None:
        self.stuck = 0
        """Threads left behind that have not come back."""
        self._loop = asyncio.get_running_loop()
        self._timeout = timeout
        self._threads = threads
        self._queue: queue.SimpleQueue[Job | None] = queue.SimpleQueue()
        self._running: set[Job] = set()
        self._relieved = 0
        self._lock = threading.Lock()  # decides whether a job finished or was abandoned
        for _ in range(threads):
            self._start_thread()

    def submit(self, job: Job) -> None:
        """Run *job* as soon as a thread is free."""
        self._running.add(job)
        self._queue.put(job)

    async def watch(self) -> None:
        """Cut off the jobs whose current call takes too long; run this as a task."""
        while True:
            await asyncio.sleep(WATCH_INTERVAL_S)
            now = time.monotonic()
            for job in [each for each in self._running if each.called is not None]:
                if now - (job.called or now) > self._timeout:
                    self._abandon(job)
                elif now - (job.called or now) > RELIEF_S:
                    self._relieve(job)

    def close(self) -> None:
        """Let every thread end that is not stuck."""
        for _ in range(self._threads):
            self._queue.put(None)

    def _start_thread(self) -> None:
        threading.Thread(target=self._work, name="processors", daemon=True).start()

    def _relieve(self, job: Job) -> None:
        """Let the jobs behind a slow one go on: its thread ends with it, another starts now."""
        with self._lock:
            if job.finished or job.relieved or self._relieved >= RELIEVED:
                return
            job.relieved = True
            self._relieved += 1
        self._start_thread()

    def _abandon(self, job: Job) -> None:
        with self._lock:
            if job.finished:
                return
            job.abandoned = True
            self._relieved -= job.relieved
        self._running.discard(job)
        self.stuck += 1
        if not job.relieved:
            self._start_thread()
        job.cut_off()

    def _work(self) -> None:
        while (job := self._queue.get()) is not None:
            job.run(job)
            with self._lock:
                job.finished = True
                self._relieved -= job.relieved and not job.abandoned
            if self._loop.is_closed():
                return
            self._loop.call_soon_threadsafe(self._finish, job)
            if job.abandoned or job.relieved:
                return

    def _finish(self, job: Job) -> None:
        if job.abandoned:
            self.stuck -= 1
        else:
            self._running.discard(job)
            job.done()
