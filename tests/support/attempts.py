"""
A program in the place of a decoder that was taken over: it tries what an intruder would try.

Its arguments are a folder, which has the files that `prepare` makes, and the process that started
it. It prints one JSON object: the name of each attempt, and what became of it. An attempt is
refused if its error is EPERM, EACCES or ENOSYS; with every other error it had reached the kernel's
own code, so arguments that do no harm are enough.
"""

import ctypes
import errno
import json
import os
import sys

REFUSED = (errno.EPERM, errno.EACCES, errno.ENOSYS)

NAMES = ("read", "append", "cut", "emptied", "mode", "owner", "time", "moved", "linked", "gone")
"""The files of a prepared folder."""

NUMBERS = {
    "x86_64": {"add_key": 248, "keyctl": 250, "pivot_root": 155, "bpf": 321, "perf": 298},
    "aarch64": {"add_key": 217, "keyctl": 219, "pivot_root": 41, "bpf": 280, "perf": 241},
}
USERFAULT = {"x86_64": 323, "aarch64": 282}
MEMFD = {"x86_64": 319, "aarch64": 279}
SET_OWNER, NOTIFY, ADD_INPUT = 8, 1026, 0x5412
DUMPABLE = 4
NO_CORE = 4


def prepare(folder):
    """Make the files that the program attacks."""
    for name in NAMES:
        (folder / name).write_bytes(b"content")
    (folder / "empty").mkdir()


