"""
Starts a program that sees its libraries and its input, and that can change nothing.

This process limits itself, then becomes the program. The file runs by itself and imports only what
it needs from the standard library, so that it starts in 20 ms.
"""

from __future__ import annotations

import ctypes
import os
import resource
import sys

TYPE_CHECKING = False
if TYPE_CHECKING:  # importing typing takes 5 ms
    from typing import Final

FILES: Final = 32
"""File descriptors; ffmpeg and Python with numpy have at most 10 open at once."""

FIRST_TO_GO: Final = "1000"
"""
The highest score for the kernel's choice when memory runs out: a child that has filled its
container or the machine is killed, and not the service that started it.
"""

LANDLOCK: Final = 6
"""The version of Landlock that has every right that is refused here (Linux 6.12)."""

_PR_SET_PDEATHSIG: Final = 1
_PR_SET_NO_NEW_PRIVS: Final = 38
_PR_SET_SECCOMP: Final = 22
_SECCOMP_MODE_FILTER: Final = 2
_ALLOW: Final = 0x7FFF0000
_EPERM: Final = 0x00050000 | 1
_ENOSYS: Final = 0x00050000 | 38
"""What a call fails with that is not allowed. It fails, and the process is not killed."""

_NEW: Final = 424
"""From this number on (Linux 5.1) libraries have a second way, and take it after ENOSYS."""

_SIGKILL: Final = 9
_NEW_USERS, _NEW_PROCESSES = 0x10000000, 0x20000000
"""CLONE_NEWUSER and CLONE_NEWPID."""

_ARCHITECTURES: Final = {"x86_64": 0xC000003E, "aarch64": 0xC00000B7}
"""Linux, include/uapi/linux/audit.h."""

# Each architecture's unistd.h; -1: it does not have the call. Landlock decides which files may be
# opened, and descriptors 0 to 2 are all that the program gets.
CALLS: Final = {
    "access": (21, -1),
    "arch_prctl": (158, -1),
    "brk": (12, 214),
    "clock_getres": (229, 114),
    "clock_gettime": (228, 113),
    "clock_nanosleep": (230, 115),
    "close": (3, 57),
    "dup": (32, 23),
    "dup2": (33, -1),
    "dup3": (292, 24),
    "exit": (60, 93),
    "exit_group": (231, 94),
    "faccessat": (269, 48),
    "fadvise64": (221, 223),
    "fstat": (5, 80),
    "futex": (202, 98),
    "getcwd": (79, 17),
    "getdents64": (217, 61),
    "getegid": (108, 177),
    "geteuid": (107, 175),
    "getgid": (104, 176),
    "getpid": (39, 172),
    "getppid": (110, 173),
    "getrandom": (318, 278),
    "getrlimit": (97, 163),
    "getrusage": (98, 165),
    "gettid": (186, 178),
    "gettimeofday": (96, 169),
    "getuid": (102, 174),
    "lseek": (8, 62),
    "lstat": (6, -1),
    "madvise": (28, 233),
    "membarrier": (324, 283),
    "mmap": (9, 222),
    "mprotect": (10, 226),
    "mremap": (25, 216),
    "munmap": (11, 215),
    "nanosleep": (35, 101),
    "newfstatat": (262, 79),
    "open": (2, -1),
    "openat": (257, 56),
    "pipe": (22, -1),
    "pipe2": (293, 59),
    "poll": (7, -1),
    "ppoll": (271, 73),
    "pread64": (17, 67),
    "pselect6": (270, 72),
    "read": (0, 63),
    "readlink": (89, -1),
    "readlinkat": (267, 78),
    "readv": (19, 65),
    "restart_syscall": (219, 128),
    "rseq": (334, 293),
    "rt_sigaction": (13, 134),
    "rt_sigprocmask": (14, 135),
    "rt_sigreturn": (15, 139),
    "sched_getaffinity": (204, 123),
    "sched_yield": (24, 124),
    "select": (23, -1),
    "set_robust_list": (273, 99),
    "set_tid_address": (218, 96),
    "sigaltstack": (131, 132),
    "stat": (4, -1),
    "statx": (332, 291),
    "sysinfo": (99, 179),
    "time": (201, -1),
    "times": (100, 153),
    "uname": (63, 160),
    "write": (1, 64),
    "writev": (20, 66),
}
"""The calls that Python, numpy, libsndfile and ffmpeg make, with any arguments."""

NETWORK_CALLS: Final = {
    "bind": (49, 200),
    "connect": (42, 203),
    "getpeername": (52, 205),
    "getsockname": (51, 204),
    "getsockopt": (55, 209),
    "recvfrom": (45, 207),
    "recvmmsg": (299, 243),
    "recvmsg": (47, 212),
    "sendmmsg": (307, 269),
    "sendmsg": (46, 211),
    "sendto": (44, 206),
    "setsockopt": (54, 208),
    "shutdown": (48, 210),
}
"""The calls that a program with network makes besides."""

