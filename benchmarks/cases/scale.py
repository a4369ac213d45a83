"""Several receivers that share a store: scale."""

import os
import time
from contextlib import ExitStack
from dataclasses import replace

from benchmarks.audio import noise
from benchmarks.contenders.ours import SPEED, check, send_paced
from benchmarks.processes import child, receiver
from benchmarks.results import Case
from benchmarks.rounds import scratch
from benchmarks.usage import Meter

FIGURE = "receivers' CPU s per hour of audio"
RECORDED_S = 60
BETWEEN_S = 0.25
"""Between the starts of two streams: as in life, their recordings are not made in one moment."""


def several(scale):
    """Each gets a stream of its own, at a pace that leaves room for all."""
    seconds = scale.pick(100, 30)
    case = Case(
        "scale",
        f"1, 2 and 4 receivers, one {seconds} s WAV for each at {SPEED} times its speed, durable",
    )
    with scratch() as folder:
        sound = noise(folder / "noise.wav", seconds)
        for _ in range(scale.few(3)):
            for count in (1, 2, 4):
                case.add(_name(count), **{FIGURE: _cost(sound, count) * 3600 / (seconds * count)})
    for count in (2, 4):
        reached = case.ratio(_name(count), _name(1), FIGURE)
        case.goal(f"{_name(count)} / 1 receiver", reached, least=0.9, most=1.1)
    return case


def _name(count):
    return f"{count} receiver{'s' * (count > 1)}"


def _cost(sound, count):
    with ExitStack() as stack:
        folder = stack.enter_context(scratch())
        store = folder / "store"
        servers = [stack.enter_context(receiver("--store", str(store))) for _ in range(count)]
        clients = []
        for number, server in enumerate(servers):
            path = folder / f"{number}.wav"  # a stream of its own
            os.link(sound.path, path)
            same = replace(sound, path=path)
            clients.append(stack.enter_context(child(send_paced, server.url, [same])))
        for client in clients:
            client.hear()
        meters = [Meter(server.pid) for server in servers]
        for client in clients:
            client.tell()
            time.sleep(BETWEEN_S)
        for client in clients:
            check(client.hear(), [sound], folder)
        _wait_for_recordings(store / "audio", count)
        return sum(meter.cost().cpu_seconds for meter in meters)


def _wait_for_recordings(folder, count):
    until = time.monotonic() + RECORDED_S
    while len(list(folder.glob("*.json"))) < count:
        if time.monotonic() > until:
            raise TimeoutError(f"no {count} recordings in {folder} after {RECORDED_S} s")
        time.sleep(0.02)
