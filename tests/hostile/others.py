"""Attacks that are tests already, each in a process of its own: one line for all of a kind."""

import re
import subprocess
import sys

MOST_S = 300
KINDS = {
    "receivers that lie to a sender": ["tests/integration/test_sender_lying_receivers.py"],
    "hostile files in a folder": ["tests/integration/test_sender_hostile_folders.py"],
    "a program in the decoder's place": ["tests/sonoduct/runtime/test_confinement.py"],
}
QUICK = {"receivers that lie to a sender": "hold_a_sender or memory"}


def tests(name):
    """Return a check that runs the tests of the kind *name*."""

    def check(*, quick, work, without=""):
        command = [sys.executable, "-m", "pytest", "-q", "--numprocesses", "2", *KINDS[name]]
        if quick and name in QUICK:
            command += ["-k", QUICK[name]]
        done = subprocess.run(command, capture_output=True, text=True, timeout=MOST_S)
        last = (done.stdout.strip().splitlines() or ["nothing"])[-1]
        failed = re.findall(r"^FAILED (\S+)", done.stdout, re.MULTILINE)
        return last, failed[:3] if failed else [last] if done.returncode else []

    return check
