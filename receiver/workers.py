"""Threads that run processors, and get replaced when a processor does not come back."""

from __future__ import annotations

import asyncio
import queue
import threading
import time
from collections.abc import Callable
from typing import Final

WATCH_INTERVAL_S: Final = 0.25


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
            limit = time.monotonic() - self._timeout
            for job in [each for each in self._running if (each.called or limit) < limit]:
                self._abandon(job)

    def close(self) -> None:
        """Let every thread end that is not stuck."""
        for _ in range(self._threads):
            self._queue.put(None)

    def _start_thread(self) -> None:
        threading.Thread(target=self._work, name="processors", daemon=True).start()

    def _abandon(self, job: Job) -> None:
        with self._lock:
            if job.finished:
                return
            job.abandoned = True
        self._running.discard(job)
        self.stuck += 1
        self._start_thread()
        job.cut_off()

    def _work(self) -> None:
        while (job := self._queue.get()) is not None:
            job.run(job)
            with self._lock:
                job.finished = True
            if self._loop.is_closed():
                return
            self._loop.call_soon_threadsafe(self._finish, job)
            if job.abandoned:
                return

    def _finish(self, job: Job) -> None:
        if job.abandoned:
            self.stuck -= 1
        else:
            self._running.discard(job)
            job.done()
