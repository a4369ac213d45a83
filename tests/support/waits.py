"""Waits for conditions that have no event: files, processes, other programs."""

import asyncio

PATIENCE_S = 60
"""Enough on a machine with much other work."""

EVERY_S = 0.005


async def until(reached, within=PATIENCE_S):
    """Poll until *reached* returns something true; return that and the loop's time."""
    now = asyncio.get_running_loop().time
    async with asyncio.timeout(within):
        while not (found := reached()):
            await asyncio.sleep(EVERY_S)
    return found, now()


async def ended(program, within):
    """Wait until *program*, from tests.support.commands, ends; return its exit code."""
    await until(lambda: program.process.returncode is not None, within)
    return await program.ended()


async def recorded(store, count=1):
    """Wait until *store* has *count* recordings; return their paths, sorted."""

    def complete():
        return len(list((store / "streams").glob("*/*/done.json"))) >= count

    await until(complete)
    return sorted((store / "audio").glob("[!.]*.wav"))
