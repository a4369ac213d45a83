"""A real disk that fails in one call, or runs a test's action just before it."""

import errno
import os
from functools import partial

from receiver.stores.journal import PosixDisk

METHODS = [name for name in vars(PosixDisk) if not name.startswith("_")]


class HastyDisk(PosixDisk):
    """A disk without syncs, for preparations: they need not survive a power cut."""

    def sync(self, handle):
        pass

    def sync_folder(self, folder):
        pass


class FaultyDisk(PosixDisk):
    """A PosixDisk that counts its calls, and runs a test's action before any of them."""

    def __init__(self):
        self.calls = []
        """The names of the methods that were called, in order."""
        self.open = set()
        """The handles that are created and not closed."""
        self._plans = {}
        for name in METHODS:
            setattr(self, name, partial(self._call, name, getattr(self, name)))

    def before(self, method, action, nth=1):
        """
        Call *action* before the *nth* call of *method* from now on, with the same arguments.

        The method "any" counts the calls of all methods.
        """
        self._plans[method, self._count(method) + nth] = action

    def fail(self, method, code=errno.EIO, nth=1):
        """Let the *nth* call of *method* from now on fail without any effect."""
        self.before(method, lambda *_: refuse(code), nth)

    def tear(self, size, code=errno.ENOSPC, nth=1):
        """Let the *nth* write from now on write *size* bytes, and then fail."""

        def torn(handle, buffers):
            os.write(handle, b"".join(buffers)[:size])
            refuse(code)

        self.before("write", torn, nth)

    def _count(self, method):
        return len(self.calls) if method == "any" else self.calls.count(method)

    def _call(self, name, real, *args):
        self.calls.append(name)
        if name == "close":
            self.open.remove(*args)
        for method in (name, "any"):
            plan = self._plans.pop((method, self._count(method)), None)
            if plan is not None:
                plan(*args)
        result = real(*args)
        if name in ("create", "hold"):
            self.open.add(result)
        return result


def refuse(code):
    """Fail as a system call does."""
    raise OSError(code, os.strerror(code))
