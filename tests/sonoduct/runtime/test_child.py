"""Children: what they may use, what is heard of them, and that none is left."""

import ctypes
import os
import re
import signal
import sys
import threading
import time
from contextlib import contextmanager
from pathlib import Path

import pytest

from sonoduct.runtime.child import Cancellation, Child, ChildLimits, OutOfTime

ROOM = ChildLimits(memory_bytes=2**30, cpu_seconds=5, wall_seconds=10)

LINUX = pytest.mark.skipif(sys.platform != "linux", reason="other systems have no such means")


@contextmanager
def running(code, limits=ROOM, stdin=os.devnull, **how):
    """A child that runs Python code."""
    with open(stdin, "rb") as file:  # noqa: PTH123
        child = Child([sys.executable, "-I", "-S", "-c", code], file.fileno(), limits, **how)
    try:
        yield child
    finally:
        child.close()


def said(code, **how):
    """All of the output of Python code in a child; it has to end well."""
    with running(code, **how) as child:
        output = child.read(10**6).decode()

        assert 0 == child.exit_code(), child.errors
    return output


def test_output_comes_in_the_sizes_that_are_asked_for():
    """Whole pieces, however they were written; less at the end, then nothing."""
    with running("import os\nfor _ in range(500): os.write(1, b'0123456789')") as child:
        assert b"012345678901234567890" == child.read(21)
        assert 4979 == len(child.read(10_000))
        assert b"" == child.read(1)
        assert 0 == child.exit_code()


def test_its_input_is_the_file(tmp_path):
    """It can seek in it, and by name, too."""
    (tmp_path / "a").write_bytes(b"0123456789")
    code = "import os; os.lseek(0, 5, 0); print(os.read(0, 9), open('/dev/stdin').read())"

    assert "b'56789' 0123456789\n" == said(code, stdin=tmp_path / "a")


def test_what_it_says_is_kept_to_the_last_line():
    """However much that is, it blocks nobody."""
    code = "import sys\nfor at in range(100000): print('line', at, file=sys.stderr)\nsys.exit(3)"
    with running(code, kept=100) as child:
        assert b"" == child.read(10)
        assert 3 == child.exit_code()
        assert 100 == len(child.errors)
        assert "line 99999" == child.last_line


def test_it_inherits_nothing():
    """No variable, no file, no place; a session and a group of its own."""
    with open(__file__, "rb") as secret:  # noqa: PTH123
        os.set_inheritable(secret.fileno(), True)
        code = (
            "import os; print(set(os.environ) - {'LC_CTYPE'}, sorted(os.listdir('/dev/fd'))[:-1],"
            "os.getcwd(), os.getsid(0) == os.getpid() == os.getpgid(0))"
        )  # LC_CTYPE is what Python gives itself
        variables, rest = said(code).split("}")

        assert {"HOME", "MALLOC_ARENA_MAX", "OPENBLAS_NUM_THREADS"} == set(
            re.findall(r"\w+", variables)
        )
        assert " ['0', '1', '2'] / True\n" == rest


def test_too_much_memory():
    """It gets no more than it may have, and others do not notice."""
    limits = ChildLimits(memory_bytes=2**28, cpu_seconds=5, wall_seconds=10)
    with running("bytearray(2**29)", limits) as child:
        assert b"" == child.read(10)
        assert 1 == child.exit_code()
        assert "MemoryError" == child.last_line


def test_too_much_computing():
    """The kernel ends it, whether anybody reads or not."""
    limits = ChildLimits(memory_bytes=2**28, cpu_seconds=1, wall_seconds=10)
    with running("while True: pass", limits) as child:
        assert b"" == child.read(10)
        assert -signal.SIGXCPU == child.exit_code()


@pytest.mark.parametrize(
    "code",
    [
        "import time; time.sleep(60)",
        "import os, time\nwhile True: os.write(1, b'.'); time.sleep(0.01)",
        "import os, time; os.close(1); time.sleep(60)",
        "import os, time; os.close(1); os.close(2); time.sleep(60)",
    ],
    ids=["silence", "dribbling", "closed output", "closed everything"],
)
def test_too_much_waiting(code):
    """It is killed, with what has come by then lost."""
    limits = ChildLimits(memory_bytes=2**28, cpu_seconds=5, wall_seconds=0.4)
    with running(code, limits) as child:
        started = time.monotonic()
        with pytest.raises(OutOfTime):
            child.exit_code() if not child.read(10**6) else None

        assert time.monotonic() - started < 5
        assert -signal.SIGKILL == child._process.wait(5)


