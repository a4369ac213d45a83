"""Child processes: their limits, their output, and their end."""

import os
import re
import signal
import sys
import threading
import time
from contextlib import contextmanager, suppress
from pathlib import Path

import pytest

from sonoduct.runtime.child import Cancellation, Child, ChildLimits, OutOfTime

ROOM = ChildLimits(memory_bytes=2**30, cpu_seconds=5, wall_seconds=10)

LINUX = pytest.mark.skipif(sys.platform != "linux", reason="other systems have no such means")


@contextmanager
def running(code, limits=ROOM, stdin=os.devnull, **how):
    """Run Python code in a child; close it at the end."""
    with open(stdin, "rb") as file:  # noqa: PTH123
        child = Child([sys.executable, "-I", "-S", "-c", code], file.fileno(), limits, **how)
    try:
        yield child
    finally:
        child.close()


def said(code, **how):
    """Return all output of Python code in a child, which must exit with 0."""
    with running(code, **how) as child:
        output = child.read(10**6).decode()

        assert 0 == child.exit_code(), child.errors
    return output


def members(child):
    """Return the folders in /proc of the processes of a child: of itself, and those around it."""
    found = []
    for each in Path("/proc").glob("[0-9]*"):
        with suppress(ProcessLookupError):
            if os.getpgid(int(each.name)) == child._process.pid:
                found.append(each)
    return found


def test_output_comes_in_the_sizes_that_are_asked_for():
    """A read gives as many bytes as asked for, however they were written, and fewer at the end."""
    with running("import os\nfor _ in range(500): os.write(1, b'0123456789')") as child:
        assert b"012345678901234567890" == child.read(21)
        assert 4979 == len(child.read(10_000))
        assert b"" == child.read(1)
        assert 0 == child.exit_code()


def test_the_input_is_the_file(tmp_path):
    """The child can seek in the file, and can open it as /dev/stdin."""
    (tmp_path / "a").write_bytes(b"0123456789")
    code = "import os; os.lseek(0, 5, 0); print(os.read(0, 9), open('/dev/stdin').read())"

    assert "b'56789' 0123456789\n" == said(code, stdin=tmp_path / "a")


def test_the_end_of_the_errors_is_kept():
    """However much the child writes to standard error, it is not blocked."""
    code = "import sys\nfor at in range(100000): print('line', at, file=sys.stderr)\nsys.exit(3)"
    with running(code, kept=100) as child:
        assert b"" == child.read(10)
        assert 3 == child.exit_code()
        assert 100 == len(child.errors)
        assert "line 99999" == child.last_line


IS_OPEN = """
import os
def is_open(descriptor):
    try:
        return bool(os.fstat(descriptor))
    except OSError:
        return False
"""


def test_a_child_inherits_nothing():
    """The child has no variable, descriptor or folder of its parent."""
    with open(__file__, "rb") as secret:  # noqa: PTH123
        os.set_inheritable(secret.fileno(), True)
        code = (
            IS_OPEN
            + "print(set(os.environ) - {'LC_CTYPE'}, [at for at in range(32) if is_open(at)],"
            "os.getcwd())"
        )  # Python sets LC_CTYPE itself
        variables, rest = said(code).split("}")

        assert {"HOME", "MALLOC_ARENA_MAX", "OPENBLAS_NUM_THREADS"} == set(
            re.findall(r"\w+", variables)
        )
        assert " [0, 1, 2] /\n" == rest


def test_too_much_memory():
    """If the child asks for more memory than it may have, it gets a MemoryError."""
    limits = ChildLimits(memory_bytes=2**28, cpu_seconds=5, wall_seconds=10)
    with running("bytearray(2**29)", limits) as child:
        assert b"" == child.read(10)
        assert 1 == child.exit_code()
        assert "MemoryError" == child.last_line


def test_too_much_computing():
    """If the child uses up its CPU time, the kernel ends it."""
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
    """If the child keeps its reader waiting for too long, it is killed."""
    limits = ChildLimits(memory_bytes=2**28, cpu_seconds=5, wall_seconds=0.4)
    with running(code, limits) as child:
        started = time.monotonic()
        with pytest.raises(OutOfTime):
            child.exit_code() if not child.read(10**6) else None

        assert time.monotonic() - started < 5
        assert -signal.SIGKILL == child._process.wait(5)


def test_a_slow_reader_is_not_the_child_s_fault():
    """Only the time counts in which the reader waits for the child."""
    limits = ChildLimits(memory_bytes=2**28, cpu_seconds=5, wall_seconds=1)
    with running("import os; os.write(1, b'x' * 300_000)", limits) as child:
        child.read(10)
        child._selector.select()
        patience = child._patience
        time.sleep(0.3)  # the reader's own time: no event tells that it has passed

        assert 299_990 == len(child.read(10**6))
        assert child._patience > patience - 0.3


def test_a_read_that_waits_ends_when_the_child_is_killed():
    """If another thread kills the child, the read ends at once."""
    with running("import time; time.sleep(60)") as child:
        threading.Timer(0.1, child.kill).start()

        assert b"" == child.read(10)
        assert -signal.SIGKILL == child.exit_code()


@LINUX
def test_no_privilege_can_be_gained():
    """The child runs with NoNewPrivs, so that a set-uid program gives it no rights."""
    with running("import os, time; os.write(1, b'.'); time.sleep(60)") as child:
        child.read(1)
        statuses = [(each / "status").read_text() for each in members(child)]

    assert statuses
    assert all("NoNewPrivs:\t1\n" in each for each in statuses)


@LINUX
def test_nothing_is_left_of_a_child():
    """A child has a session of its own; when it was killed, none of its processes is there."""
    with running("import os, time; os.write(1, b'.'); time.sleep(60)") as child:
        child.read(1)
        there = members(child)
        sessions = {os.getsid(int(each.name)) for each in there}
        child.kill()
        until = time.monotonic() + 5
        while left := [each for each in members(child) if state(each) != "Z"]:
            assert time.monotonic() < until, left

        assert {child._process.pid} == sessions


def state(process):
    """Return the state of a process: Z, if it is dead and its parent has not looked yet."""
    try:
        return (process / "stat").read_text().rpartition(")")[2].split()[0]
    except OSError:
        return "Z"


def test_a_program_that_is_not_there():
    """The launcher says that there is no such program, and exits with 1."""
    with open(os.devnull, "rb") as file:  # noqa: PTH123
        child = Child(["/no/such/program"], file.fileno(), ROOM)

        assert b"" == child.read(10)
        assert 1 == child.exit_code()
        assert "No such file or directory" in child.last_line
        child.close()


@LINUX
def test_the_child_is_killed_first_when_memory_runs_out():
    """The child has the highest oom_score_adj, and its parent does not."""
    with running("import os, time; os.write(1, b'.'); time.sleep(60)") as child:
        child.read(1)
        scores = {(each / "oom_score_adj").read_text() for each in members(child)}

    assert {"1000\n"} == scores
    assert "1000\n" != Path("/proc/self/oom_score_adj").read_text()


def test_a_cancellation_ends_children():
    """The child that is being read ends, and so does each one that is started later."""
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
