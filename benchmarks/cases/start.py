"""How long it takes until something is there: start."""

import subprocess
import sys
import time

from benchmarks.processes import receiver
from benchmarks.results import Case
from benchmarks.rounds import scratch

SERVE, VERSION = "receiver serve, to ready", "sender --version"


def start(scale):
    """Both by turns, with warm caches."""
    case = Case("start", "from the command to its effect")
    with scratch() as folder:
        for _ in range(scale.rounds):
            began = time.perf_counter()
            with receiver("--store", str(folder / "store")):
                case.add(SERVE, seconds=time.perf_counter() - began)
            began = time.perf_counter()
            command = [sys.executable, "-m", "sender", "--version"]
            subprocess.run(command, check=True, stdout=subprocess.DEVNULL)  # noqa: S603  # ours
            case.add(VERSION, seconds=time.perf_counter() - began)
    case.goal(SERVE, case.median(SERVE), most=0.8)
    case.goal(VERSION, case.median(VERSION), most=0.3)
    return case
