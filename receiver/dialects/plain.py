"""
The dialect of clients without a protocol: samples, or a file, in binary messages of any length.

The tutorial's client sends float32 samples and then the text ``Done``. The query may name another
encoding. If the bytes begin like an audio file, they are that file and not samples.
"""

from __future__ import annotations

import json
import uuid
from collections.abc import Iterable, Iterator
from typing import Final, Self
from urllib.parse import parse_qs, urlsplit

import numpy as np
from typing_extensions import override

from sonoduct.audio.decoding import MPEG_BYTES, SIGNATURE_BYTES, may_be_mpeg, suffix_of_container
from sonoduct.audio.g711 import ALAW, MULAW
from sonoduct.wire import (
    CHANNELS,
    SAMPLERATES,
    Buffer,
    Committed,
    Control,
    Encoding,
    Error,
    Format,
    Hello,
    Kind,
    Malformed,
    Message,
    Opened,
    Receipt,
)

from .dialect import Dialect, Request
from .feed import Feed

END: Final = "Done"
ANSWER: Final = "Done!"
NAME: Final = "plain client"
SHOWN_CHARACTERS: Final = 40
DIGITS: Final = 9
"""Of a number in the query; int() is slow for very long ones."""

TEXT_CHARACTERS: Final = 4096
"""Of a text before the audio, which becomes metadata of the stream."""

PROVED_FRAMES: Final = 32 * 1024
"""Frames at the start of a stream that must be finite numbers."""

FILE: Final = "file"
ENCODINGS: Final = {
    "f32le": (Encoding.F32LE, None),
    "s16le": (Encoding.S16LE, None),
    "mulaw": (Encoding.S16LE, MULAW),
    "alaw": (Encoding.S16LE, ALAW),
}
"""By the query's word: the encoding that is stored, and the table that makes it of each byte."""


class Plain(Dialect):
    """
    A client that does not describe itself: its format comes from the query or from the settings.

    Its stream gets a random id, so that no other connection can resume it. If the query names an
    encoding, or the client sends a file, closing the connection ends the stream.
    """

    name = "plain"
    credit = False
    resumable = False

    def __init__(self, target: str, default: Format) -> None:
        """*target* is path and query, such as ``/?samplerate=44100&channels=2``."""
        self._target = target
        self._default = default
        self._encoding = ""
        """The query's word; empty if it has none."""
        self._head = b""  # until there is enough of it to tell a file from samples
        self._feed: Feed | None = None
        self._metadata: dict[str, str] = {}
        self._chunks = 0
        self._ended_by = ""

    @classmethod
    @override
    def accepts(cls, request: Request) -> Self | None:
        if request.path == cls.path and not request.subprotocols:
            return cls(request.target, request.default)
        return None

    @override
    def greet(self) -> Iterable[Message]:
        """
        Read the query. The hello comes with the first audio, which tells a file from samples.

        Raises:
            Malformed: if the query holds anything but a format.
        """
        self._encoding, self._default = _format_in(self._target, self._default)
        return ()

    @override
    def decode(self, data: str | Buffer) -> Iterator[Message]:
        """The receiver answers a hello with `Opened` before it asks for the next message."""
        if isinstance(data, str):
            yield from self._text(data)
            return
        self._chunks += 1
        if self._feed is not None:
            yield from self._taken(data)
        else:
            self._head += data
            if self._head and not (data and self._needs_more()):
                yield from self._begin()
        if not data and self._feed is not None and self._feed.is_file:
            yield from self._end("")

    @override
    def closed(self, code: int) -> Iterator[Message]:
        """End the stream if its client has no other way; a call that is cut off is one."""
        if self._head and not self._feed:
            yield from self._begin()
        if self._feed is not None and (self._encoding or self._feed.is_file):
            yield from self._end("")

    @override
    def encode(self, message: Control) -> Iterator[str]:
        """A plain client reads the result only."""
        match message:
            case Opened(epoch=epoch, max_chunk=max_chunk):
                assert self._feed is not None  # opened answers its hello
                self._feed.open(epoch, max_chunk)
            case Committed(receipt=receipt):
                yield json.dumps(self._facts(receipt))
                if self._ended_by == END:
                    yield ANSWER
            case Error(message=text):
                yield json.dumps({"error": text})

    def _text(self, text: str) -> Iterator[Message]:
        if text == END:
            if self._feed is None:
                yield from self._begin()
            yield from self._end(END)
        elif not self._encoding:
            raise Malformed("text", seen=repr(text[:SHOWN_CHARACTERS]), expected=repr(END))
        elif self._feed is None:  # texts between audio are other services' commands
            self._metadata.setdefault("text", text[:TEXT_CHARACTERS])

    def _needs_more(self) -> bool:
        """Whether the bytes so far could be the beginning of a file or of samples."""
        if self._encoding:
            return not self._head
        most = MPEG_BYTES if may_be_mpeg(self._head) else SIGNATURE_BYTES
        return len(self._head) < most

    def _begin(self) -> Iterator[Message]:
        """Tell a file from samples, and claim a stream."""
        head, self._head = self._head, b""
        suffix = suffix_of_container(head) if not self._encoding else None
        if self._encoding == FILE:
            suffix = suffix_of_container(head) or ""
        if suffix is None:
            self._feed = Feed(self._default, ENCODINGS[self._encoding or "f32le"][1])
        else:
            self._feed = Feed(None)
        stream = uuid.uuid4().hex
        yield Hello(
            stream=stream,
            instance=stream,
            name=f"{NAME}{suffix or ''}",
            kind=Kind.FILE if self._feed.is_file else Kind.PCM,
            format=self._feed.format,
            metadata=self._metadata,
        )
        yield from self._taken(head)

    def _taken(self, data: Buffer) -> Iterator[Message]:
        assert self._feed is not None  # made by _begin
        for chunk in self._feed.take(data):
            if not (self._encoding or self._feed.is_file) and chunk.offset < PROVED_FRAMES:
                _require_sound(chunk.payload)
            yield chunk

    def _end(self, by: str) -> Iterator[Message]:
        assert self._feed is not None  # made by _begin
        self._ended_by = by
        if by and not self._encoding:
            self._feed.require_whole()
        yield self._feed.end()

    def _facts(self, receipt: Receipt) -> dict[str, object]:
        assert self._feed is not None  # made by _begin
        facts: dict[str, object] = {
            "frames": receipt.frames,
            "chunks": self._chunks,
            "seconds": receipt.seconds,
            "digest": receipt.digest,
        }
        if self._feed.is_file:
            facts |= {"sha256": receipt.sha256, "decoder": receipt.decoder}
        elif self._feed.rest:
            facts["dropped_bytes"] = len(self._feed.rest)
        return facts


