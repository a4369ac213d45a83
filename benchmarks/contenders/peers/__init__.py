"""
Programs that people would use instead, as contenders: `make bench-peers`.

Each that writes a file has a variant with a sync before the sender counts as done, and one without.
A program of the system or a package that is missing raises AbsentError with its name.
"""

import filecmp
import os
import resource
import shutil
import time
from importlib import import_module

from benchmarks.contenders import AbsentError, require

FILE = "received"
RUN_S = 120
"""What one transfer may take."""


def needs_program(name):
    """Return the path of a program of the system."""
    if not (found := shutil.which(name)):
        raise AbsentError(f"no program {name}")
    return found


def needs_package(name):
    """Import a package of the group `peers`."""
    try:
        return import_module(name)
    except ImportError as exc:
        raise AbsentError(f"no Python package {name}: {exc}") from exc


def spent_by_children():
    """Return the CPU seconds of this process's children that have ended."""
    spent = resource.getrusage(resource.RUSAGE_CHILDREN)
    return spent.ru_utime + spent.ru_stime


def synced(path):
    """Sync a file and its folder; return the seconds and the CPU seconds."""
    began, worked = time.perf_counter(), time.process_time()
    for each in (path, path.parent):
        opened = os.open(each, os.O_RDONLY)
        os.fsync(opened)
        os.close(opened)
    return time.perf_counter() - began, time.process_time() - worked


def check_copy(_answer, sounds, folder):
    """Compare the file that was received with the one that was sent, byte by byte."""
    same = filecmp.cmp(sounds[0].path, folder / FILE, shallow=False)
    require("same bytes in the file received", same, expected=True)