def attempts(store, parent):
    """Return the name of each attempt, and the call that makes it."""
    libc = ctypes.CDLL(None, use_errno=True)
    machine = os.uname().machine
    numbers = NUMBERS[machine]

    def at(name):
        return os.path.join(store, name)

    def call(function, *arguments):
        if function(*arguments) < 0:
            raise OSError(ctypes.get_errno(), "refused")

    def system(number, *arguments):
        call(libc.syscall, ctypes.c_long(number), *map(ctypes.c_long, arguments))

    def look(path, flags=os.O_RDONLY):
        os.close(os.open(path, flags))

    def change(path):
        look(path, os.O_WRONLY)

    def fork(make=os.fork):
        if not (process := make()):
            os._exit(0)
        os.waitpid(process, 0)

    def socket(*kind):
        call(libc.socket, *kind)

    pair = (ctypes.c_int * 2)()
    limits = ctypes.create_string_buffer(16)
    return {
        "list the store": lambda: os.listdir(store),
        "read a recording": lambda: look(at("read")),
        "append to a recording": lambda: look(at("append"), os.O_WRONLY | os.O_APPEND),
        "cut a recording": lambda: os.truncate(at("cut"), 1),
        "empty a recording": lambda: look(at("emptied"), os.O_WRONLY | os.O_TRUNC),
        "chmod a journal": lambda: os.chmod(at("mode"), 0),
        "chown a journal": lambda: os.chown(at("owner"), os.getuid(), os.getgid()),
        "utime a journal": lambda: os.utime(at("time"), (1, 1)),
        "rename a journal": lambda: os.rename(at("moved"), at("elsewhere")),
        "link a journal": lambda: os.link(at("linked"), at("twin")),
        "link to a journal": lambda: os.symlink(at("linked"), at("alias")),
        "remove a journal": lambda: os.remove(at("gone")),
        "create a file": lambda: look(at("new"), os.O_WRONLY | os.O_CREAT),
        "create an unnamed file": lambda: look(store, os.O_WRONLY | os.O_TMPFILE),
        "mkdir": lambda: os.mkdir(at("folder")),
        "rmdir": lambda: os.rmdir(at("empty")),
        "mkfifo": lambda: os.mkfifo(at("pipe")),
        "chdir into the store": lambda: os.chdir(store),
        "size of the disk": lambda: os.statvfs(store),
        "write the input": lambda: change("/dev/stdin"),
        "fchmod the input": lambda: os.fchmod(0, 0o600),
        "utime the input": lambda: os.utime(0, (1, 1)),
        "ftruncate the input": lambda: os.ftruncate(0, 1),
        "read /etc/passwd": lambda: look("/etc/passwd"),
        "list /etc": lambda: os.listdir("/etc"),
        "list /": lambda: os.listdir("/"),
        "list the folder of the program": lambda: os.listdir(os.path.dirname(__file__)),
        "list /tmp": lambda: os.listdir("/tmp"),  # noqa: S108
        "list /proc": lambda: os.listdir("/proc"),
        "list /proc/self/..": lambda: os.listdir("/proc/self/../"),
        "read /proc/self": lambda: look("/proc/self/maps"),
        "environment of the receiver": lambda: look(f"/proc/{parent}/environ"),
        "command line of the receiver": lambda: look(f"/proc/{parent}/cmdline"),
        "memory of the receiver": lambda: look(f"/proc/{parent}/mem"),
        "files of the receiver": lambda: os.listdir(f"/proc/{parent}/fd"),
        "program of the receiver": lambda: os.readlink(f"/proc/{parent}/exe"),
        "root of the receiver": lambda: os.listdir(f"/proc/{parent}/root"),
        "signal the receiver": lambda: os.kill(parent, 0),
        "signal all": lambda: os.kill(-1, 0),
        "signal the group": lambda: os.kill(0, 0),
        "descriptor of a process": lambda: os.close(os.pidfd_open(os.getpid())),
        "fork": fork,
        "fork with a terminal": lambda: fork(lambda: os.forkpty()[0]),
        "start a program": lambda: os.waitpid(os.posix_spawn("/bin/sh", ["sh", "-c", ":"], {}), 0),
        "become a program": lambda: os.execv(at("none"), ["none"]),
        "program in memory": lambda: system(MEMFD[machine], ctypes.addressof(limits), 0),
        "socket of the internet": lambda: socket(2, 1, 0),
        "socket of IPv6": lambda: socket(10, 2, 0),
        "socket of this machine": lambda: socket(1, 1, 0),
        "socket of the kernel": lambda: socket(16, 3, 0),
        "pair of sockets": lambda: call(libc.socketpair, 1, 1, 0, pair),
        "unshare": lambda: call(libc.unshare, 1),
        "setns": lambda: call(libc.setns, -1, 0),
        "ptrace": lambda: call(libc.ptrace, 16, 0, None, None),
        "process_vm_readv": lambda: call(libc.process_vm_readv, parent, None, 0, None, 0, 0),
        "add_key": lambda: system(numbers["add_key"], 0, 0, 0, 0, 0),
        "keyctl": lambda: system(numbers["keyctl"], 0, -3, 0, 0, 0),
        "io_uring_setup": lambda: system(425, 0, 0),
        "mount": lambda: call(libc.mount, None, None, None, 0, None),
        "mount anew": lambda: system(428, -1, 0, 0),
        "umount": lambda: call(libc.umount2, None, 0),
        "pivot_root": lambda: system(numbers["pivot_root"], 0, 0),
        "chroot": lambda: os.chroot("/"),
        "bpf": lambda: system(numbers["bpf"], 0, 0, 0),
        "perf_event_open": lambda: system(numbers["perf"], 0, 0, -1, -1, 0),
        "userfaultfd": lambda: system(USERFAULT[machine], 0x7FFFFFF),
        "setrlimit": lambda: call(libc.setrlimit, NO_CORE, limits),
        "limits of the receiver": lambda: call(libc.prlimit, parent, 0, None, limits),
        "change the user": lambda: os.setuid(os.getuid()),
        "change the session": os.setsid,
        "priority": lambda: os.setpriority(0, 0, 19),
        "processors": lambda: os.sched_setaffinity(0, os.sched_getaffinity(0)),
        "type on the terminal": lambda: call(libc.ioctl, 0, ADD_INPUT, b"x"),
        "signals by a descriptor": lambda: call(libc.fcntl, 0, SET_OWNER, parent),
        "watch by a descriptor": lambda: call(libc.fcntl, 0, NOTIFY, 0),
        "watch the store": lambda: call(libc.inotify_init1, 0),
        "watch all": lambda: call(libc.fanotify_init, 0, 0),
        "be read by others": lambda: call(libc.prctl, DUMPABLE, 1, 0, 0, 0),
        "shared memory": lambda: call(libc.shmget, 0, 4096, 0o600),
        "queue of messages": lambda: call(libc.msgget, 0, 0o600),
        "lock the input": lambda: call(libc.flock, 0, 1),
        "sync all disks": lambda: call(libc.syncfs, 0),
    }


def tried(attempt):
    """Return what became of *attempt*: whether it was refused, and how."""
    try:
        attempt()
    except OSError as exc:
        return {"refused": exc.errno in REFUSED, "how": errno.errorcode[exc.errno]}
    return {"refused": False, "how": "done"}


if __name__ == "__main__":
    made = attempts(sys.argv[1], int(sys.argv[2]))
    json.dump({name: tried(attempt) for name, attempt in made.items()}, sys.stdout)
