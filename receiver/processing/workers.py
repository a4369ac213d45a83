"""Threads that run processors. If a call of a processor hangs, another thread replaces its own."""

from __future__ import annotations

import asyncio
import queue
import threading
import time
from collections import deque
from collections.abc import Callable
from typing import Final

WATCH_INTERVAL_S: Final = 0.25
RELIEF_S: Final = 1.0
"""If a call takes longer, another thread starts beside it, so that other streams do not wait."""

GATHER_S: Final = 0.004
"""Small jobs wait this long for others, because waking a thread costs more than one job."""

RELIEVED: Final = 2
"""Additional threads for slow calls. If all wait for one model, more would not help."""


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
        self.group: deque[Job] = deque()
        """The jobs of its group that no thread has begun."""
        self.called: float | None = None
        self.seen: float | None = None
        """The value of `called` at the last look of `watch`."""
        self.company = 0
        """The most calls that ran at the same time as this one, itself included."""
        self.relieved = False
        """Whether another thread was started for the jobs behind it."""
        self.abandoned = False
        self.finished = False


class Workers:
    """
    A fixed number of threads for one processor. A thread that hangs is abandoned and replaced.

    Calls of one processor may wait for one another, for instance for a model that takes one call at
    a time. So a call hangs if no call of the processor has ended for *timeout* seconds, or if it
    takes longer than *timeout* for each call that it may wait for.

    concurrent.futures cannot do this: its pool shrinks with each hanging thread, and the
    interpreter waits for all threads at exit.
    """

    def __init__(self, threads: int, timeout: float) -> None:
        self.stuck = 0
        """Abandoned threads whose calls have not returned."""
        self._loop = asyncio.get_running_loop()
        self._timeout = timeout
        self._threads = threads
        self._queue: queue.SimpleQueue[deque[Job] | None] = queue.SimpleQueue()
        self._small: deque[Job] = deque()
        self._handed_over = 0.0
        self._ended_at = 0.0  # when the last call ended
        self._running: set[Job] = set()
        self._finished: list[Job] = []  # the event loop was told of the first
        self._relieved = 0
        self._lock = threading.Lock()  # decides whether a job finished or was abandoned
        for _ in range(threads):
            self._start_thread()

    def submit(self, job: Job, *, small: bool = False) -> None:
        """Run *job* as soon as a thread is free; a *small* one may wait a moment for others."""
        self._running.add(job)
        if not small:
            job.group.append(job)
            self._queue.put(job.group)
            return
        job.group = self._small
        self._small.append(job)
        if len(self._small) == 1:
            self._loop.call_at(self._handed_over + GATHER_S, self._hand_over)

    def run_here(self, job: Job) -> None:
        """Run *job* here, on the event loop; `done` is called a moment later."""
        job.run(job)
        self._loop.call_soon(job.done)

    async def watch(self) -> None:
        """Cut off the jobs whose current call takes too long; run this as a task."""
        while True:
            await asyncio.sleep(WATCH_INTERVAL_S)
            now = time.monotonic()
            calls = [(job, job.called) for job in self._running if job.called is not None]
            progress = max([self._ended_at, *(called for _, called in calls)])
            for job, called in calls:
                if job.seen != called:
                    job.seen, job.company = called, 0
                job.company = max(job.company, len(calls))
                took = now - called
                if now - progress > self._timeout or took > self._timeout * job.company:
                    self._abandon(job)
                elif took > RELIEF_S:
                    self._relieve(job)

    def close(self) -> None:
        """End every thread that is not stuck."""
        for _ in range(self._threads):
            self._queue.put(None)

    def _hand_over(self) -> None:
        """Give the small jobs to one thread, so that only one has to wake."""
        self._handed_over = self._loop.time()
        group, self._small = self._small, deque()
        self._queue.put(group)
        self._loop.call_later(GATHER_S, self._help, group, self._threads - 1)

    def _help(self, group: deque[Job], threads: int) -> None:
        """Give a group that is not finished to another thread, and again after a moment."""
        if group and threads:
            self._queue.put(group)
            self._loop.call_later(GATHER_S, self._help, group, threads - 1)

    def _start_thread(self) -> None:
        threading.Thread(target=self._work, name="processors", daemon=True).start()

    def _replace_thread(self, job: Job) -> None:
        """Start a thread for the work that the thread of *job* would do next."""
        self._queue.put(job.group)
        self._start_thread()

    def _relieve(self, job: Job) -> None:
        """Start another thread for the jobs behind a slow one, whose own thread ends with it."""
        with self._lock:
            if job.finished or job.relieved or self._relieved >= RELIEVED:
                return
            job.relieved = True
            self._relieved += 1
        self._replace_thread(job)

    def _abandon(self, job: Job) -> None:
        with self._lock:
            if job.finished:
                return
            job.abandoned = True
            self._relieved -= job.relieved
        self._running.discard(job)
        self.stuck += 1
        if not job.relieved:
            self._replace_thread(job)
        job.cut_off()

    def _work(self) -> None:
        while (group := self._queue.get()) is not None:
            while group:
                try:
                    job = group.popleft()
                except IndexError:  # another thread was faster
                    break
                job.run(job)
                if not self._ended(job):
                    return

    def _ended(self, job: Job) -> bool:
        """Tell the event loop that *job* ended; return whether the thread takes another job."""
        with self._lock:
            job.finished = True
            self._ended_at = time.monotonic()
            self._relieved -= job.relieved and not job.abandoned
            self._finished.append(job)
            first = len(self._finished) == 1
        if self._loop.is_closed():
            return False
        if first:
            self._loop.call_soon_threadsafe(self._finish)
        return not (job.abandoned or job.relieved)

    def _finish(self) -> None:
        with self._lock:
            finished, self._finished = self._finished, []
        for job in finished:
            if job.abandoned:
                self.stuck -= 1
            else:
                self._running.discard(job)
                job.done()
