"""Processors that misbehave when they see a stream whose name is in `victims`."""

import threading


class Faulty:
    """
    A factory of processors that call *fault* in one of their methods.

    If *method* is `init`, the first processor fails: `init` does not know its stream.
    """

    __name__ = "Faulty"

    def __init__(self, method, fault, victims=("victim",)):
        self.method = method
        self.fault = fault
        self.victims = victims
        self.made = 0

    def __call__(self):
        self.made += 1
        if self.method == "init" and self.made == 1:
            self.fault()
        return _Processor(self)


class _Processor:
    def __init__(self, factory):
        self._factory = factory
        self._name = ""

    def open(self, stream):
        self._name = stream.name
        self._maybe("open")

    def process(self, samples, offset):
        return self._maybe("process")

    def close(self):
        return self._maybe("close")

    def _maybe(self, method):
        factory = self._factory
        if method == factory.method and self._name in factory.victims:
            return factory.fault()
        return None


class Hang:
    """A fault that lasts until the test ends."""

    def __init__(self):
        self.released = threading.Event()
        self.entered = threading.Semaphore(0)
        """Released once for each call."""

    def __call__(self):
        self.entered.release()
        self.released.wait()

    def __enter__(self):
        return self

    def __exit__(self, *exc):
        self.released.set()
