"""Receive sound over a WebSocket, the way a first tutorial does it.

Naive on purpose, and to be left that way: this program knows nothing of Sonoduct. It uses the
websockets library with its default settings (compression included), takes every message but
``Done`` for 32-bit floats, and fails on any other text. The tests run it unchanged to prove that
such a program works.

A client that closes right after ``Done`` may be gone before ``Done!`` is sent. The websockets
library then logs ``connection handler failed`` to stderr, and the server goes on serving.

``server.py [PORT]`` prints ``listening on PORT``, then the number of values in each message. It
runs until it is killed; port 0 takes any free port.
"""

import argparse
import asyncio
from typing import cast

import numpy as np
from websockets.asyncio.server import ServerConnection, serve


async def receive(websocket: ServerConnection) -> None:
    """Print the length of each block until the client says ``Done``."""
    async for message in websocket:
        if message == "Done":
            await websocket.send("Done!")
            return
        # The tutorial trusts its client to send nothing else; so does the cast.
        array = np.frombuffer(cast("bytes", message), np.float32)
        print(len(array), flush=True)


async def listen(port: int) -> None:
    """Serve on the loopback interface for ever."""
    async with serve(receive, "127.0.0.1", port) as server:
        # Asked of the socket, because port 0 means that the system chose one.
        bound = next(iter(server.sockets)).getsockname()[1]
        print(f"listening on {bound}", flush=True)
        await server.serve_forever()


def main() -> None:
    """Read the command line and listen."""
    parser = argparse.ArgumentParser(description="Receive sound over a WebSocket.")
    parser.add_argument("port", nargs="?", type=int, default=8766)
    arguments = parser.parse_args()
    asyncio.run(listen(arguments.port))


if __name__ == "__main__":
    main()
