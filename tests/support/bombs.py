"""Small files that decode to a large amount of audio."""

import struct

CHANNELS = 32
FRAME_BYTES = 2 * CHANNELS
CHUNK_FRAMES = 9000


def atom(kind, *parts):
    """Return an atom of QuickTime: its length, its kind and its contents."""
    body = b"".join(parts)
    return struct.pack(">I4s", 8 + len(body), kind) + body


def write_bomb(path, size):
    """
    Write a QuickTime file that decodes to *size* bytes; return its own size.

    Its index names the same chunk of samples again and again, for 4 bytes each time.
    """
    chunk = bytes(CHUNK_FRAMES * FRAME_BYTES)
    chunks = size // len(chunk)
    frames = chunks * CHUNK_FRAMES
    full = bytes(4)
    sound = struct.pack(">6xH8xHHHHI", 1, CHANNELS, 16, 0, 0, 48_000 << 16)
    table = atom(
        b"stbl",
        atom(b"stsd", full, struct.pack(">I", 1), atom(b"sowt", sound)),
        atom(b"stts", full, struct.pack(">III", 1, frames, 1)),
        atom(b"stsc", full, struct.pack(">IIII", 1, 1, CHUNK_FRAMES, 1)),
        atom(b"stsz", full, struct.pack(">II", FRAME_BYTES, frames)),
        atom(b"stco", full, struct.pack(">I", chunks), struct.pack(">I", 28) * chunks),
    )
    head = struct.pack(">4xIIII", 0, 0, 48_000, frames)
    media = atom(
        b"mdia",
        atom(b"mdhd", head, bytes(4)),
        atom(b"hdlr", full, b"mhlrsoun", bytes(13)),
        atom(b"minf", atom(b"smhd", bytes(8)), table),
    )
    movie = atom(
        b"moov",
        atom(b"mvhd", head, bytes(80)),
        atom(b"trak", atom(b"tkhd", struct.pack(">I8xI", 7, 1), bytes(68)), media),
    )
    data = atom(b"ftyp", b"qt  ", bytes(4), b"qt  ") + atom(b"mdat", chunk) + movie
    path.write_bytes(data)
    return len(data)
