"""Commands as processes of their own."""

import asyncio
import json
import os
import signal
import sys
import tempfile
from contextlib import asynccontextmanager
from pathlib import Path

PATIENCE_S = 20
"""The seconds that a test waits for an event that must come."""

COMMANDS = Path(sys.executable).parent

ELSEWHERE = {
    "RECEIVER_STORE": "none",
    "SENDER_SPOOL": f"{tempfile.gettempdir()}/sonoduct-tests-{os.getpid()}",
    "SENDER_LEDGER": "",
}
"""The programs of a test write nothing to the folders of the user."""


class Program:
    """A process; a test can wait for lines of its output."""

    def __init__(self, process):
        self.process = process
        self.lines = []
        """Lines of standard output."""
        self.errors = []
        """Lines of standard error."""
        self._news = asyncio.Event()
        self._ended = asyncio.create_task(self._read())

    @property
    def out(self):
        """Return standard output."""
        return "".join(self.lines)

    @property
    def log(self):
        """Return the lines of standard error, each parsed as JSON; fail if one is not JSON."""
        return [json.loads(line) for line in self.errors]

    async def said(self, event, count=1, **facts):
        """Wait until there are *count* lines of *event* with *facts*; return the last."""

        def matches():
            lines = [line for line in self.log if line.get("event") == event]
            return [line for line in lines if facts.items() <= line.items()]

        await self.until(lambda: len(matches()) >= count)
        return matches()[-1]

    async def until(self, reached):
        """Wait until *reached* returns something true."""
        async with asyncio.timeout(PATIENCE_S):
            while not reached():
                assert not self._ended.done(), f"it ended: {self.errors}"
                self._news.clear()
                await self._news.wait()

    def interrupt(self, number=signal.SIGINT):
        """Send the signal *number* to the process."""
        self.process.send_signal(number)

    async def ended(self):
        """Wait until the process ends; return its exit code."""
        async with asyncio.timeout(PATIENCE_S):
            await self._ended
            return await self.process.wait()

    async def close(self):
        """Kill the process if it still runs."""
        if self.process.returncode is None:
            self.process.kill()
        if self.process.stdin is not None:
            self.process.stdin.close()
        await self._ended
        await self.process.wait()

    async def _read(self):
        process = self.process
        await asyncio.gather(
            self._keep(process.stderr, self.errors), self._keep(process.stdout, self.lines)
        )
        self._news.set()

    async def _keep(self, stream, lines):
        async for line in stream:
            lines.append(line.decode())
            self._news.set()


@asynccontextmanager
async def started(*command, stdin=asyncio.subprocess.DEVNULL, env=None, cwd=None):
    """Run *command*; at the end of the context, kill it if it still runs."""
    foreign = ("SENDER_", "RECEIVER_", "COLUMNS", "PYTHONASYNCIODEBUG")  # it logs what is slow
    kept = {key: value for key, value in os.environ.items() if not key.startswith(foreign)}
    process = await asyncio.create_subprocess_exec(
        *map(os.fspath, command),
        stdin=stdin,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
        env=kept | ELSEWHERE | (env or {}),
        cwd=cwd,
    )
    program = Program(process)
    try:
        yield program
    finally:
        await program.close()


def sending(*arguments, **how):
    """Run `sender send`."""
    return started(COMMANDS / "sender", "send", *map(str, arguments), **how)


def watching(folder, url, *arguments, settle="0.2", port=0, **how):
    """Run `sender watch` with short intervals, and with its metrics on *port*."""
    quick = ("--to", url, "--settle", settle, "--rescan", "0.2", "--metrics-port", port)
    return started(COMMANDS / "sender", "watch", *map(str, (folder, *quick, *arguments)), **how)


async def sent(*arguments, **how):
    """Run `sender send` until it ends; return the program and its exit code."""
    async with sending(*arguments, **how) as program:
        code = await program.ended()
    return program, code


def outcomes(report):
    """Return the lines that `--report` wrote, by the name of the file that each is about."""
    lines = [json.loads(line) for line in Path(report).read_text().splitlines()]
    return {Path(line["name"]).name: line for line in lines}
