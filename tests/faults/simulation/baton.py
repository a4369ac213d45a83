"""Threads of which one runs at a time: blocking code under a scheduler that decides everything."""

from __future__ import annotations

from _thread import allocate_lock
from concurrent.futures import ThreadPoolExecutor

_THREADS = ThreadPoolExecutor(256, "simulated")


class Killed(BaseException):
    """The process is gone. Not an Exception: its code must not run any more."""


class Task:
    """Blocking code that stands still at every `pause`, until it is resumed."""

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
        """Let it run, past *steps* pauses at most."""
        self._steps = steps
        if self._begun:
            self._mine.release()
        else:
            self._begun = True
            _THREADS.submit(self._run)
        self._other.acquire()

    def pause(self):
        """Stand still (called from inside); the scheduler resumes other tasks."""
        self._steps -= 1
        if self._steps <= 0:
            self._other.release()
            self._mine.acquire()
        if self.killed:
            raise Killed

    def wait(self):
        """Stand still even if there are steps left."""
        self._steps = 0
        self.pause()

    def kill(self):
        """End it where it stands."""
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
