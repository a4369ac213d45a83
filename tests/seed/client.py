"""Stream a sound file over a WebSocket, the way a first tutorial does it.

Naive on purpose, and to be left that way: this program knows nothing of Sonoduct. It uses the
websockets library with its default settings (compression included), announces neither samplerate
nor channels, and leaves as soon as it has said ``Done``. The tests run it unchanged to prove that
such a program works.

``client.py [PATH [URI]]`` prints how many blocks it sent. With ``--listen`` it stays until the
server closes the connection, and prints each text that arrives.
"""

import argparse
import asyncio

import soundfile as sf
from websockets.asyncio.client import ClientConnection, connect

BLOCK_FRAMES = 4096


async def print_texts(websocket: ClientConnection) -> None:
    """Print every text message until the connection closes."""
    async for message in websocket:
        if isinstance(message, str):
            print(message, flush=True)


async def stream(path: str, uri: str, *, listen: bool) -> None:
    """Send the file block by block, then ``Done``."""
    async with connect(uri) as websocket:
        count = 0
        for block in sf.blocks(path, blocksize=BLOCK_FRAMES, dtype="float32"):
            await websocket.send(block.tobytes())
            count += 1
        await websocket.send("Done")
        print(f"sent {count} blocks", flush=True)
        if listen:
            await print_texts(websocket)


def main() -> None:
    """Read the command line and stream."""
    parser = argparse.ArgumentParser(description="Stream a sound file over a WebSocket.")
    parser.add_argument("path", nargs="?", default="test.wav")
    parser.add_argument("uri", nargs="?", default="ws://127.0.0.1:8766")
    parser.add_argument("--listen", action="store_true", help="print what the server answers")
    arguments = parser.parse_args()
    asyncio.run(stream(arguments.path, arguments.uri, listen=arguments.listen))


if __name__ == "__main__":
    main()