def _require_sound(payload: Buffer) -> None:
    """
    Check that *payload* is sound.

    Raises:
        Malformed: if a float is infinite or no number: then the bytes are some other file.
    """
    if not np.isfinite(np.frombuffer(payload, "<f4")).all():
        expected = "float32, or a file that is known, or an encoding in the query"
        raise Malformed("first samples", seen="no numbers", expected=expected)


def _format_in(target: str, default: Format) -> tuple[str, Format]:
    """Return the query's word for the encoding, and the format of the samples."""
    query = parse_qs(urlsplit(target).query, keep_blank_values=True)
    values = {"samplerate": default.samplerate, "channels": default.channels}
    for name, allowed in (("samplerate", SAMPLERATES), ("channels", CHANNELS)):
        seen = query.pop(name, [str(values[name])])[-1]
        if not (len(seen) <= DIGITS and seen.isascii() and seen.isdigit() and int(seen) in allowed):
            expected = f"{allowed.start} to {allowed.stop - 1}"
            raise Malformed(name, seen=repr(seen[:SHOWN_CHARACTERS]), expected=expected)
        values[name] = int(seen)
    encoding = query.pop("encoding", [""])[-1]
    if encoding and encoding not in (*ENCODINGS, FILE):
        expected = " or ".join((*ENCODINGS, FILE))
        raise Malformed("encoding", seen=repr(encoding[:SHOWN_CHARACTERS]), expected=expected)
    if query:
        names = sorted(name[:SHOWN_CHARACTERS] for name in query)
        raise Malformed("query", seen=names, expected="samplerate, channels and encoding")
    samplerate, channels = values["samplerate"], values["channels"]
    kept = ENCODINGS.get(encoding, (Encoding.F32LE, None))[0]
    return encoding, Format(samplerate=samplerate, channels=channels, encoding=kept)
