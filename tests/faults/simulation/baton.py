"""Threads of which one runs at a time: a scheduler decides every step of blocking code."""

from __future__ import annotations

from _thread import allocate_lock
from concurrent.futures import ThreadPoolExecutor

_THREADS = ThreadPoolExecutor(256, "simulated")


class Killed(BaseException):
    """The process is killed. This is not an Exception, so that its code does not catch it."""


class Task:
    """Blocking code that stops at every `pause` until the scheduler resumes it."""

    def __init__(self, call):
        self.over = False
        self.killed = False
        self.fault: BaseException | None = None
        """What the code ended with, if it did not end well."""
        self._call = call
        self._steps = 0
        self._mine, self._other = allocate_lock(), allocate_lock()
        self._mine.acquire()
        self._other.acquire()
        self._begun = False

    def resume(self, steps=1):
        """Let the task run for at most *steps* pauses."""
        self._steps = steps
        if self._begun:
            self._mine.release()
        else:
            self._begun = True
            _THREADS.submit(self._run)
        self._other.acquire()

    def pause(self):
        """Stop here, called from inside, so that the scheduler can resume other tasks."""
        self._steps -= 1
        if self._steps <= 0:
            self._other.release()
            self._mine.acquire()
        if self.killed:
            raise Killed

    def wait(self):
        """Stop here, even if there are steps left."""
        self._steps = 0
        self.pause()

    def kill(self):
        """End the task at its present pause."""
        self.killed = True
        if not self._begun:
            self.over = True
        while not self.over:
            self.resume()

    def _run(self):
        try:
            self._call()
        except Killed:
            pass
        except BaseException as exc:  # noqa: BLE001  # a fault of the code under test, for the scheduler
            self.fault = exc
        self.over = True
        self._other.release()
