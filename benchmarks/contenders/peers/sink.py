"""What the receivers in Python do with the bytes: count them, or write them into a synced file."""

import os

import xxhash

from benchmarks.contenders import require

from . import FILE

MESSAGE_BYTES = 256 * 1024
WAV_HEADER_BYTES = 44


class Sink:
    """Takes messages; without a path it only counts."""

    def __init__(self, path):
        self.total = 0
        self._file = path and path.open("wb", buffering=0)

    def take(self, data):
        """Take the bytes of one message."""
        self.total += len(data)
        if self._file:
            self._file.write(data)

    def finish(self):
        """Sync the file, if there is one; return how many bytes came."""
        if self._file:
            os.fdatasync(self._file.fileno())
            self._file.close()
        return self.total


def pieces(sound):
    """Read the samples of a file, message by message."""
    with sound.path.open("rb", buffering=0) as file:
        file.seek(WAV_HEADER_BYTES)
        while data := file.read(MESSAGE_BYTES):
            yield data


def check(answer, sounds, folder):
    """Every byte was counted; if there is a file, its digest is right."""
    (sound,) = sounds
    require("bytes", answer["bytes"], sound.payload_bytes)
    if (path := folder / FILE).exists():
        require("digest", xxhash.xxh3_128(path.read_bytes()).hexdigest(), sound.digest)
