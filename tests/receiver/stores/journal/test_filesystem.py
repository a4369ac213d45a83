"""What file systems differ in: one sync for all files, and room that is reserved."""

import errno
import os
import platform
import subprocess
from pathlib import Path

import pytest

from receiver.stores.journal import PosixDisk, disk

DISK = PosixDisk()


@pytest.fixture
def handle(tmp_path):
    handle = os.open(tmp_path, os.O_RDONLY | os.O_DIRECTORY)
    yield handle
    os.close(handle)


def kind_of(path):
    """Return the file system's name, as the kernel lists it."""
    command = ("stat", "-f", "-c", "%t", path)
    answer = subprocess.run(command, capture_output=True, check=True, text=True)
    return disk.KNOWN.get(int(answer.stdout, 16))


def test_it_is_relied_on_where_it_is_known(tmp_path, handle):
    """One sync is used where the system's own tool names a file system that reports faults."""
    found = DISK.syncs_all(handle)

    assert (kind_of(tmp_path) is not None) == found


@pytest.mark.parametrize("path", ["/proc", "/sys", "/dev"])
def test_others_are_not(path):
    """Other file systems may not report that data was lost."""
    handle = os.open(path, os.O_RDONLY | os.O_DIRECTORY)
    try:
        assert not DISK.syncs_all(handle)
    finally:
        os.close(handle)


@pytest.mark.parametrize(
    ("release", "expected"),
    [
        ("5.7.19-generic", False),
        ("4.19.0", False),
        ("5.8", True),
        ("6.1.0-9-amd64", True),
        ("?", False),
    ],
)
def test_older_kernels_do_not_tell(handle, monkeypatch, release, expected):
    """Before Linux 5.8 the call succeeded even if data was lost."""
    monkeypatch.setattr(disk, "_type_of", lambda _handle: 0xEF53)
    monkeypatch.setattr(platform, "release", lambda: release)

    assert expected == DISK.syncs_all(handle)


def test_it_is_done(tmp_path, handle):
    """The sync returns nothing, and can be repeated."""
    (tmp_path / "file").write_bytes(bytes(100))
    for _ in range(2):
        assert DISK.sync_all(handle) is None


def test_a_failure_is_an_os_error():
    """The error is the system call's."""
    handle = os.open(Path("/"), os.O_RDONLY)
    os.close(handle)
    with pytest.raises(OSError, match="Bad file descriptor") as raised:
        DISK.sync_all(handle)

    assert errno.EBADF == raised.value.errno
    assert not DISK.syncs_all(handle)


def test_reserved_room(tmp_path):
    """The file gets its blocks, and stays as long as it is; a refusal does not matter."""
    if kind_of(tmp_path) is None:
        pytest.skip("this file system may not reserve")
    path = tmp_path / "segment"
    path.write_bytes(b"audio")
    with path.open("ab") as file:
        DISK.reserve(file.fileno(), 1024 * 1024)
    with path.open("rb") as file:
        DISK.reserve(file.fileno(), 1024 * 1024 * 1024)  # not open to write
    found = path.stat()

    assert b"audio" == path.read_bytes()
    assert 1024 * 1024 <= found.st_blocks * 512 < 2 * 1024 * 1024
