"""Small file systems of a test's own."""

import os
import shutil
import subprocess
from contextlib import contextmanager

import pytest

BUSY_S = 10


def _run(*command):
    return subprocess.run(command, capture_output=True, text=True, timeout=BUSY_S)


@contextmanager
def mounted(folder, source, *options):
    """Mount *source* on *folder*, and make *folder*; skip the test if mounting is not possible."""
    if os.geteuid():
        pytest.skip("NOT TESTED: mounting needs root")
    folder.mkdir(exist_ok=True)
    done = _run("mount", *options, str(source), str(folder))
    if done.returncode:
        pytest.skip(f"NOT TESTED: {done.stderr.strip()}")
    try:
        yield folder
    finally:
        _run("umount", "--lazy", str(folder))


def make_image(path, size):
    """Make a file with an ext4 file system; skip the test if that is not possible."""
    if not shutil.which("mkfs.ext4"):
        pytest.skip("NOT TESTED: mkfs.ext4 is not installed")
    with path.open("wb") as file:
        file.truncate(size)
    _run("mkfs.ext4", "-q", "-F", str(path))


def small_disk(folder, size):
    """Mount a disk that holds *size*, such as 2m, on *folder*."""
    return mounted(folder, "tmpfs", "-t", "tmpfs", "-o", f"size={size}")


def few_files(folder, files):
    """Mount a disk that can hold *files* files on *folder*."""
    return mounted(folder, "tmpfs", "-t", "tmpfs", "-o", f"size=64m,nr_inodes={files}")


def make_read_only(folder, how="ro"):
    """Make the disk on *folder* read-only; `rw` makes it writable again."""
    done = _run("mount", "-o", f"remount,{how}", str(folder))
    if done.returncode:
        pytest.skip(f"NOT TESTED: {done.stderr.strip()}")
