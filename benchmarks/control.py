"""The control: raw TCP and the raw disk through a run, which say whether the machine is steady."""

import os
import socket
import statistics
import threading
import time

from .rounds import scratch

MOST_SPREAD = 1.5
"""Highest median / lowest median of a run whose results may be published."""

REPEATED = 9
TOTAL_BYTES = 64 * 1024 * 1024
STEP_BYTES = 1024 * 1024


class Control:
    """What the same work took at several points of a run."""

    def __init__(self):
        self.medians = {"raw TCP": [], "raw disk": []}
        """Milliseconds, one for each point."""

    def measure(self):
        """Take the medians of a few quick repetitions now."""
        for name, once in (("raw TCP", _through_tcp), ("raw disk", _to_disk)):
            taken = [once() * 1000 for _ in range(REPEATED)]
            self.medians[name].append(statistics.median(taken))


def unsteady(medians):
    """
    Return why a run's results must not be published, or an empty text.

    Args:
        medians: for each kind of work, what it took at each point of the run.
    """
    why = []
    for name, taken in medians.items():
        spread = max(taken) / min(taken)
        if spread > MOST_SPREAD:
            points = ", ".join(f"{each:.3g}" for each in taken)
            why.append(f"{name} took {points} ms: a spread of {spread:.2f}")
    return f"{'; '.join(why)}, at most {MOST_SPREAD}" if why else ""


def _through_tcp():
    data, buffer = bytes(STEP_BYTES), bytearray(STEP_BYTES)
    with (
        socket.create_server(("127.0.0.1", 0)) as listening,
        socket.create_connection(listening.getsockname()) as sending,
        listening.accept()[0] as receiving,
    ):
        started = time.perf_counter()
        writer = threading.Thread(target=_send, args=(sending, data))
        writer.start()
        left = TOTAL_BYTES
        while left:
            left -= receiving.recv_into(buffer)
        writer.join()
        return time.perf_counter() - started


def _send(sending, data):
    for _ in range(0, TOTAL_BYTES, len(data)):
        sending.sendall(data)


def _to_disk():
    data = bytes(STEP_BYTES)
    with scratch() as folder:
        started = time.perf_counter()
        with (folder / "payload").open("wb", buffering=0) as file:
            for _ in range(0, TOTAL_BYTES, len(data)):
                file.write(data)
                os.fdatasync(file.fileno())
        return time.perf_counter() - started
