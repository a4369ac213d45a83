"""One pass of a decoder over a file: what soundfile in this process and children have in common."""

from __future__ import annotations

import json
import re
import signal
import sys
from collections.abc import Callable, Sequence
from typing import Final, Protocol

import xxhash

from sonoduct.runtime.child import Child, OutOfTime

from . import sndfile
from .errors import DecodeError, GaveUp, LimitReached
from .options import Job
from .sndfile import Header, Shown, Sound, SoundError

HEADER_BYTES: Final = 4096
"""The longest header that a child writes before its samples."""

_SEEKING: Final = re.compile(r"Warning: Xing stream size")
"""What mpg123 says of an MP3 whose bytes are others than its first frame claims."""


class Run(Protocol):
    """Samples from some frame on, in canonical bytes; for one thread, but for `kill`."""

    warning: str
    """What the decoder found wrong without stopping; known at the end."""

    def read(self, size: int) -> bytes:
        """
        Return *size* bytes, fewer or none at the end.

        Raises:
            GaveUp: if the decoder did.
            LimitReached: if it was stopped.
        """

    def kill(self) -> None:
        """Have a `read` that is under way in another thread end soon."""

    def close(self) -> None:
        """Free everything."""


class SoundRun:
    """
    libsndfile in this process.

    Where a FLAC is damaged, what libsndfile gives before it gives up depends on the size of a read:
    so that is read in a child's blocks, and the same comes out on both sides.
    """

    warning = ""

    def __init__(self, job: Job, shown: Shown, offset: int) -> None:
        """
        Open the file of *job*, as far as it is *shown*, at frame *offset*.

        Raises:
            GaveUp: if libsndfile does not know the file.
        """
        try:
            self._sound = Sound(job.rewound(), job.wanted or sndfile.AUTO, offset, shown)
        except SoundError as exc:
            raise GaveUp(str(exc)) from exc
        self.header = self._sound.header
        self._block = sndfile.block_frames(self.header.channels)
        self._ahead = memoryview(b"")
        self._failure: GaveUp | None = None

    def read(self, size: int) -> bytes:
        """See Run; what comes before an error is returned first."""
        if self.header.container != "FLAC":
            return self._frames(size // self.header.frame_bytes)
        pieces: list[memoryview] = []
        while size and (block := self._ahead or self._more()):
            pieces.append(block[:size])
            self._ahead = block[size:]
            size -= len(pieces[-1])
        if not pieces and self._failure is not None:
            raise self._failure
        return b"".join(pieces)

    def _more(self) -> memoryview:
        """Return another block; an empty one at the end, or where libsndfile gave up."""
        if self._failure is None:
            try:
                return memoryview(self._frames(self._block))
            except GaveUp as exc:
                self._failure = exc
        return memoryview(b"")

    def _frames(self, frames: int) -> bytes:
        try:
            return self._sound.read(frames)
        except SoundError as exc:
            raise GaveUp(str(exc)) from exc

    def kill(self) -> None:
        """See Run: a read takes milliseconds."""

    def close(self) -> None:
        """See Run."""
        self._sound.close()


class ChildRun:
    """A program that decodes its standard input."""

    def __init__(self, command: Sequence[str], job: Job) -> None:
        """Start *command* on the file of *job*."""
        self._bounds = job.bounds
        self._child = Child(command, job.rewound(), self._bounds, cancellation=job.cancellation)
        self.warning = ""

    def read(self, size: int) -> bytes:
        """See Run."""
        try:
            data = self._child.read(size)
            if not data:
                self._judge(self._child.exit_code(), self._child.errors)
        except OutOfTime:
            raise LimitReached(
                f"it kept its reader waiting for {self._bounds.wall_seconds:.3g} s and was killed"
            ) from None
        return data

    def kill(self) -> None:
        """See Run."""
        self._child.kill()

    def close(self) -> None:
        """See Run."""
        self._child.close()

    def _judge(self, code: int, said: str) -> None:
        """Whether the end of the output was the end of the file; *said* is what was complained."""
        lines = [line.strip() for line in said.splitlines() if line.strip()]
        last = lines[-1] if lines else ""
        if code == -signal.SIGXCPU:
            raise LimitReached(f"it has used up its {self._bounds.cpu_seconds} s of computing")
        if code < 0:
            name = signal.Signals(-code).name
            raise GaveUp(f"killed by {name}" + (f" after: {last}" if last else ""))
        if code:
            raise GaveUp(last or f"exit code {code}")
        self.warning = last


class SoundChildRun(ChildRun):
    """libsndfile in a child."""

    def __init__(self, job: Job, shown: Shown, offset: int) -> None:
        """
        Start it at frame *offset* of the file of *job*, as far as that is *shown*.

        Raises:
            GaveUp: if libsndfile does not know the file.
        """
        how = (job.wanted or sndfile.AUTO, str(offset), json.dumps(shown))
        super().__init__([sys.executable, "-I", sndfile.__file__, *how], job)
        try:
            self.header = self._header()
        except BaseException:
            self.close()
            raise

    def _judge(self, code: int, said: str) -> None:
        """What only seeking would suffer from is no damage."""
        super()._judge(
            code, "\n".join(line for line in said.splitlines() if not _SEEKING.match(line))
        )

    def _header(self) -> Header:
        line = b""
        while not line.endswith(b"\n") and len(line) < HEADER_BYTES:
            line += self.read(1) or b"\n"
        if not line.startswith(b"["):
            raise GaveUp("it wrote no header")
        return Header(*json.loads(line))


PIECE: Final = 1024 * 1024


class Fallback:
    """
    A Run of one decoder that another one may finish, if it gives the same up to there.

    Lossless decoders agree bit for bit. Others do not, and a seam between two would be no decoder's
    output: then the first one's error stands.
    """

    def __init__(self, first: Run, offset: int, second: Callable[[], Run]) -> None:
        """*first* has been started at byte *offset*; *second* starts one from the beginning."""
        self.warning = ""
        self.switched = False
        """Whether the second one is at work."""
        self._reason = ""
        self._run = first
        self._second = second
        self._offset = offset
        self._given = 0
        self._digest = xxhash.xxh3_128()

    def read(self, size: int) -> bytes:
        """See Run."""
        try:
            data = self._run.read(size)
        except GaveUp as exc:
            if self.switched:
                raise
            self._switch(exc)
            data = self._run.read(size)
        self._given += len(data)
        self._digest.update(data)
        if not data:
            self.warning = "; ".join(filter(None, (self._reason, self._run.warning)))
        return data

    def kill(self) -> None:
        """See Run."""
        self._run.kill()

    def close(self) -> None:
        """See Run."""
        self._run.close()

    def _switch(self, reason: GaveUp) -> None:
        try:
            second = self._second()
        except DecodeError as exc:
            raise GaveUp(f"{reason}; nor does ffmpeg go on: {exc}") from reason
        self._run.close()
        self._run, self.switched = second, True
        pass_over(second, self._offset)
        if pass_over(second, self._given) != self._digest.hexdigest():
            raise GaveUp(f"{reason}; ffmpeg has other samples before that") from reason
        self._reason = f"soundfile gave up: {reason}, ffmpeg went on"


def pass_over(run: Run, size: int) -> str:
    """Read *size* bytes; return their digest."""
    digest = xxhash.xxh3_128()
    while size and (data := run.read(min(size, PIECE))):
        digest.update(data)
        size -= len(data)
    return str(digest.hexdigest())
