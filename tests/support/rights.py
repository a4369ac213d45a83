"""Rights that a test takes away: root, which tests may run as, is stopped by no permission bit."""

import encodings.idna  # noqa: F401  # getaddrinfo loads it, which takes rights where Python lies
import os
import tempfile
from contextlib import contextmanager
from pathlib import Path

NOBODY = 65534


@contextmanager
def _acting_as(user):
    """Have *user*'s rights while the context is open, if the process is root's at all."""
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
    """As nobody, in the test's own process: a program of its own might not be reachable."""
    return _acting_as(NOBODY)


def with_rights():
    """As before, within `without_rights`."""
    return _acting_as(os.getuid())


@contextmanager
def enterable_folder():
    """A temporary folder that is not root's alone, as pytest's are."""
    with tempfile.TemporaryDirectory(prefix="sonoduct-rights-") as name:
        folder = Path(name).resolve()
        folder.chmod(0o755)
        yield folder
        with with_rights():
            for path in folder.rglob("*"):
                if path.is_dir() and not path.is_symlink():
                    path.chmod(0o755)
