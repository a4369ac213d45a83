"""ffmpeg on live input, from a pipe or an address: decoded once, as it arrives."""

from __future__ import annotations

import re
import threading
from collections.abc import Sequence
from typing import Final

import numpy as np

from sonoduct.audio.samples import pack24
from sonoduct.runtime.child import Child, ChildLimits
from sonoduct.wire import Encoding, Format

from .decoder import require_fit
from .errors import GaveUp, NotAudio
from .ffmpeg import LISTS, PICTURES, SAID_BYTES, read_header, understand

FIRST_BYTES: Final = 64 * 1024
SAMPLE_BYTES: Final = 4
"""ffmpeg writes float32, which holds all its samples. It names their format after the start."""

# -v level+info: the description of the input is marked info, an error is marked error.
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
    *("-protocol_whitelist", "pipe", *LISTS),
    *("-i", "pipe:0"),
)
"""Standard input, read from front to back; nothing else can be opened."""

CHANGES: Final = "Changing audio frame properties on the fly"

_ERROR: Final = re.compile(
    r"^(?:\[([^]@ ]*)[^]]*\] )?\[(?:error|fatal|panic)\] (.+)$", re.MULTILINE
)
_USELESS: Final = re.compile(r"Error opening input files?[ :]|Conversion failed!|Stream ends prema")
"""Errors that only follow from another one, or that tell people nothing."""

NO_LENGTH: Final = f"should be {2**64 - 1}"
"""ffmpeg's complaint about an end if the input had no length: it may be the real end."""

_BROKEN: Final = re.compile(r"(?:Error during demuxing|pipe:0|[a-z]+://\S+): ")
"""ffmpeg could not read its input to the end. Until version 6 the word `during` is missing."""


class StreamDecoder:
    """
    One run of ffmpeg. Methods block; one thread uses it, and any thread may `close` it.

    Its memory is limited; its time is not, since live input may last for ever.
    """

    container = codec = subtype = ""
    warning = ""
    """Damage that did not stop ffmpeg; known at the end."""

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
        Start *program* with *source*, its options for the input.

        Raises:
            OSError: if no process can be started.
        """
        limits = ChildLimits(
            memory_bytes=memory_bytes,
            cpu_seconds=None,
            wall_seconds=None,
            network=network,
            threads=True,
        )
        self._child = Child([program, *_BEFORE, *source, *_AFTER], stdin, limits, SAID_BYTES)
        self._turn = threading.Lock()
        self._closed = False
        self._frames = 0
        self._ignored: frozenset[str] = PICTURES
        """Parts of ffmpeg whose errors do not concern the audio."""
        self._rest = self._ahead = b""

    def begin(self, requested: Encoding | None = None) -> Format:
        """
        Wait for the first samples; return their format: as *requested*, or the smallest exact one.

        Raises:
            DecodeError: if ffmpeg gives none.
        """
        with self._turn:
            try:
                samplerate, channels = read_header(self._child.read)
            except GaveUp:
                self._judge()
                raise
            info = understand(self._child.errors.replace("[info] ", ""), "")
            self.container, self.codec = info.container, info.codec
            self.subtype = info.sample_format
            self._ignored = info.others - {info.codec} | PICTURES
            name = f"{info.codec} {info.sample_format}"
            self.format = require_fit(samplerate, channels, info.encoding, requested, name)
            self._ahead = self._read(FIRST_BYTES)
        return self.format

    def read_some(self, size: int) -> bytes:
        """
        Return up to *size* canonical bytes of whole frames, as soon as there are any.

        At the end, and after `close`, there are none.

        Raises:
            DecodeError: if ffmpeg ended before its input did.
        """
        with self._turn:
            data, self._ahead = self._ahead, b""
            return data or self._read(size)

    def close(self) -> None:
        """Stop ffmpeg, also while another thread reads, and free everything."""
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
        """Raise an error unless ffmpeg's output ended because its input did."""
        if self._closed:
            raise GaveUp("closed")
        code, text = self._child.exit_code(), self._child.errors
        errors = [
            sentence
            for part, sentence in _ERROR.findall(text)
            if part not in self._ignored and not _USELESS.match(sentence)
        ]
        if not self._frames:
            raise NotAudio(errors[0].rpartition(": ")[2] if errors else "no frame")
        if CHANGES in text:
            raise GaveUp(f"another samplerate or other channels from frame {self._frames} on")
        broken = [] if NO_LENGTH in text else [each for each in errors if _BROKEN.match(each)]
        last = (broken or errors or [""])[-1].rpartition(": ")[2]
        if code or broken:
            raise GaveUp(f"ffmpeg at frame {self._frames}: {last or f'exit code {code}'}")
        self.warning = last


def narrow(data: bytes, encoding: Encoding) -> bytes:
    """Return float32 samples that were decoded from *encoding* in that encoding again."""
    if encoding is Encoding.F32LE:
        return data
    samples = np.frombuffer(data, "<f4")
    if encoding is Encoding.S16LE:
        return (samples * np.float32(2**15)).astype("<i2").tobytes()
    return pack24((samples * np.float32(2**31)).astype(np.int32))
