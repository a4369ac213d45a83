"""A dialect for clients that send a line of JSON, then samples, then `{"eof": true}`."""

import json
import uuid
from typing import Self

from receiver.dialects import Dialect, Request
from sonoduct.wire import (
    Chunk,
    Committed,
    Digest,
    Encoding,
    Eos,
    Error,
    Format,
    Hello,
    Opened,
    encode_chunk,
)


class Lines(Dialect):
    name = "lines"
    path = "/lines"
    credit = False
    resumable = False

    @classmethod
    def accepts(cls, request: Request) -> Self | None:
        return cls() if request.path == cls.path else None

    def __init__(self):
        self.digest, self.epoch = Digest(), 0

    def decode(self, data):
        if isinstance(data, bytes):
            units = len(data) // self.format.frame_bytes
            message = encode_chunk(self.epoch, self.digest.units, units, data)
            yield Chunk(self.epoch, self.digest.units, units, message)
            self.digest.update(self.digest.units, units, data)
        elif "samplerate" in (line := json.loads(data)):
            self.format = Format(samplerate=line["samplerate"], channels=1, encoding=Encoding.S16LE)
            stream = uuid.uuid4().hex
            yield Hello(stream=stream, instance=stream, format=self.format)
        else:
            yield Eos(units=self.digest.units, digest=self.digest.hexdigest())

    def encode(self, message):
        match message:
            case Opened(epoch=epoch):
                self.epoch = epoch
            case Committed(receipt=receipt):
                yield json.dumps({"seconds": receipt.seconds, **receipt.processors})
            case Error(message=text):
                yield json.dumps({"error": text})
