"""The system calls of programs and their children: how to run strace, and how to read it."""

import re
import shutil
import sys
import time
from pathlib import Path

from sonoduct.audio.decoding import sndfile
from sonoduct.runtime import launch

CODE = Path(__file__).parents[3]

CALLS = "trace=%network,%process,io_uring_setup,open,openat,openat2,creat"

OWN = (
    *(sys.prefix, sys.base_prefix, "/usr/", "/lib", "/etc/", "/proc/", "/sys/"),
    *("/dev/null", "/dev/urandom"),
)
"""What Python and the loader of programs open."""

DECODERS = (sndfile.__file__, launch.__file__, "/dev/stdin")
"""What a child opens besides: its program, and by that name the file that it is given."""

ENDING_S = 10
"""Until strace has written down what it saw last."""

_LINE = re.compile(r"(\d+) +(\d+\.\d+) (.*)")
_MADE = re.compile(r"(?:<\.\.\. )?v?(?:fork|clone3?)\b.* = (\d+)$")
_NETWORK = re.compile(
    r"(?:<\.\.\. )?(?:socket|bind|connect|listen|accept|send|recv|io_uring|(?:get|set)sockopt"
    r"|getsockname|getpeername|shutdown)\w*[( ]"
)
_LAUNCHED = re.compile(rf'^(\d+) .* execve\(.*"{re.escape(launch.__file__)}"', re.MULTILINE)
_ENDED = re.compile(r"^(\d+) +(\S+) \+\+\+ ", re.MULTILINE)
_AWAITED = re.compile(r"^\d+ +(\S+) .*\bwait4\b.* = (\d+)$", re.MULTILINE)
"""strace may miss how a child ends that is killed; whoever has waited for it does not."""

_OPENED = re.compile(r'(?!.*O_PATH)(?:open\w*|creat)\([^"]*"([^"]*)".* = \d')


def traced(trace, *command):
    """
    Return *command* under strace: the process is the program itself, and gets its signals.

    There is no --seccomp-bpf: with it, strace would miss the calls that our own filter refuses.
    """
    how = ("-D", "-f", "-q", "-ttt", "-s", "300", "-e", "signal=none")
    return ("strace", *how, "-e", CALLS, "-o", trace, *command)


class Trace:
    """The calls of one program, read after its end."""

    def __init__(self, path):
        text = _whole(path)
        self._ends = _ends(text)
        self._lines = [_LINE.match(line).groups() for line in text.splitlines()]
        self._parents, self._threads, unfinished = {}, set(), {}
        for process, _, said in self._lines:
            if said.endswith("<unfinished ...>"):
                unfinished[process] = said
            elif made := _MADE.match(said):
                self._parents[made[1]] = process
                if "CLONE_THREAD" in unfinished.pop(process, "") + said:
                    self._threads.add(made[1])
        self._launched = {
            process: float(at)
            for process, at, said in reversed(self._lines)
            if said.startswith("execve(") and f'"{launch.__file__}"' in said
        }

    @property
    def children(self):
        """Return the number of launched children."""
        return len(self._launched)

    @property
    def seconds(self):
        """Return the lifetime of each child in seconds."""
        return [self._ends[process] - begun for process, begun in self._launched.items()]

    def of_children(self, pattern):
        """Return the calls of the children that match, failed ones included."""
        return [match for process, match in self._found(pattern) if self._is_child(process)]

    def of_program(self, pattern):
        """Return the calls of the program itself, in all of its threads."""
        return [match for process, match in self._found(pattern) if not self._is_child(process)]

    def require_confined(self, *places):
        """Require that no child used the network, and no process opened a file outside *places*."""
        tried = [match.string for match in self.of_children(_NETWORK)]
        assert not tried, tried
        foreign = {each[1] for each in self.of_children(_OPENED)} - set(DECODERS)
        foreign = [path for path in foreign if not path.startswith(OWN)]
        assert not foreign, foreign
        own = (*OWN, str(CODE), *map(str, places))
        opened = [each[1] for each in self.of_program(_OPENED) if not each[1].startswith(own)]
        opened = [path for path in opened if path != shutil.which("ffmpeg")]  # is it a script?
        assert not opened, opened

    def require_offline(self):
        """Require that not even the program itself used the network."""
        tried = [match.string for match in self.of_program(_NETWORK)]
        assert not tried, tried

    def _found(self, pattern):
        for process, _, said in self._lines:
            if match := pattern.match(said):
                yield process, match

    def _is_child(self, process):
        while process is not None:
            if process in self._launched:
                return True
            process = self._parents.get(process)
        return False


def _ends(text):
    """Return the time at which each process ended."""
    awaited = {process: float(at) for at, process in _AWAITED.findall(text)}
    return awaited | {process: float(at) for process, at in _ENDED.findall(text)}


def _whole(path):
    """Return the text as soon as it has the ends of the program and of all its children."""
    until = time.monotonic() + ENDING_S
    while time.monotonic() < until:
        text = Path(path).read_text()
        begun = {text.split(maxsplit=1)[0], *_LAUNCHED.findall(text)}
        if text.endswith("\n") and begun <= _ends(text).keys():
            return text
        time.sleep(0.01)
    raise TimeoutError(path)