CHECKED_CALLS: Final = {
    "clone": (56, 220),
    "execve": (59, 221),
    "fcntl": (72, 25),
    "ioctl": (16, 29),
    "kill": (62, 129),
    "prctl": (157, 167),
    "prlimit64": (302, 261),
    "socket": (41, 198),
    "tgkill": (234, 131),
}
"""The calls that are allowed with some arguments only."""

_A_THREAD: Final = (0x3D0F00, 0x7D0F00)
"""The flags with which glibc and musl start a thread; a process has others."""
_ON_DESCRIPTORS: Final = (0, 1, 2, 3, 4, 1030)
"""fcntl: duplicate, and read and set flags. Owners, which get signals, and leases are not there."""
_ON_DEVICES: Final = (0x5401, 0x802C542A, 0x5451, 0x541B, 0x5421)
"""ioctl: TCGETS, TCGETS2, FIOCLEX, FIONREAD, FIONBIO."""
_ON_ITSELF: Final = (15, 16, 0x53564D41)
"""prctl: PR_SET_NAME, PR_GET_NAME, PR_SET_VMA."""
_FAMILIES: Final = (2, 10, 16)
"""AF_INET, AF_INET6, and AF_NETLINK, by which glibc learns which of the two there is."""

_LOAD, _EQUAL, _AT_LEAST, _RETURN = 0x20, 0x15, 0x35, 0x06
_NUMBER, _ARCHITECTURE, _ARGUMENTS = 0, 4, 16
"""Their offsets in struct seccomp_data of include/uapi/linux/seccomp.h."""

_LANDLOCK_CREATE_RULESET: Final = 444
_LANDLOCK_ADD_RULE: Final = 445
_LANDLOCK_RESTRICT_SELF: Final = 446
_OF_THE_VERSION: Final = 1
_PATH_BENEATH: Final = 1
_EXECUTE, _READ_FILE, _READ_DIR = 1 << 0, 1 << 2, 1 << 3
_RIGHTS: Final = {1: 13, 2: 14, 3: 15, 5: 16}
"""Rights on files, from each version of Landlock on: one bit each, from the lowest on."""
_ON_PORTS: Final = 0b11
"""To bind and to connect with TCP; version 4."""
_SCOPES: Final = 0b11
"""No abstract sockets of other programs, and no signals to them; version 6."""
_SIZES: Final = {1: 8, 4: 16, 6: 24}
"""Bytes of struct landlock_ruleset_attr."""


class Limits:
    """What the program may use."""

    def __init__(
        self,
        memory_bytes: int,
        cpu_seconds: int | None,
        reads: list[str],
        *,
        network: bool,
        threads: bool,
    ) -> None:
        """
        *reads* are the files and folders that it may read and execute.

        Names that do not exist are left out.
        """
        self.memory_bytes = memory_bytes
        self.cpu_seconds = cpu_seconds
        self.reads = reads
        self.network = network
        self.threads = threads


class _Instruction(ctypes.Structure):
    _fields_ = (
        ("code", ctypes.c_uint16),
        ("if_true", ctypes.c_uint8),
        ("if_false", ctypes.c_uint8),
        ("value", ctypes.c_uint32),
    )


class _Filter(ctypes.Structure):
    _fields_ = (("length", ctypes.c_uint16), ("start", ctypes.POINTER(_Instruction)))


class _Ruleset(ctypes.Structure):
    _fields_ = (("files", ctypes.c_uint64), ("ports", ctypes.c_uint64), ("scopes", ctypes.c_uint64))


class _Beneath(ctypes.Structure):
    _pack_ = 1
    _fields_ = (("allowed", ctypes.c_uint64), ("parent", ctypes.c_int32))


def launch(limits: Limits, command: list[str]) -> list[str]:
    """
    Become *command*, with *limits*; without a command return the guards that this kernel lacks.

    Raises:
        OSError: if there is no such program.
    """
    if sys.platform != "linux":
        _limit(limits)
        if command:
            os.execv(command[0], command)  # noqa: S606  # the caller has chosen the program
        return [f"Landlock, seccomp and namespaces: the system is {sys.platform}, expected linux"]
    libc = ctypes.CDLL(None, use_errno=True)
    _offer_itself()
    libc.prctl(_PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0)
    missing = _leave_processes(libc)
    _limit(limits)
    path = ctypes.create_string_buffer(os.fsencode(command[0]) if command else b"")
    missing += _restrict_files(libc, limits)
    missing += _restrict_calls(libc, limits, ctypes.addressof(path))
    if command:
        _execute(libc, path, command)
    return missing


