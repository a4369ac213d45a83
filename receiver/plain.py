"""The tutorial's dialect: float32 little-endian in binary messages of any length, then ``Done``."""

from __future__ import annotations

import json
import uuid
from collections.abc import Iterable, Iterator
from typing import Final
from urllib.parse import parse_qs, urlsplit

from wire import (
    CHANNELS,
    SAMPLERATES,
    Chunk,
    Committed,
    Control,
    Digest,
    Encoding,
    Eos,
    Error,
    Format,
    Hello,
    Malformed,
    Message,
    Opened,
    encode_chunk,
)

END: Final = "Done"
ANSWER: Final = "Done!"
SHOWN_CHARACTERS: Final = 40
DIGITS: Final = 9
"""Of a number in the address; int() takes long for many."""


class Plain:
    """
    A client that says nothing about itself: the format comes from its address or from *default*.

    Its stream gets a random id, so that nobody can resume it.
    """

    name = "plain"
    credit = False
    resumable = False

    def __init__(self, target: str, default: Format) -> None:
        """The request *target* is such as ``/?samplerate=44100&channels=2``."""
        self.format = default
        self._target = target
        self._rest = b""  # bytes that do not fill a frame yet
        self._digest = Digest()
        self._epoch = self._chunks = self._piece = 0

    def greet(self) -> Iterable[Message]:
        """
        Return the hello that the client does not say.

        Raises:
            Malformed: if the query holds something else than a format.
        """
        self.format = _format(self._target, self.format)
        stream = uuid.uuid4().hex
        return [Hello(stream=stream, instance=stream, name="plain client", format=self.format)]

    def decode(self, data: str | bytes) -> Iterator[Message]:
        """See Dialect."""
        if isinstance(data, str):
            yield self._end(data)
            return
        self._chunks += 1
        data = self._rest + data if self._rest else data
        whole = len(data) - len(data) % self.format.frame_bytes
        for start in range(0, whole, self._piece):
            yield self._chunk(memoryview(data)[start : min(start + self._piece, whole)])
        self._rest = data[whole:]

    def encode(self, message: Control) -> Iterator[str]:
        """See Dialect: of all messages, a plain client can only read the last ones."""
        match message:
            case Opened(epoch=epoch, max_chunk=max_chunk):
                self._epoch = epoch
                self._piece = max_chunk - max_chunk % self.format.frame_bytes
            case Committed(receipt=receipt):
                facts = {
                    "frames": receipt.frames,
                    "chunks": self._chunks,
                    "seconds": receipt.seconds,
                    "digest": receipt.digest,
                }
                yield json.dumps(facts)
                yield ANSWER
            case Error(message=text):
                yield json.dumps({"error": text})

    def _chunk(self, payload: memoryview) -> Chunk:
        offset, units = self._digest.units, len(payload) // self.format.frame_bytes
        self._digest.update(offset, units, payload)
        return Chunk(self._epoch, offset, units, encode_chunk(self._epoch, offset, units, payload))

    def _end(self, text: str) -> Eos:
        if text != END:
            raise Malformed("text", seen=repr(text[:SHOWN_CHARACTERS]), expected=repr(END))
        if self._rest:
            frame = f"a multiple of {self.format.frame_bytes} ({self.format.channels} channels)"
            raise Malformed("bytes after the last frame", seen=len(self._rest), expected=frame)
        return Eos(units=self._digest.units, digest=self._digest.hexdigest())


def _format(target: str, default: Format) -> Format:
    query = parse_qs(urlsplit(target).query, keep_blank_values=True)
    values = {"samplerate": default.samplerate, "channels": default.channels}
    for name, allowed in (("samplerate", SAMPLERATES), ("channels", CHANNELS)):
        seen = query.pop(name, [str(values[name])])[-1]
        if not (len(seen) <= DIGITS and seen.isascii() and seen.isdigit() and int(seen) in allowed):
            expected = f"{allowed.start} to {allowed.stop - 1}"
            raise Malformed(name, seen=repr(seen[:SHOWN_CHARACTERS]), expected=expected)
        values[name] = int(seen)
    if query:
        raise Malformed("query", seen=sorted(query), expected="samplerate and channels")
    samplerate, channels = values["samplerate"], values["channels"]
    return Format(samplerate=samplerate, channels=channels, encoding=Encoding.F32LE)
