"""The choice of a receiver for each new connection, as a load balancer makes it."""

import asyncio
from contextlib import asynccontextmanager, suppress

from tests.support.relay import Relay
from tests.support.waits import until

EVERY_S = 0.1
"""Between two looks at each receiver."""

PATIENCE_S = 1


class Balancer:
    """Asks receivers whether they are ready, and sends new connections to the least busy one."""

    def __init__(self, receivers):
        self.switch = Relay(self._choose)
        self._receivers = receivers
        self._ready = set()

    @asynccontextmanager
    async def listen(self):
        """Accept connections while the context is open; yield the address."""
        watching = [asyncio.create_task(self._watch(each)) for each in self._receivers]
        try:
            async with self.switch.listen():
                await asyncio.gather(*(self.sees(each) for each in self._receivers))
                yield self.switch.url
        finally:
            for task in watching:
                task.cancel()
            await asyncio.gather(*watching, return_exceptions=True)

    async def sees(self, receiver):
        """Wait until the balancer knows that *receiver* is ready."""
        await until(lambda: receiver in self._ready)

    def _choose(self):
        ready = [each for each in self._receivers if each in self._ready]
        return min(ready, key=lambda each: len(self.switch.carrying(each)), default=None)

    async def _watch(self, receiver):
        while True:
            ready = False
            with suppress(OSError, TimeoutError):
                async with asyncio.timeout(PATIENCE_S):
                    ready = await _is_ready(receiver.port)
            (self._ready.add if ready else self._ready.discard)(receiver)
            await asyncio.sleep(EVERY_S)


async def _is_ready(port):
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    try:
        writer.write(b"GET /readyz HTTP/1.1\r\nHost: receiver\r\nConnection: close\r\n\r\n")
        return b" 200 " in await reader.readline()
    finally:
        writer.transport.abort()
