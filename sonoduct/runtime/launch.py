"""
Starts a program with limits: this process limits itself, then becomes the program.

The file runs by itself and imports only the standard library, so that it starts in 10 ms.
"""

from __future__ import annotations

import ctypes
import os
import platform
import resource
import sys
from contextlib import suppress
from typing import Final

FILES: Final = 32
"""File descriptors; ffmpeg and Python with numpy have at most 10 open at once."""

FIRST_TO_GO: Final = "1000"
"""
The highest score for the kernel's choice when memory runs out: a child that has filled its
container or the machine is killed, and not the service that started it.
"""

_PR_SET_NO_NEW_PRIVS: Final = 38
_PR_SET_SECCOMP: Final = 22
_SECCOMP_MODE_FILTER: Final = 2
_ALLOW: Final = 0x7FFF0000
_REFUSE: Final = 0x00050000 | 13
"""The call fails with EACCES."""

# Linux, include/uapi/linux/audit.h and each architecture's unistd.h: socket, socketpair.
# io_uring_setup is 425 everywhere; through it a program could open sockets as well.
_SOCKETS: Final = {"x86_64": (0xC000003E, 41, 53, 425), "aarch64": (0xC00000B7, 198, 199, 425)}
_X32: Final = 0x40000000
"""From this number on x86_64 has the same calls again."""

_LOAD, _EQUAL, _AT_LEAST, _RETURN = 0x20, 0x15, 0x35, 0x06
_NUMBER, _ARCHITECTURE = 0, 4
"""Their offsets in struct seccomp_data of include/uapi/linux/seccomp.h."""

_LANDLOCK_CREATE_RULESET: Final = 444
_LANDLOCK_RESTRICT_SELF: Final = 446
_WRITING: Final = 1 << 1 | sum(1 << bit for bit in range(4, 13))
"""Rights to write, remove and make files: include/uapi/linux/landlock.h, version 1."""


class _Instruction(ctypes.Structure):
    _fields_ = (
        ("code", ctypes.c_uint16),
        ("if_true", ctypes.c_uint8),
        ("if_false", ctypes.c_uint8),
        ("value", ctypes.c_uint32),
    )


class _Filter(ctypes.Structure):
    _fields_ = (("length", ctypes.c_uint16), ("start", ctypes.POINTER(_Instruction)))


def confine(memory_bytes: int, cpu_seconds: int | None, *, network: bool) -> None:
    """Limit memory, time, files and network of this process and of the program that it becomes."""
    if sys.platform == "linux":
        _offer_itself()
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    resource.setrlimit(resource.RLIMIT_FSIZE, (0, 0))
    resource.setrlimit(resource.RLIMIT_NOFILE, (FILES, FILES))
    if cpu_seconds is not None:
        resource.setrlimit(resource.RLIMIT_CPU, (cpu_seconds, cpu_seconds + 1))
    resource.setrlimit(resource.RLIMIT_AS, (memory_bytes, memory_bytes))
    if sys.platform == "linux":
        libc = ctypes.CDLL(None, use_errno=True)
        libc.prctl(_PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0)
        _refuse_writing(libc)
        if not network:
            _refuse_network(libc)


def _offer_itself() -> None:
    """Raise this process's score for being killed when memory runs out; some sandboxes cannot."""
    with suppress(OSError), open("/proc/self/oom_score_adj", "w") as file:  # noqa: PTH123  # slow
        file.write(FIRST_TO_GO)


def _refuse_writing(libc: ctypes.CDLL) -> None:
    """Refuse to change files, if the kernel has Landlock (5.13, and switched on)."""
    rights = ctypes.c_uint64(_WRITING)
    ruleset = libc.syscall(
        ctypes.c_long(_LANDLOCK_CREATE_RULESET), ctypes.byref(rights), ctypes.c_size_t(8), 0
    )
    if ruleset >= 0:
        libc.syscall(ctypes.c_long(_LANDLOCK_RESTRICT_SELF), ruleset, 0)
        os.close(ruleset)


def _refuse_network(libc: ctypes.CDLL) -> None:
    """Refuse to make sockets, if the architecture's call numbers are known."""
    known = _SOCKETS.get(platform.machine())
    if known is None:
        return
    architecture, *calls = known
    allow, refuse = (_RETURN, 0, 0, _ALLOW), (_RETURN, 0, 0, _REFUSE)
    to_refuse = [(_EQUAL, len(calls) - at + 1, 0, call) for at, call in enumerate(calls)]
    program = [
        (_LOAD, 0, 0, _ARCHITECTURE),
        (_EQUAL, 1, 0, architecture),
        refuse,
        (_LOAD, 0, 0, _NUMBER),
        *to_refuse,
        (_AT_LEAST, 1, 0, _X32),
        allow,
        refuse,
    ]
    instructions = (_Instruction * len(program))(*(_Instruction(*each) for each in program))
    filter_ = _Filter(len(program), instructions)
    libc.prctl(_PR_SET_SECCOMP, _SECCOMP_MODE_FILTER, ctypes.byref(filter_), 0, 0)


if __name__ == "__main__":
    memory, cpu, network, *command = sys.argv[1:]
    confine(int(memory), int(cpu) if cpu else None, network=bool(network))
    os.execv(command[0], command)  # noqa: S606  # the caller has chosen the program
