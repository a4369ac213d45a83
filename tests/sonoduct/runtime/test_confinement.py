"""A program in a decoder's place: what it tries, and which guard refuses it."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
from structlog.testing import capture_logs

from sonoduct.runtime import launch
from sonoduct.runtime.child import Child, ChildLimits, missing_guards
from sonoduct.runtime.guards import log_missing_guards
from tests.support import attempts

ROOM = ChildLimits(memory_bytes=2**30, cpu_seconds=5, wall_seconds=10)

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="other systems have no such means")


@pytest.fixture
def store(tmp_path):
    """Make a folder with files that a decoder has no business with, and a file to decode."""
    (tmp_path / "input").write_bytes(b"audio")
    attempts.prepare(tmp_path)
    return tmp_path


def command(store):
    return [sys.executable, "-I", "-S", attempts.__file__, str(store), str(os.getpid())]


def confined(store, limits=ROOM):
    """Run the attempts as a decoder; return those that were not refused."""
    with open(store / "input", "rb") as file:  # noqa: PTH123
        child = Child(command(store), file.fileno(), limits, reads=(attempts.__file__,))
    try:
        said = child.read(10**6)

        assert 0 == child.exit_code(), child.errors
    finally:
        child.close()
    return succeeded(said)


def succeeded(said):
    results = json.loads(said)

    assert len(results) > 70
    return {name: each["how"] for name, each in results.items() if not each["refused"]}


@pytest.fixture
def require_all_guards():
    """Skip if this kernel cannot do everything, except a namespace of processes."""
    lacking = [each for each in missing_guards() if not each.startswith("a namespace")]
    if lacking:
        pytest.skip(f"this kernel lacks {'; '.join(lacking)}")


@pytest.mark.usefixtures("require_all_guards")
@pytest.mark.parametrize("threads", [False, True])
def test_a_decoder_can_do_nothing(store, threads):
    """A program in the decoder's place cannot do one of these things, and changes no file."""
    before = {each: each.stat() for each in store.iterdir()}
    limits = ChildLimits(memory_bytes=2**30, cpu_seconds=5, wall_seconds=10, threads=threads)

    assert {} == confined(store, limits)
    assert {each: each.stat() for each in store.iterdir()}.items() >= before.items()


def test_without_guards_it_can(store):
    """The same program succeeds with most attempts if nothing confines it."""
    with (store / "input").open("rb+") as file:
        run = subprocess.run(
            command(store), stdin=file, capture_output=True, check=True, start_new_session=True
        )

    assert len(succeeded(run.stdout)) > 50


def without(folder, guard):
    """Write a launcher that leaves a *guard* out: the function returns before it does anything."""
    text = Path(launch.__file__).read_text()
    begin = text.index(f"def {guard}(")
    begin = text.index('"""', text.index('"""', begin) + 3) + 4
    changed = folder / "launch.py"
    changed.write_text(f"{text[:begin]}    return []\n{text[begin:]}")
    return str(changed)


NEEDED = {
    "_restrict_files": {"list the store", "read a recording", "read /etc/passwd", "list /proc"},
    "_restrict_calls": {"chmod a journal", "utime a journal", "setns", "socket of this machine"},
}


@pytest.mark.usefixtures("require_all_guards")
@pytest.mark.parametrize("guard", NEEDED)
def test_each_guard_is_needed(store, monkeypatch, tmp_path_factory, guard):
    """Without Landlock files can be read; without seccomp calls that Landlock does not know."""
    changed = without(tmp_path_factory.mktemp("launcher"), guard)
    monkeypatch.setattr(launch, "__file__", changed)
    found = confined(store)

    assert found.keys() >= NEEDED[guard]


def test_a_file_with_network_reads_no_more_than_names_and_certificates(store):
    """A program with network can make sockets, except of this machine, and do nothing else more."""
    limits = ChildLimits(memory_bytes=2**30, cpu_seconds=5, wall_seconds=10, network=True)
    sockets = {"socket of the internet", "socket of IPv6", "socket of the kernel"}

    assert sockets >= confined(store, limits).keys()


def test_what_a_kernel_lacks_is_told(monkeypatch, tmp_path):
    """An older kernel's guards are named with the version or the architecture that it has."""
    text = Path(launch.__file__).read_text()
    changed = tmp_path / "launch.py"
    changed.write_text(
        text.replace("version = libc.syscall(", "version = 3, libc.syscall(")
        .replace("_OF_THE_VERSION)\n", "_OF_THE_VERSION)\n    version = version[0]\n")
        .replace("machine = os.uname().machine", 'machine = "riscv64"')
        .replace("libc.unshare(", "libc.setns(-1, ")
    )
    monkeypatch.setattr(launch, "__file__", str(changed))

    assert [
        "a namespace of processes: Bad file descriptor",
        "Landlock: version 3, expected 6",
        "seccomp: the architecture is riscv64, expected x86_64 or aarch64",
    ] == missing_guards()


@pytest.mark.parametrize(
    ("missing", "levels"),
    [
        ([], []),
        (["a namespace of processes: Operation not permitted"], ["info"]),
        (["a namespace of processes: no", "Landlock: version 3, expected 6"], ["warning"]),
    ],
)
async def test_the_start_log_says_what_is_missing(monkeypatch, missing, levels):
    """There is one line, or none; a guard that others do not replace is a warning."""
    monkeypatch.setattr("sonoduct.runtime.guards.missing_guards", lambda: missing)
    with capture_logs() as logs:
        await log_missing_guards()

    assert levels == [line["log_level"] for line in logs]
    assert [missing] * len(levels) == [line["missing"] for line in logs]
