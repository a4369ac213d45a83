"""The real protocol and the real journal, in a world that the seed decides."""

import itertools
import multiprocessing
import os
from concurrent.futures import ProcessPoolExecutor

import pytest

from tests.faults.processes.extent import either
from tests.faults.simulation.mutants import MUTANTS
from tests.faults.simulation.plan import Broken
from tests.faults.simulation.world import World

pytestmark = pytest.mark.faults

SEEDS = either(2_000, 100_000)
SHARE = 50
"""Seeds that one process runs at a time."""

MOST_SEEDS = either(500, 30_000)
"""Until a mutant is caught."""

COMPLETE = 0.95
"""Of all runs, those whose stream is complete in the end: without them nothing is shown."""

MODEL = (
    "nobody looks between sync and ack",
    "the scan comes before the fence",
    "the ack comes before the sync",
    "what is scanned is not synced",
    "the folder is not synced",
)
"""The steps of the protocol's model. What the other guards prevent takes thousands of seeds."""


def run(seeds):
    """Run the worlds of *seeds*; return how many streams were complete, and what was broken."""
    complete, broken = 0, []
    for seed in seeds:
        try:
            complete += World(seed).run()
        except Broken as exc:
            broken.append((seed, str(exc)))
    return complete, broken


def catch(mutant, seeds):
    """Return the first of *seeds* that shows what is wrong with *mutant*; None if none does."""
    with MUTANTS[mutant]():
        for seed in seeds:
            try:
                World(seed).run()
            except Broken:
                return seed
    return None


def spread(seeds, call):
    """Yield what *call* returns for shares of *seeds*, from several processes."""
    shares = (tuple(itertools.islice(seeds, SHARE)) for _ in itertools.count())
    shares = itertools.takewhile(bool, shares)
    context = multiprocessing.get_context("spawn")
    with ProcessPoolExecutor(os.cpu_count(), mp_context=context) as pool:
        yield from pool.map(call, shares)


def test_a_seed_decides_everything():
    """The same seed twice is the same run, step by step; so a failure can be looked at again."""
    traces = []
    for _ in range(2):
        world = World(12345)
        world.run()
        traces.append(world.trace)

    assert len(traces[0]) > 100
    assert repr(traces[0]) == repr(traces[1])


def test_promises_hold(say):
    """Whatever crashes, sleeps, loses power or comes late: what was promised is there."""
    if seed := os.environ.get("SEED"):
        world = World(int(seed))
        try:
            world.run()
        finally:
            print(*world.trace, sep="\n")  # noqa: T201  # whoever asks for one seed wants to see it
        return
    complete, broken = 0, []
    for done, failed in spread(iter(range(SEEDS)), run):
        complete, broken = complete + done, broken + failed
    say(f"{SEEDS} seeds, {complete} complete, {len(broken)} broken")

    assert [] == broken[:3], "SEED=… shows one of these"
    assert complete > COMPLETE * SEEDS


@pytest.mark.parametrize("mutant", either(MODEL, tuple(MUTANTS)))
def test_each_guard_is_needed(say, mutant):
    """Without it, some promise is broken: the simulation would notice if it were lost."""
    seed = catch(mutant, range(MOST_SEEDS))
    say(f"seed {seed}")

    assert seed is not None
