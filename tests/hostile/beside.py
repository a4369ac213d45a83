"""One attack with the honest streams beside it: what is measured, and when."""

import time
from collections.abc import Callable
from dataclasses import dataclass

import soundfile

from benchmarks.processes import child
from tests.hostile.figures import ADDED_FILES, MIB, REST_MIB, Figures, part
from tests.hostile.honest import honest
from tests.hostile.intruder import Aim, attacking
from tests.hostile.victim import TOKENS, serving

STREAMS = 20
BEFORE_S = 1.0
LATER_S = 2.0
"""After the attack, all must be as before."""
AFTER_S = 1.0
READY_S = 30
HEAR_S = 90
RECORDED_S = 15
LOOK_S = 0.2


@dataclass(frozen=True)
class Attack:
    """An attack, and the guard without which it does harm."""

    name: str
    run: Callable | None
    """Called with an `Aim` in a process of its own; returns what it has counted."""
    guard: str = ""
    quick_s: float = 3.5
    full_s: float = 20.0
    tokens: bool = False
    options: tuple = ()
    disk: str = ""
    own: Callable | None = None
    """Called with the victim, the figures and what is known from before: adds the own figure."""
    stopped: bool = False
    """Whether the receiver cannot take audio meanwhile, so that only its memory counts."""


@dataclass(frozen=True)
class Check:
    """An attack that needs no honest streams beside it, because it is about what is right."""

    name: str
    run: Callable
    """Called with `quick`, `work` and `without`; returns its figure, and what has missed."""
    guard: str = ""
    only_without: bool = False


def measured(attack, *, quick, without="", seconds=0.0, work=None):
    """Run *attack*, perhaps on a receiver *without* a guard; return its figures."""
    seconds = seconds or (attack.quick_s if quick else attack.full_s)
    tokens = TOKENS if attack.tokens else {}
    figures = Figures(attack.name, wanted=STREAMS, stopped=attack.stopped)
    serve = serving(
        attack.options, tokens=attack.tokens, without=without, disk=attack.disk, work=work
    )
    with serve as victim:
        aim = Aim(
            victim.url,
            victim.port,
            victim.metrics_port,
            seconds,
            quick,
            tokens.get("hostile", ""),
            tokens.get("newcomer", ""),
            str(victim.store),
        )
        with child(honest, victim.url, STREAMS, tokens) as side:
            if attack.run is not None:
                with child(attacking, attack.name, aim) as attacker:
                    _both_ready(side, attacker)
                    known = _during(victim, figures, lambda: _attacked(attacker, seconds))
            else:
                side.hear(READY_S)
                time.sleep(BEFORE_S)
                known = _during(victim, figures, lambda: time.sleep(seconds) or {})
            time.sleep(LATER_S)
            after = time.monotonic()
            time.sleep(AFTER_S)
            over = time.monotonic()
            _rest(victim, figures, quick=quick)
            figures.alive, figures.killed = victim.alive, victim.killed
            if attack.own is not None and victim.alive:
                attack.own(victim, figures, known)
            side.tell()
            found = side.hear(HEAR_S)
        times = figures.said.pop("times")
        if not attack.stopped:
            figures.during, figures.after = part(found, *times), part(found, after, over)
        figures.behind = found.behind
        figures.faults = tuple(dict.fromkeys(found.faults))[:5]
        figures.honest = _recorded(victim, found.receipts)
    return figures


def _both_ready(side, attacker):
    side.hear(READY_S)
    attacker.hear(READY_S)
    time.sleep(BEFORE_S)


def _attacked(attacker, seconds):
    attacker.tell()
    return dict(attacker.hear(seconds + HEAR_S))


def _during(victim, figures, run):
    before = victim.last()
    known = victim.files()
    begin = time.monotonic()
    said = run()
    end = time.monotonic()
    memory, threads, files = victim.peak(begin, end)
    figures.memory, figures.threads, figures.files = memory / MIB, threads, files
    figures.said = {**said, "times": (begin, end)}
    figures.rest = before
    return known


def _rest(victim, figures, *, quick):
    """Wait until all is given back, for a while; note how much more there is now than before."""
    before, until = figures.rest, time.monotonic() + (15 if quick else 60)
    while True:
        memory, *more = map(int.__sub__, victim.last(), before)
        figures.rest = (memory / MIB, *more)
        as_before = figures.rest[0] <= REST_MIB and more[1] <= ADDED_FILES
        if as_before or not victim.alive or time.monotonic() > until:
            return
        time.sleep(LOOK_S)


def _recorded(victim, receipts):
    """Return how many of the streams with *receipts* have a recording of their very audio."""
    until, seen = time.monotonic() + RECORDED_S, {}
    while True:
        for path in (victim.store / "audio").glob("**/*.wav"):
            if path not in seen and (digest := _sum(path)):
                seen[path] = digest
        good = len(set(receipts) & set(seen.values()))
        if good == len(set(receipts)) or time.monotonic() > until or not victim.alive:
            return good
        time.sleep(LOOK_S)


def _sum(path):
    from hashlib import sha256

    try:
        return sha256(soundfile.read(path, dtype="int16")[0].tobytes()).hexdigest()
    except (OSError, soundfile.SoundFileError):
        return ""
