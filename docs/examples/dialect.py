"""A dialect for clients that send a line of JSON, then samples, then `{"eof": true}`."""

import json
import uuid
from typing import Self

from receiver.dialects import Dialect, Feed, Request
from sonoduct.wire import Committed, Encoding, Error, Format, Hello, Opened


class Lines(Dialect):
    name = "lines"
    path = "/lines"
    credit = False
    resumable = False

    @classmethod
    def accepts(cls, request: Request) -> Self | None:
        return cls() if request.path == cls.path else None

    def decode(self, data):
        if isinstance(data, bytes):
            yield from self.feed.take(data)
        elif "samplerate" in (line := json.loads(data)):
            audio_format = Format(
                samplerate=line["samplerate"], channels=1, encoding=Encoding.S16LE
            )
            self.feed, stream = Feed(audio_format), uuid.uuid4().hex
            yield Hello(stream=stream, instance=stream, format=audio_format)
        else:
            yield self.feed.end()

    def encode(self, message):
        match message:
            case Opened(epoch=epoch, max_chunk=max_chunk):
                self.feed.open(epoch, max_chunk)
            case Committed(receipt=receipt):
                yield json.dumps({"seconds": receipt.seconds, **receipt.processors})
            case Error(message=text):
                yield json.dumps({"error": text})
