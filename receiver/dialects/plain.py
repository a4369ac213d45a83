"""
Clients that know no protocol: samples, or a whole file, in binary messages of any length.

The tutorial's client sends float32 and then ``Done``. The query may say another encoding. What
begins like an audio file is one: its bytes are not samples.
"""

from __future__ import annotations

import json
import uuid
from collections.abc import Iterable, Iterator
from typing import Final
from urllib.parse import parse_qs, urlsplit

import numpy as np

from sonoduct.audio.decoding import MPEG_BYTES, SIGNATURE_BYTES, may_be_mpeg, suffix_of_container
from sonoduct.audio.g711 import ALAW, MULAW, Table
from sonoduct.wire import (
    CHANNELS,
    SAMPLERATES,
    Buffer,
    Chunk,
    Committed,
    Control,
    Digest,
    Encoding,
    Eos,
    Error,
    Format,
    Hello,
    Kind,
    Malformed,
    Message,
    Opened,
    Receipt,
    encode_chunk,
)

END: Final = "Done"
ANSWER: Final = "Done!"
NAME: Final = "plain client"
SHOWN_CHARACTERS: Final = 40
DIGITS: Final = 9
"""Of a number in the address; int() takes long for many."""

TEXT_CHARACTERS: Final = 4096
"""Of what a client says before its audio, which is kept as metadata."""

PROVED_FRAMES: Final = 32 * 1024
"""Frames at the start of a stream that have to be numbers."""

FILE: Final = "file"
ENCODINGS: Final = {
    "f32le": (Encoding.F32LE, None),
    "s16le": (Encoding.S16LE, None),
    "mulaw": (Encoding.S16LE, MULAW),
    "alaw": (Encoding.S16LE, ALAW),
}
"""What a query may name, what is kept of it, and the table that turns bytes into that."""


class Plain:
    """
    A client that says nothing about itself: the format comes from its address or from *default*.

    Its stream gets a random id, so that nobody can resume it. If the query names an encoding, or
    the client sends a file, closing the connection ends the stream as well: nobody else could.
    """

    name = "plain"
    credit = False
    resumable = False

    def __init__(self, target: str, default: Format) -> None:
        """The request *target* is such as ``/?samplerate=44100&channels=2``."""
        self._target = target
        self._default = default
        self._encoding = ""
        """What the query names."""
        self._head = b""  # until enough has come to know what it is
        self._feed: Feed | None = None
        self._metadata: dict[str, str] = {}
        self._chunks = 0
        self._ended_by = ""

    def greet(self) -> Iterable[Message]:
        """
        Look at the query; the hello comes with the first audio, which says what it is.

        Raises:
            Malformed: if the query holds something else than a format.
        """
        self._encoding, self._default = _asked(self._target, self._default)
        return ()

    def decode(self, data: str | bytes) -> Iterator[Message]:
        """See Dialect. `Opened` is encoded before what follows a hello is asked for."""
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

    def closed(self, code: int) -> Iterator[Message]:  # noqa: ARG002  # a call that is cut off is a recording, too
        """See Dialect."""
        if self._head and not self._feed:
            yield from self._begin()
        if self._feed is not None and (self._encoding or self._feed.is_file):
            yield from self._end("")

    def encode(self, message: Control) -> Iterator[str]:
        """See Dialect: of all messages, a plain client can only read the last ones."""
        match message:
            case Opened(epoch=epoch, max_chunk=max_chunk):
                assert self._feed is not None  # whose hello this answers
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
        elif self._feed is None:  # later texts are for somebody else
            self._metadata.setdefault("text", text[:TEXT_CHARACTERS])

    def _needs_more(self) -> bool:
        """Whether the bytes so far may still become a file or samples."""
        if self._encoding:
            return not self._head
        most = MPEG_BYTES if may_be_mpeg(self._head) else SIGNATURE_BYTES
        return len(self._head) < most

    def _begin(self) -> Iterator[Message]:
        """Find out what the client sends, and claim a stream for it."""
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

    def _taken(self, data: bytes) -> Iterator[Message]:
        assert self._feed is not None  # which takes it
        for chunk in self._feed.take(data):
            if not (self._encoding or self._feed.is_file) and chunk.offset < PROVED_FRAMES:
                _require_sound(chunk.payload)
            yield chunk

    def _end(self, by: str) -> Iterator[Message]:
        assert self._feed is not None  # there is a stream that ends
        self._ended_by = by
        if by and not self._encoding:
            self._feed.require_whole()
        yield self._feed.end()

    def _facts(self, receipt: Receipt) -> dict[str, object]:
        assert self._feed is not None  # whose receipt it is
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


class Feed:
    """Bytes of one stream as they come, cut into chunks of whole units."""

    def __init__(self, form: Format | None, table: Table | None = None) -> None:
        """Samples in *form*, each byte turned into one by *table* if given; or a file's bytes."""
        self.format = form
        self.rest = b""
        """Bytes that do not fill a unit yet."""
        self._table = table
        self._width = 1 if form is None else form.frame_bytes
        self._taken = self._width if table is None else self._width // 2
        """Bytes of a unit, as they come."""
        self._digest = Digest()
        self._epoch = self._piece = 0

    @property
    def is_file(self) -> bool:
        """Whether the units are a file's bytes."""
        return self.format is None

    def open(self, epoch: int, max_chunk: int) -> None:
        """Chunks belong to *epoch* and have payloads of up to *max_chunk* bytes."""
        self._epoch = epoch
        self._piece = max_chunk // self._width * self._taken

    def take(self, data: bytes) -> Iterator[Chunk]:
        """Yield the chunks that *data* completes."""
        data = self.rest + data if self.rest else data
        whole = len(data) - len(data) % self._taken
        self.rest = data[whole:]
        view = memoryview(data)
        for start in range(0, whole, self._piece):
            yield self._chunk(view[start : min(start + self._piece, whole)])

    def end(self) -> Eos:
        """Return the message that ends the stream."""
        return Eos(units=self._digest.units, digest=self._digest.hexdigest())

    def require_whole(self) -> None:
        """
        Check that no bytes are left.

        Raises:
            Malformed: if they do not fill a frame.
        """
        if self.rest and self.format is not None:
            frame = f"a multiple of {self._taken} ({self.format.channels} channels)"
            raise Malformed("bytes after the last frame", seen=len(self.rest), expected=frame)

    def _chunk(self, payload: memoryview) -> Chunk:
        offset, units = self._digest.units, len(payload) // self._taken
        if self._table is not None:
            payload = memoryview(self._table[np.frombuffer(payload, np.uint8)].tobytes())
        self._digest.update(offset, units, payload)
        return Chunk(self._epoch, offset, units, encode_chunk(self._epoch, offset, units, payload))


def _require_sound(payload: Buffer) -> None:
    """
    Refuse what cannot be samples.

    Raises:
        Malformed: if a float among the first is none, or infinite: it is some other file.
    """
    if not np.isfinite(np.frombuffer(payload, "<f4")).all():
        expected = "float32, or a file that is known, or an encoding in the query"
        raise Malformed("first samples", seen="no numbers", expected=expected)


def _asked(target: str, default: Format) -> tuple[str, Format]:
    """Return the encoding that the query names, and the format of samples."""
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
