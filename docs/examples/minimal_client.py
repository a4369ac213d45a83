"""A sender without any code of sonoduct, as a model for other languages."""

import asyncio
import json
import struct
import sys
import uuid
import wave
import zlib

from websockets.asyncio.client import connect
from websockets.exceptions import ConnectionClosed

HEADER = struct.Struct("<BBHIIIQI")


def chunk(epoch, offset, units, payload):
    """One binary message: 32 bytes of header with two checksums, then the samples."""
    head = HEADER.pack(1, 1, 0, len(payload), units, epoch, offset, zlib.crc32(payload))
    return head + struct.pack("<I", zlib.crc32(head)) + payload


async def send(url, samples, samplerate, channels):
    """Send *samples*, interleaved s16le; return the receipt. Continues after lost connections."""
    hello = {
        "type": "hello",
        "stream": uuid.uuid4().hex,  # the same for every attempt
        "instance": uuid.uuid4().hex,
        "format": {"samplerate": samplerate, "channels": channels, "encoding": "s16le"},
    }
    while True:
        try:
            async with connect(url, subprotocols=["sonoduct.v1"], compression=None) as socket:
                return await send_on(socket, hello, samples, 2 * channels)
        except (OSError, ConnectionClosed):
            await asyncio.sleep(1)


async def send_on(socket, hello, samples, unit_bytes):
    """Send the stream on one connection; return the receipt."""
    await socket.send(json.dumps(hello))
    opened = json.loads(await socket.recv())
    if opened["type"] != "opened":
        raise SystemExit(f"refused: {opened}")
    if opened.get("state") == "committed":
        return opened["receipt"]
    level = opened.get("ack", "durable")
    window, sent, settled, unsettled = opened["window"], 0, 0, []
    at, end = opened["offset"], len(samples) // unit_bytes  # the receiver says where to continue
    most, ended = opened["max_chunk"] // unit_bytes, False
    while True:
        while at < end:
            units = min(most, end - at)
            message = chunk(
                opened["epoch"], at, units, samples[at * unit_bytes : (at + units) * unit_bytes]
            )
            if sent + len(message) > settled + window:
                break  # no credit: wait for an ack
            await socket.send(message)
            at, sent = at + units, sent + len(message)
            unsettled.append((at, len(message)))
        if at == end and not ended:
            await socket.send(json.dumps({"type": "eos", "units": end}))
            ended = True
        answer = json.loads(await socket.recv())
        if answer["type"] == "ack":
            window = answer["window"]
            while unsettled and unsettled[0][0] <= answer[level]:
                settled += unsettled.pop(0)[1]
        elif answer["type"] == "committed":
            return answer["receipt"]
        elif answer["type"] == "error":
            raise SystemExit(f"refused: {answer}")


if __name__ == "__main__":
    with wave.open(sys.argv[2]) as file:  # 16 bit WAV
        frames = file.readframes(file.getnframes())
        receipt = asyncio.run(send(sys.argv[1], frames, file.getframerate(), file.getnchannels()))
    print(json.dumps(receipt))
