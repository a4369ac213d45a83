"""The command `receiver`; a test kills, pauses and restarts it."""

import asyncio
import signal
from contextlib import AsyncExitStack, asynccontextmanager

from tests.support.commands import COMMANDS, started
from tests.support.ports import steady_port


class Receiver:
    """One place where `receiver serve` runs; its ports are the same after each start."""

    def __init__(self, store, *options):
        self.store = store
        self.port = steady_port()
        self.metrics_port = steady_port()
        self.url = f"ws://127.0.0.1:{self.port}"
        self.program = None
        self._options = options
        self._life = AsyncExitStack()

    @property
    def pid(self):
        """Return the id of the process that runs at the moment."""
        return self.program.process.pid

    async def start(self):
        """Start the process; return when the receiver is ready."""
        await self.begin()
        await self.program.until(lambda: any("receiver_ready" in each for each in self.errors))

    async def begin(self):
        """Start the process; do not wait until the receiver is ready."""
        where = ("--store", self.store, "--host", "127.0.0.1", "--port", self.port)
        command = (*where, "--metrics-port", self.metrics_port, *self._options)
        self.program = await self._life.enter_async_context(
            started(COMMANDS / "receiver", "serve", *map(str, command))
        )

    @property
    def errors(self):
        """Return the lines that the process has logged."""
        return self.program.errors

    async def kill(self):
        """End the process at once, as a power cut would; do nothing if it has ended."""
        await self._life.aclose()

    def pause(self):
        """Stop the process until `resume`."""
        self.program.interrupt(signal.SIGSTOP)

    def resume(self):
        """Let the process run again."""
        self.program.interrupt(signal.SIGCONT)

    async def stop(self):
        """Ask the process to end; return its exit code."""
        self.program.interrupt(signal.SIGTERM)
        code = await self.program.ended()
        await self._life.aclose()
        return code


@asynccontextmanager
async def serving(*receivers):
    """Run *receivers*; at the end, kill each that still runs."""
    try:
        await asyncio.gather(*(each.start() for each in receivers))
        yield receivers
    finally:
        for each in receivers:
            await each.kill()
