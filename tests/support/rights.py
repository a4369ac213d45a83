"""Tests without root's rights: no permission bit stops root, and tests may run as root."""

import encodings.idna  # noqa: F401  # getaddrinfo loads it, which takes rights where Python lies
import os
import tempfile
from contextlib import contextmanager
from pathlib import Path

NOBODY = 65534


@contextmanager
def _acting_as(user):
    """Act with *user*'s rights while the context is open; without root, change nothing."""
    before = os.geteuid()
    if os.getuid():
        yield
        return
    os.seteuid(0)
    os.seteuid(user)
    try:
        yield
    finally:
        os.seteuid(0)
        os.seteuid(before)


def without_rights():
    """Act as the user `nobody` in the test's own process, which can read the test's files."""
    return _acting_as(NOBODY)


def with_rights():
    """Act with the former rights again, within `without_rights`."""
    return _acting_as(os.getuid())


@contextmanager
def enterable_folder():
    """Make a temporary folder that every user may enter; pytest's folders admit only root."""
    with tempfile.TemporaryDirectory(prefix="sonoduct-rights-") as name:
        folder = Path(name).resolve()
        folder.chmod(0o755)
        yield folder
        with with_rights():
            for path in folder.rglob("*"):
                if path.is_dir() and not path.is_symlink():
                    path.chmod(0o755)
