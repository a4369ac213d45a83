"""The real protocol and the real journal, in a world that a seed decides."""

import multiprocessing
import os
from concurrent.futures import ProcessPoolExecutor
from contextlib import closing
from functools import partial

import pytest

from tests.faults.simulation.mutants import MUTANTS, RARE
from tests.faults.simulation.plan import Broken
from tests.faults.simulation.recording import RECORDING_MUTANTS, RecordingWorld
from tests.faults.simulation.world import World
from tests.support.extent import either

pytestmark = pytest.mark.faults

SEEDS = either(2_000, 100_000)
SHARE = 50
"""Seeds that one process runs at a time."""

RECORDING_SEEDS = either(500, 20_000)

MOST_SEEDS = either(3_000, 60_000)
"""Until a mutant is caught."""

COMPLETE = 0.95
"""Of all runs, those whose stream is complete in the end: without them nothing is shown."""

TROUBLE = {
    **dict.fromkeys(("cut_power", "crash", "stop", "abandon", "rush", "forget"), 500),
    **dict.fromkeys(("fails", "Error", "remove"), 500),
}
"""How often each trouble has to happen in every 1,000 runs, at least."""


def run(seeds):
    """Run the worlds of *seeds*; return the complete runs, the failures and the troubles."""
    complete, broken, had = 0, [], dict.fromkeys(TROUBLE, 0)
    for seed in seeds:
        world = World(seed)
        try:
            complete += world.run()
        except Broken as exc:
            broken.append(f"SEED={seed}: {exc}")
        for _, what, _ in world.trace:
            if what in had:
                had[what] += 1
    return complete, broken, had


def record(seeds):
    """Run the worlds that make recordings; return the complete runs and the failures."""
    complete, broken = 0, []
    for seed in seeds:
        try:
            complete += RecordingWorld(seed).run()
        except Broken as exc:
            broken.append(f"seed {seed}: {exc}")
    return complete, broken


def catch(mutant, seeds):
    """Return the first of *seeds* that shows the fault of *mutant*; None if no seed does."""
    recording = mutant in RECORDING_MUTANTS
    with (RECORDING_MUTANTS if recording else MUTANTS)[mutant]():
        for seed in seeds:
            try:
                (RecordingWorld if recording else World)(seed).run()
            except Broken:
                return seed
    return None


def spread(call, seeds):
    """Yield what *call* returns for shares of the first *seeds*, in order, from every core."""
    shares = [range(start, min(start + SHARE, seeds)) for start in range(0, seeds, SHARE)]
    context = multiprocessing.get_context("spawn")
    pool = ProcessPoolExecutor(os.cpu_count(), mp_context=context)
    try:
        yield from pool.map(call, shares)
    finally:
        pool.shutdown(cancel_futures=True)


def test_a_seed_decides_everything():
    """The same seed gives the same run, step by step, so that a failure can be repeated."""
    traces = []
    for _ in range(2):
        world = World(12345)
        world.run()
        traces.append(world.trace)

    assert len(traces[0]) > 100
    assert traces[0] == traces[1]


def test_promises_hold(say):
    """Crashes, pauses, power cuts and delays break no promise."""
    if seed := os.environ.get("SEED"):
        world = World(int(seed))
        try:
            world.run()
        finally:
            print(*world.trace, sep="\n")  # noqa: T201  # a person who sets SEED wants to see it
        return
    results = list(spread(run, SEEDS))
    complete = sum(each[0] for each in results)
    broken = [line for each in results for line in each[1]]
    had = {what: sum(each[2][what] for each in results) for what in TROUBLE}
    say(f"{SEEDS} seeds, {complete} complete, {len(broken)} broken; {had}")

    assert [] == broken
    assert complete > COMPLETE * SEEDS
    assert {} == {what: had[what] for what in had if had[what] < TROUBLE[what] * SEEDS / 1000}


def test_recordings_in_groups(say):
    """At any moment, each stream has its complete journal, or its end, manifest and recording."""
    results = list(spread(record, RECORDING_SEEDS))
    complete = sum(each[0] for each in results)
    broken = [line for each in results for line in each[1]]
    say(f"{RECORDING_SEEDS} seeds, {complete} complete, {len(broken)} broken")

    assert [] == broken
    assert complete > COMPLETE * RECORDING_SEEDS


@pytest.mark.parametrize(
    "mutant",
    [*RECORDING_MUTANTS, *(each for each in MUTANTS if either(each not in RARE, full=True))],
)
def test_each_guard_is_needed(say, mutant):
    """Without the guard, some promise is broken, and the simulation notices."""
    with closing(spread(partial(catch, mutant), MOST_SEEDS)) as seeds:
        seed = next((each for each in seeds if each is not None), None)
    say(f"seed {seed}")

    assert seed is not None