def test_a_slow_reader_is_not_the_child_s_fault():
    """Only the time that its reader waits is counted."""
    limits = ChildLimits(memory_bytes=2**28, cpu_seconds=5, wall_seconds=1)
    with running("import os; os.write(1, b'x' * 300_000)", limits) as child:
        child.read(10)
        child._selector.select()
        patience = child._patience
        time.sleep(0.3)  # the reader's own time: no event tells that it has passed

        assert 299_990 == len(child.read(10**6))
        assert child._patience > patience - 0.3


def test_a_read_that_waits_ends_when_the_child_is_killed():
    """By another thread, at once."""
    with running("import time; time.sleep(60)") as child:
        threading.Timer(0.1, child.kill).start()

        assert b"" == child.read(10)
        assert -signal.SIGKILL == child.exit_code()


def test_what_it_has_started_goes_with_it():
    """The whole group is killed."""
    code = "import os, time\nos.fork()\nos.write(1, b'.')\ntime.sleep(60)"
    with running(code, ChildLimits(memory_bytes=2**28, cpu_seconds=5, wall_seconds=5)) as child:
        child.read(2)
        child.kill()

        while child.read(100):  # its output ends when the last one that holds it is gone
            pass


@LINUX
def test_no_file_can_be_changed(tmp_path):
    """Neither made, nor written to, nor emptied, nor removed."""
    there = tmp_path / "there"
    there.write_text("content")
    code = f"""
import os
for change in (
    lambda: open({os.fspath(tmp_path / "new")!r}, "w"),
    lambda: open({os.fspath(there)!r}, "a").write("more"),
    lambda: open({os.fspath(there)!r}, "w"),
    lambda: os.remove({os.fspath(there)!r}),
    lambda: os.mkdir({os.fspath(tmp_path / "folder")!r}),
):
    try:
        change()
    except OSError as exc:
        print(type(exc).__name__)
"""

    if ctypes.CDLL(None).syscall(444, None, 0, 1) < 1:  # landlock_create_ruleset, for its version
        pytest.skip("this kernel has no Landlock, or it is switched off")

    assert ["PermissionError"] * 5 == said(code).split()
    assert "content" == there.read_text()
    assert [there] == list(tmp_path.iterdir())


@LINUX
def test_no_socket_can_be_made():
    """Of no kind, neither by it nor by what it starts."""
    code = """
import os, socket
for make in (
    lambda: socket.socket(socket.AF_INET, socket.SOCK_STREAM),
    lambda: socket.socket(socket.AF_INET6, socket.SOCK_DGRAM),
    lambda: socket.socket(socket.AF_UNIX),
    socket.socketpair,
):
    try:
        make()
    except OSError as exc:
        print(type(exc).__name__)
"""
    code = code.replace("socket\nfor", "_socket as socket\nfor")

    assert ["PermissionError"] * 4 == said(code).split()


@LINUX
def test_no_privilege_can_be_gained():
    """A set-uid program would run as who started it."""
    assert "NoNewPrivs:\t1\n" in said("print(open('/proc/self/status').read())")


def test_a_program_that_is_not_there():
    """The launcher says so."""
    with open(os.devnull, "rb") as file:  # noqa: PTH123
        child = Child(["/no/such/program"], file.fileno(), ROOM)

        assert b"" == child.read(10)
        assert 1 == child.exit_code()
        assert "No such file or directory" in child.last_line
        child.close()


@LINUX
def test_it_goes_first_when_memory_runs_out():
    """Not whoever has started it; that it may say so is what everybody may."""
    assert "1000\n" == said("print(open('/proc/self/oom_score_adj').read(), end='')")
    assert "1000\n" != Path("/proc/self/oom_score_adj").read_text()


def test_a_cancelled_wait_ends():
    """Of whoever reads at that moment; what is started later is ended at once."""
    cancellation, hang = Cancellation(), "import time; time.sleep(60)"
    with running(hang, cancellation=cancellation) as child:
        timer = threading.Timer(0.1, cancellation.cancel)
        timer.start()
        started = time.monotonic()

        assert b"" == child.read(1)
        assert -signal.SIGKILL == child.exit_code()
        timer.join()
    with running(hang, cancellation=cancellation) as child:
        assert b"" == child.read(1)
        assert -signal.SIGKILL == child.exit_code()
    cancellation.cancel()

    assert time.monotonic() - started < 5