def _limit(limits: Limits) -> None:
    """Limit memory, time and files of this process, and of the program that it becomes."""
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    resource.setrlimit(resource.RLIMIT_FSIZE, (0, 0))
    resource.setrlimit(resource.RLIMIT_NOFILE, (FILES, FILES))
    if not limits.threads:  # it counts every thread of a user, so 0 is the one useful number
        resource.setrlimit(resource.RLIMIT_NPROC, (0, 0))
    if limits.cpu_seconds is not None:
        resource.setrlimit(resource.RLIMIT_CPU, (limits.cpu_seconds, limits.cpu_seconds + 1))
    resource.setrlimit(resource.RLIMIT_AS, (limits.memory_bytes, limits.memory_bytes))


def _offer_itself() -> None:
    """Raise this process's score for being killed when memory runs out; some sandboxes cannot."""
    try:  # contextlib takes a millisecond
        with open("/proc/self/oom_score_adj", "w") as file:  # noqa: PTH123  # slow
            file.write(FIRST_TO_GO)
    except OSError:
        pass


def _leave_processes(libc: ctypes.CDLL) -> list[str]:
    """
    Continue in a namespace of processes of its own, if the kernel makes one.

    Three processes are there then. The first one waits for the program, and ends as it ends. The
    second one is the namespace's init: the kernel shields an init from signals, also from those
    that end a decoder, so the program is the third one. All die with the first.
    """
    if libc.unshare(_NEW_PROCESSES) and libc.unshare(_NEW_USERS | _NEW_PROCESSES):
        return [f"a namespace of processes: {os.strerror(ctypes.get_errno())}"]
    if not os.fork():
        libc.prctl(_PR_SET_PDEATHSIG, _SIGKILL, 0, 0, 0)
        os.closerange(0, 3)
        while True:
            libc.pause()
    if program := os.fork():
        os.closerange(0, 3)
        _end_as(os.waitpid(program, 0)[1])
    return []


def _end_as(status: int) -> None:
    """End this process as the one with *status* has ended."""
    if os.WIFSIGNALED(status):
        import signal  # rarely needed, and slow

        number = os.WTERMSIG(status)
        if number != signal.SIGKILL:
            signal.signal(number, signal.SIG_DFL)
        os.kill(os.getpid(), number)
    os._exit(os.waitstatus_to_exitcode(status))


def _restrict_files(libc: ctypes.CDLL, limits: Limits) -> list[str]:
    """Refuse everything that Landlock knows, except to read standard input and *limits.reads*."""
    create = ctypes.c_long(_LANDLOCK_CREATE_RULESET)
    version = libc.syscall(create, None, ctypes.c_size_t(0), _OF_THE_VERSION)
    if version < 1:
        return ["Landlock: the kernel has none, or it is switched off"]
    handled = (1 << _known(_RIGHTS, version)) - 1
    wanted = _Ruleset(handled, 0 if limits.network else _ON_PORTS, _SCOPES)
    size = ctypes.c_size_t(_known(_SIZES, version))
    ruleset = libc.syscall(create, ctypes.byref(wanted), size, 0)
    for path in limits.reads:
        try:
            parent = os.open(path, os.O_PATH | os.O_CLOEXEC)
        except OSError:
            continue
        folder = os.path.isdir(path)  # noqa: PTH112  # pathlib takes 5 ms
        _allow(libc, ruleset, parent, _EXECUTE | _READ_FILE | (_READ_DIR if folder else 0))
        os.close(parent)
    _allow(libc, ruleset, 0, _READ_FILE)  # by its name /dev/stdin; a pipe needs no rule
    if libc.syscall(ctypes.c_long(_LANDLOCK_RESTRICT_SELF), ruleset, 0):
        return [f"Landlock: {os.strerror(ctypes.get_errno())}"]
    os.close(ruleset)
    return [] if version >= LANDLOCK else [f"Landlock: version {version}, expected {LANDLOCK}"]


def _known(table: dict[int, int], version: int) -> int:
    """Return the entry of *table* for the newest version that is not newer than *version*."""
    return table[max(each for each in table if each <= version)]


def _allow(libc: ctypes.CDLL, ruleset: int, parent: int, rights: int) -> None:
    rule = _Beneath(rights, parent)
    add = ctypes.c_long(_LANDLOCK_ADD_RULE)
    libc.syscall(add, ruleset, _PATH_BENEATH, ctypes.byref(rule), 0)


