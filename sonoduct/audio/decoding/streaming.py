"""ffmpeg on what comes as it is made, from a pipe or an address: decoded as it comes, once."""

from __future__ import annotations

import re
import threading
from collections.abc import Sequence
from typing import Final

import numpy as np

from sonoduct.audio.samples import pack24
from sonoduct.runtime.child import Bounds, Child
from sonoduct.wire import Encoding, Format

from .decoder import require_fit
from .errors import GaveUp, NotAudio
from .ffmpeg import CONTAINERS, PICTURES, SAID_BYTES, read_header, understand

FIRST_BYTES: Final = 64 * 1024
SAMPLE_BYTES: Final = 4
"""float32 holds whatever ffmpeg decodes; what it is exactly is known only after it has begun."""

# -v level+info: what it finds is information, what is wrong with it has the word error.
# -reinit_filter 0: a stream that changes its format ends with an error, not resampled.
_BEFORE: Final = (
    *("-nostdin", "-hide_banner", "-nostats", "-v", "level+info"),
    *("-threads", "1", "-reinit_filter", "0"),
)
_AFTER: Final = (
    *("-map", "0:a:0", "-vn", "-sn", "-dn", "-map_metadata", "-1", "-bitexact"),
    *("-c:a", "pcm_f32le", "-flush_packets", "1", "-f", "wav", "pipe:1"),
)
PIPE: Final = (
    *("-protocol_whitelist", "pipe", "-format_whitelist", ",".join(CONTAINERS)),
    *("-i", "pipe:0"),
)
"""Standard input, read from front to back; nothing else can be opened."""

CHANGES: Final = "Changing audio frame properties on the fly"

_ERROR: Final = re.compile(
    r"^(?:\[([^]@ ]*)[^]]*\] )?\[(?:error|fatal|panic)\] (.+)$", re.MULTILINE
)
_USELESS: Final = re.compile(r"Error opening input files?[ :]|Conversion failed!|Stream ends prema")
"""What follows from another error, or says nothing that people would understand."""

NO_LENGTH: Final = f"should be {2**64 - 1}"
"""What it says at the end of what had no length: nobody knows whether that was the end."""

_BROKEN: Final = re.compile(r"(?:Error during demuxing|pipe:0|[a-z]+://\S+): ")
"""What it reads has not come to its end; until version 6 it says so without `during`."""


class StreamDecoder:
    """
    One run of ffmpeg. Blocking; for one thread, but for `close`.

    There is no limit to its time: it takes as long as what it reads. Its memory is limited.
    """

    container = codec = subtype = ""
    warning = ""
    """What was wrong with the stream without being a reason to stop; known at the end."""

    def __init__(
        self,
        program: str,
        stdin: int,
        memory_bytes: int,
        source: Sequence[str] = PIPE,
        *,
        network: bool = False,
    ) -> None:
        """
        Start *program* on *source*, its options for the input.

        Raises:
            OSError: if no process can be started.
        """
        bounds = Bounds(
            memory_bytes=memory_bytes, cpu_seconds=None, wall_seconds=None, network=network
        )
        self._child = Child([program, *_BEFORE, *source, *_AFTER], stdin, bounds, SAID_BYTES)
        self._turn = threading.Lock()
        self._closed = False
        self._frames = 0
        self._deaf_to: frozenset[str] = PICTURES
        """Parts of ffmpeg that speak of no audio."""
        self._rest = self._ahead = b""

    def begin(self, wanted: Encoding | None = None) -> Format:
        """
        Wait for the first samples; return what they are, by default in the smallest exact encoding.

        Raises:
            DecodeError: if there are none.
        """
        with self._turn:
            try:
                samplerate, channels = read_header(self._child)
            except GaveUp:
                self._judge()
                raise
            said = understand(self._child.errors.replace("[info] ", ""), "")
            self.container, self.codec, self.subtype = said.container, said.codec, said.samples
            self._deaf_to = said.others - {said.codec} | PICTURES
            name = f"{said.codec} {said.samples}"
            self.format = require_fit(samplerate, channels, said.encoding, wanted, name)
            self._ahead = self._read(FIRST_BYTES)
        return self.format

    def read_some(self, size: int) -> bytes:
        """
        Return up to *size* bytes of whole frames, canonical ones, as soon as there are any.

        None at the end, and once it is closed.

        Raises:
            DecodeError: if ffmpeg ended before what it reads did.
        """
        with self._turn:
            data, self._ahead = self._ahead, b""
            return data or self._read(size)

    def close(self) -> None:
        """End it, also while another thread reads, and free everything."""
        self._closed = True
        self._child.kill()
        with self._turn:
            self._child.close()

    def _read(self, size: int) -> bytes:
        width = self.format.channels * SAMPLE_BYTES
        while not self._closed:
            piece = self._child.read_some(max(size - len(self._rest), 1))
            if not piece:
                self._judge()
                break
            data = self._rest + piece
            whole = len(data) - len(data) % width
            self._rest = data[whole:]
            if whole:
                self._frames += whole // width
                return narrow(data[:whole], self.format.encoding)
        return b""

    def _judge(self) -> None:
        """Whether the end of its output was the end of what it reads."""
        if self._closed:
            raise GaveUp("closed")
        code, said = self._child.exit_code(), self._child.errors
        errors = [
            sentence
            for speaker, sentence in _ERROR.findall(said)
            if speaker not in self._deaf_to and not _USELESS.match(sentence)
        ]
        if not self._frames:
            raise NotAudio(errors[0].rpartition(": ")[2] if errors else "no frame")
        if CHANGES in said:
            raise GaveUp(f"another samplerate or other channels from frame {self._frames} on")
        broken = [] if NO_LENGTH in said else [each for each in errors if _BROKEN.match(each)]
        last = (broken or errors or [""])[-1].rpartition(": ")[2]
        if code or broken:
            raise GaveUp(f"ffmpeg at frame {self._frames}: {last or f'exit code {code}'}")
        self.warning = last


def narrow(data: bytes, encoding: Encoding) -> bytes:
    """Return float32 samples that came from *encoding* as what they were."""
    if encoding is Encoding.F32LE:
        return data
    samples = np.frombuffer(data, "<f4")
    if encoding is Encoding.S16LE:
        return (samples * np.float32(2**15)).astype("<i2").tobytes()
    return pack24((samples * np.float32(2**31)).astype(np.int32))
