"""One short stream, and its expected recording."""

import uuid

from sonoduct import wire
from tests.support.sounds import noise

FRAMES = 4_000
SIZES = (1, 300, 77, 500, 1_000, 20, 900, 402, 800)
"""Frames of the chunks, in order."""

FORMAT = wire.Format(samplerate=16_000, channels=1, encoding=wire.Encoding.S16LE)
HELLO = wire.Hello(stream=uuid.UUID(int=7).hex, instance="one", format=FORMAT, name="scene.wav")
SOUND = (noise(FRAMES, seed=7) * 32767).astype("<i2").tobytes()
CHUNKS = [(sum(SIZES[:index]), size) for index, size in enumerate(SIZES)]


def chunk(epoch, offset, units):
    """Return a chunk of the stream."""
    payload = SOUND[2 * offset : 2 * (offset + units)]
    return wire.Chunk(epoch, offset, units, wire.encode_chunk(epoch, offset, units, payload))


def receipt():
    """Return the receipt of the stream."""
    digest = wire.Digest()
    digest.update(0, FRAMES, SOUND)
    return wire.Receipt(
        stream=HELLO.stream,
        units=FRAMES,
        digest=digest.hexdigest(),
        frames=FRAMES,
        samplerate=FORMAT.samplerate,
        channels=FORMAT.channels,
        seconds=FRAMES / FORMAT.samplerate,
        durable=True,
    )