def _restrict_calls(libc: ctypes.CDLL, limits: Limits, path: int) -> list[str]:
    """Refuse every system call that is not in the tables; *path* is the address of execve's."""
    machine = os.uname().machine
    if machine not in _ARCHITECTURES:
        known = " or ".join(_ARCHITECTURES)
        return [f"seccomp: the architecture is {machine}, expected {known}"]
    program = _program(machine, limits, path)
    instructions = (_Instruction * len(program))(*(_Instruction(*each) for each in program))
    filter_ = _Filter(len(program), instructions)
    if libc.prctl(_PR_SET_SECCOMP, _SECCOMP_MODE_FILTER, ctypes.byref(filter_), 0, 0):
        return [f"seccomp: {os.strerror(ctypes.get_errno())}"]
    return []


_Code = list[tuple[int, int, int, int]]


def _program(machine: str, limits: Limits, path: int) -> _Code:
    at = list(_ARCHITECTURES).index(machine)
    allowed = [numbers[at] for numbers in CALLS.values()]
    if limits.network:
        allowed += [numbers[at] for numbers in NETWORK_CALLS.values()]
    checks = {
        "execve": _exactly(0, path),  # libc's next call; the program does not know the address
        "fcntl": _one_of(1, _ON_DESCRIPTORS),
        "ioctl": _one_of(1, _ON_DEVICES),
        "prctl": _one_of(0, _ON_ITSELF),
        "prlimit64": [*_or_refuse(0, 0), *_exactly(2, 0)],  # it may read its limits, and set none
        "kill": _one_of(0, (os.getpid(),)),
        "tgkill": _one_of(0, (os.getpid(),)),  # as abort does
    }
    if limits.threads:
        checks["clone"] = _one_of(0, _A_THREAD)
    if limits.network:
        checks["socket"] = _one_of(0, _FAMILIES)
    program = [
        (_LOAD, 0, 0, _ARCHITECTURE),
        (_EQUAL, 1, 0, _ARCHITECTURES[machine]),
        (_RETURN, 0, 0, _ENOSYS),
        (_LOAD, 0, 0, _NUMBER),
    ]
    for number in allowed:
        if number >= 0:
            program += [(_EQUAL, 0, 1, number), (_RETURN, 0, 0, _ALLOW)]
    for name, check in checks.items():
        program += [(_EQUAL, 0, len(check), CHECKED_CALLS[name][at]), *check]
    return [
        *program,
        (_AT_LEAST, 0, 1, _NEW),
        (_RETURN, 0, 0, _ENOSYS),
        (_RETURN, 0, 0, _EPERM),
    ]


def _one_of(argument: int, values: tuple[int, ...]) -> _Code:
    """Allow the call if the lower half of its *argument*, an int in C, is one of *values*."""
    code: _Code = [(_LOAD, 0, 0, _ARGUMENTS + 8 * argument)]
    for value in values:
        code += [(_EQUAL, 0, 1, value), (_RETURN, 0, 0, _ALLOW)]
    return [*code, (_RETURN, 0, 0, _EPERM)]


def _or_refuse(argument: int, value: int) -> _Code:
    """Refuse the call unless the lower half of its *argument* is *value*."""
    load = (_LOAD, 0, 0, _ARGUMENTS + 8 * argument)
    return [load, (_EQUAL, 1, 0, value), (_RETURN, 0, 0, _EPERM)]


def _exactly(argument: int, value: int) -> _Code:
    """Allow the call if all 64 bits of its *argument* are *value*."""
    return [
        (_LOAD, 0, 0, _ARGUMENTS + 8 * argument),
        (_EQUAL, 0, 3, value & 0xFFFFFFFF),
        (_LOAD, 0, 0, _ARGUMENTS + 8 * argument + 4),
        (_EQUAL, 0, 1, value >> 32),
        (_RETURN, 0, 0, _ALLOW),
        (_RETURN, 0, 0, _EPERM),
    ]


def _execute(libc: ctypes.CDLL, path: ctypes.Array[ctypes.c_char], command: list[str]) -> None:
    """Become the program at *path*: with this very pointer, the only one that the kernel takes."""
    words = [os.fsencode(each) for each in command]
    variables = [os.fsencode(f"{name}={value}") for name, value in os.environ.items()]
    arguments = (ctypes.c_char_p * (len(words) + 1))(*words, None)
    environment = (ctypes.c_char_p * (len(variables) + 1))(*variables, None)
    libc.execve(path, arguments, environment)
    number = ctypes.get_errno()
    raise OSError(number, os.strerror(number), command[0])


if __name__ == "__main__":
    memory, cpu, network, threads, count, *words = sys.argv[1:]
    paths, words = words[: int(count)], words[int(count) :]
    seconds = int(cpu) if cpu else None
    given = Limits(int(memory), seconds, paths, network=bool(network), threads=bool(threads))
    for each in launch(given, words):
        print(each)  # noqa: T201  # the answer to a caller that named no program
