"""The figures of one attack, and what they must be beside the same run without an attack."""

from dataclasses import dataclass, field

MIB = 1024 * 1024
MEMORY_MIB = 55
"""What a receiver takes without audio; --memory-bytes comes on top."""
AUDIO_MIB = 256
"""Its default."""
FULL_MIB = 32
"""More while the disk is full, and all credit is used."""
ADDED_PING_S, ADDED_ACK_S, TIMES = 0.1, 0.25, 2
ADDED_THREADS = 16
FILES_SHARE = 0.6
NEWCOMERS_TOKEN, NEWCOMERS_OPEN = 0.95, 0.9
REST_MIB = 32
FILES = 4096
"""Descriptors that the receiver may have."""
ADDED_FILES = 32
"""
Newcomers come and go. Of connections that have gone, the kernel still holds what they have sent;
the receiver takes it at the speed that their client may have.
"""


@dataclass
class Part:
    """What the honest side has measured between two times."""

    pings: float = 0.0
    acks: float = 0.0
    """Seconds, at the 99th percentile."""
    came: int = 0
    served: int = 0
    """Newcomers, and those with a receipt in time."""


@dataclass
class Figures:
    """What one attack has done."""

    name: str
    honest: int = 0
    wanted: int = 0
    """Live streams with a receipt and their very audio on the disk, and all of them."""
    behind: int = 0
    during: Part = field(default_factory=Part)
    after: Part = field(default_factory=Part)
    memory: float = 0.0
    threads: int = 0
    files: int = 0
    """The most during the attack: MiB, threads, descriptors."""
    rest: tuple = (0.0, 0, 0)
    """How much more memory, threads and descriptors there were later than before."""
    stopped: bool = False
    """Whether there was no room, so that only memory counts."""
    alive: bool = True
    killed: str = ""
    said: dict = field(default_factory=dict)
    """What the attackers have counted."""
    faults: tuple = ()
    """What has ended honest connections."""
    own: list = field(default_factory=list)
    """What else was missed: the attack's own figure."""
    note: str = ""
    """The attack's own figure, in words."""


def p99(values):
    """Return the 99th percentile; 0 of nothing."""
    ordered = sorted(values)
    return ordered[min(len(ordered) - 1, int(len(ordered) * 0.99))] if ordered else 0.0


def part(found, begin, end):
    """Return what *found* has between two times."""

    def within(pairs):
        return [each for at, each in pairs if begin <= at <= end]

    newcomers = within(found.newcomers)
    served = sum(each is not None for each in newcomers)
    return Part(p99(within(found.pings)), p99(within(found.acks)), len(newcomers), served)


def misses(seen, control, *, tokens, most_threads=ADDED_THREADS):
    """Return in words what *seen* has missed, beside *control*, figures without an attack."""
    share = NEWCOMERS_TOKEN if tokens else NEWCOMERS_OPEN
    missed = []

    def need(good, what):
        if not good:
            missed.append(what)

    need(seen.alive, f"the receiver has ended ({seen.killed or 'by itself'})")
    need(seen.honest == seen.wanted, f"{seen.honest} of {seen.wanted} honest streams")
    need(not seen.behind, f"{seen.behind} streams resumed behind an ack")
    for when, what in (("", seen.during), ("after: ", seen.after)):
        most = TIMES * control.during.pings + ADDED_PING_S
        need(what.pings <= most, f"{when}pings {what.pings:.2f} s > {most:.2f}")
        most = TIMES * control.during.acks + ADDED_ACK_S
        need(what.acks <= most, f"{when}acks {what.acks:.2f} s > {most:.2f}")
        good = what.served >= share * what.came
        need(good, f"{when}{what.served} of {what.came} newcomers")
    most = MEMORY_MIB + AUDIO_MIB + (FULL_MIB if seen.stopped else 0)
    need(seen.memory <= most, f"{seen.memory:.0f} MiB > {most}")
    most = control.threads + most_threads
    need(seen.threads <= most, f"{seen.threads} threads > {most}")
    most = int(FILES_SHARE * FILES)
    need(seen.files <= most, f"{seen.files} files > {most}")
    memory, threads, files = seen.rest
    need(memory <= REST_MIB, f"after: {memory:+.0f} MiB > {REST_MIB}")
    need(threads <= most_threads, f"after: {threads:+} threads")
    need(files <= ADDED_FILES, f"after: {files:+} files")
    return missed + seen.own


HEAD = ("attack", "honest", "pings", "acks", "newcomers", "MiB", "threads", "files", "own figure")


def row(seen):
    """Return the figures as cells under `HEAD`."""
    during = seen.during
    return (
        seen.name,
        f"{seen.honest}/{seen.wanted}",
        f"{during.pings * 1000:.0f} ms",
        f"{during.acks * 1000:.0f} ms",
        f"{during.served}/{during.came}",
        f"{seen.memory:.0f}" if seen.alive else "killed",
        str(seen.threads),
        str(seen.files),
        seen.note or "-",
    )
