"""Waiting for what is bound to happen."""

import asyncio

PATIENCE_S = 60
"""On a machine that has much else to do."""

EVERY_S = 0.005


async def until(reached, within=PATIENCE_S):
    """Poll until *reached* returns something true; return that, and the time it was seen at."""
    now = asyncio.get_running_loop().time
    async with asyncio.timeout(within):
        while not (found := reached()):
            await asyncio.sleep(EVERY_S)
    return found, now()


async def ended(program, within):
    """Wait for the end of *program*, of tests.integration.commands; return its exit code."""
    await until(lambda: program.process.returncode is not None, within)
    return await program.ended()
