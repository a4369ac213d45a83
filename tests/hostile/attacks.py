"""
All attacks, in the order in which they run.

One without the name of a guard is held back by several: without any one of them it does no harm in
a quick run.
"""

from tests.hostile import (
    crowds,
    decoding,
    floods,
    fuzz,
    ids,
    leftovers,
    others,
    recordings,
)
from tests.hostile.beside import Attack, Check


def unbroken(victim, figures, _known):
    """Require that the receiver has logged no fault of its own."""
    faults = [each for each in victim.log if "exception" in each or each.get("level") == "error"]
    figures.note = f"{figures.said.get('inputs', 0)} inputs, {len(faults)} errors in the log"
    if faults:
        figures.own.append(f"{figures.note}: {str(faults[0])[:200]}")


SMALL = ("--reserve-bytes", 8 * 1024 * 1024)
"""For a small disk."""

CONTROL = Attack("control", None, full_s=20.0)
CONTROL_TOKENS = Attack("control with tokens", None, full_s=20.0, tokens=True)

ATTACKS = (
    Attack("chunks of one frame, 8 connections", floods.chunks(8), "metering"),
    Attack("the same with tokens", floods.chunks(8), "metering", tokens=True),
    Attack("chunks of one frame, 64 connections", floods.chunks(64), "metering"),
    Attack("pings that are read", floods.PINGS_READ, "metering"),
    Attack("pings that are not read", floods.PINGS_UNREAD, "unread"),
    Attack("plain messages of 4 bytes", floods.PLAIN, "queues"),
    Attack("fragments of 1 byte", floods.FRAGMENTS, "queues"),
    Attack("fragments of nothing", floods.EMPTY_FRAGMENTS, "metering"),
    Attack("messages of nothing", floods.EMPTY, "queues"),
    Attack("texts", floods.TEXTS, "queues"),
    Attack("more than the window, acks unread", floods.window_cheat, "credit"),
    Attack("600 streams of one frame held", crowds.held, "places"),
    Attack("5,000 half-open connections", crowds.HALF_OPEN, "handshakes"),
    Attack("4,000 handshakes, a byte at a time", crowds.SLOWLORIS, "handshakes"),
    Attack("5,000 connections", crowds.CONNECTIONS, "handshakes"),
    Attack("600 silent connections to /metrics", crowds.METRICS, "metrics"),
    Attack(
        "hello and gone",
        leftovers.hellos(10_000),
        "beginnings",
        full_s=150,
        own=leftovers.left_by_hellos,
    ),
    Attack(
        "streams of one frame until no inode is left",
        leftovers.FEW_INODES,
        "inodes",
        stopped=True,
        disk="size=256m,nr_inodes=1600",
        options=SMALL,
        own=leftovers.ready_or_not,
    ),
    Attack(
        "chunks of one frame on a full disk",
        leftovers.FULL_CHUNKS,
        full_s=60,
        disk="size=400m",
        options=SMALL,
        stopped=True,
    ),
    Attack(
        "plain messages on a full disk",
        leftovers.FULL_PLAIN,
        full_s=60,
        disk="size=400m",
        options=SMALL,
        stopped=True,
    ),
    Attack(
        "silence in FLAC",
        leftovers.silence,
        disk="size=400m",
        options=SMALL,
        own=leftovers.left_by_silence,
    ),
    Attack("claims of another's stream", leftovers.claims, "claims", own=leftovers.claimed),
    Attack("12 files before an honest one", decoding.TWELVE_BOMBS, own=decoding.waited),
    Attack(
        "100 files of another token before an honest one",
        decoding.HUNDRED_FILES,
        "turns",
        tokens=True,
        own=decoding.waited,
    ),
    Attack("garbage in every layer", crowds.garbage, full_s=120, own=unbroken),
)

CHECKS = (
    Check("tokens, actions, ids, Origin and Host", ids.matrix, "tokens"),
    Check("the same without access", ids.matrix, "access", only_without=True),
    Check("compression and reserved bits", ids.compression, "compression"),
    Check("twins", recordings.twins),
    Check("kills at two replicas", recordings.kills),
    Check("alike names at two replicas", recordings.alike),
    *(Check(name, others.tests(name)) for name in others.KINDS),
    Check("fuzzing", fuzz.check),
)
