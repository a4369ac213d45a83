"""Sender and receiver inside one program: what goes in as a file comes out as numpy arrays."""

import asyncio
import sys

from receiver import Settings, serve
from sender import connect


class Shapes:
    """A processor that prints the shape of each array."""

    def open(self, stream):
        print(f"{stream.name}: {stream.samplerate} Hz, {stream.channels} channels")

    def process(self, samples, offset):
        print(f"  frame {offset}: {samples.dtype} {samples.shape}")

    def close(self):
        return {"seen": True}


async def main(path):
    settings = Settings(host="127.0.0.1", port=0, store="none")
    async with (
        serve(settings, processors=[Shapes]) as running,
        connect(running.url) as client,
    ):
        receipt = await client.send(path)
        print(f"receipt: {receipt.frames} frames, digest {receipt.digest}")


if __name__ == "__main__":
    asyncio.run(main(sys.argv[1]))
