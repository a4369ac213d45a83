"""
`Run`, one pass of a decoder over a file: by libsndfile in this process, or by a child process.

A `Fallback` is a run that another decoder finishes if the first one gives up. A `SecondHandle`
decodes the other half of large reads of a FLAC.
"""

from __future__ import annotations

import json
import os
import re
import signal
import sys
from collections.abc import Callable, Sequence
from concurrent.futures import Future, ThreadPoolExecutor, wait
from dataclasses import replace
from typing import Final, Protocol

import xxhash
from typing_extensions import override

from sonoduct.runtime.child import Child, OutOfTime
from sonoduct.wire import Buffer

from . import sndfile
from .errors import DecodeError, GaveUp, LimitReached
from .options import OpenFile
from .sndfile import Header, Shown, SndFile, SndFileError

LEAST_BLOCKS: Final = 8
"""A shorter read is decoded in one thread: a seek costs as much as some 2000 frames."""

HEADER_BYTES: Final = 4096
"""The longest header that a child writes before its samples."""

_SEEKING: Final = re.compile(r"Warning: Xing stream size")
"""mpg123's warning if an MP3's first frame claims another size. It concerns seeking alone."""


class Run(Protocol):
    """Samples from one frame on, in canonical bytes. One thread reads; any thread may `kill` it."""

    warning: str
    """Damage that did not stop the decoder; known at the end."""

    def read(self, size: int) -> Buffer:
        """
        Return *size* bytes, fewer or none at the end.

        Raises:
            GaveUp: if the decoder gave up.
            LimitReached: if the decoder was stopped at a limit.
        """

    def kill(self) -> None:
        """End a `read` of another thread soon."""

    def close(self) -> None:
        """Free everything."""


class SndFileRun(Run):
    """
    libsndfile in this process.

    In a damaged FLAC, the size of a read decides which frames libsndfile gives. FLAC is therefore
    read in a child's blocks: both give the same frames. Two threads share a large read of a FLAC.
    """

    warning = ""

    def __init__(self, file: OpenFile, shown: Shown, offset: int) -> None:
        """
        Open the part of *file* that is *shown*, at frame *offset*.

        Raises:
            GaveUp: if libsndfile does not know the file.
        """
        encoding = file.requested or sndfile.AUTO
        try:
            self._sndfile = SndFile(file.rewound(), encoding, offset, shown)
        except SndFileError as exc:
            raise GaveUp(str(exc)) from exc
        self.header = self._sndfile.header
        self._file: OpenFile | None = None
        if self.header.container == "FLAC" and shown == sndfile.WHOLE and (os.cpu_count() or 1) > 1:
            self._file = file  # it may be opened a second time
        self._second: SecondHandle | None = None
        self._at = offset
        self._block = sndfile.block_frames(self.header.channels)
        self._ahead = memoryview(b"")
        self._failure: GaveUp | None = None

    @override
    def read(self, size: int) -> Buffer:
        if self.header.container != "FLAC":
            return self._frames(size // self.header.frame_bytes)
        pieces: list[memoryview] = []
        while size and (block := self._ahead or self._more(size)):
            pieces.append(block[:size])
            self._ahead = block[size:]
            size -= len(pieces[-1])
        if not pieces and self._failure is not None:
            raise self._failure
        return pieces[0] if len(pieces) == 1 else b"".join(pieces)

    def _more(self, size: int) -> memoryview:
        """Return up to *size* bytes, or a block; nothing at the end, or if libsndfile gave up."""
        if self._failure is None:
            try:
                frames = self._for_two(size)
                return self._by_two(frames) if frames else self._frames(self._block)
            except GaveUp as exc:
                self._failure = exc
        return memoryview(b"")

    def _for_two(self, size: int) -> int:
        """Return how many frames of a read of *size* bytes two threads decode."""
        most = min(size // self.header.frame_bytes, (self.header.frames or 0) - self._at)
        if self._file is None or most < LEAST_BLOCKS * self._block:
            return 0
        try:
            self._second = self._second or SecondHandle(self._file, self.header.encoding)
        except (SndFileError, OSError):
            self._file = None
            return 0
        return most // self._block * self._block

    def _by_two(self, frames: int) -> memoryview:
        """
        Decode up to *frames* frames, the second half of them in another thread.

        That thread seeks. In a file with frames too many or too few, a seek leads to other samples
        than reading on. So this one reads on by a block, and the second half counts only if it
        begins with the same samples, and if these occur nowhere else.
        """
        assert self._second is not None  # _for_two has asked for it
        at, half = self._at, frames // self._block // 2
        seam_at = at + half * self._block
        rest = self._second.start(seam_at, frames // self._block - half, self._block)
        pieces: list[memoryview] = []
        try:
            while len(pieces) <= half:
                pieces.append(self._frames(self._block))
        except GaveUp as exc:
            self._failure = exc  # the blocks before it are good
        wait((rest,))
        seam = bytes(pieces[half]) if len(pieces) > half else b""
        if seam and rest.exception() is None:
            data = b"".join((*pieces[:half], rest.result()))
            begin = (seam_at - at) * self.header.frame_bytes
            if data.find(seam) == begin and data.find(seam, begin + 1) < 0:  # rfind is quadratic
                self._sndfile = self._second.change_places(self._sndfile)
                self._at = at + len(data) // self.header.frame_bytes
                return memoryview(data)
        self._file = None  # one thread reads the rest: it would do the work of the other as well
        return memoryview(b"".join(pieces))

    def _frames(self, frames: int) -> memoryview:
        try:
            data = self._sndfile.read(frames)
        except SndFileError as exc:
            raise GaveUp(str(exc)) from exc
        self._at += len(data) // self.header.frame_bytes
        return data

    @override
    def kill(self) -> None:
        """Do nothing: a read takes milliseconds."""

    @override
    def close(self) -> None:
        self._sndfile.close()
        if self._second is not None:
            self._second.close()


class SecondHandle:
    """A second handle of libsndfile on a file, which reads in a thread of its own."""

    def __init__(self, file: OpenFile, encoding: str) -> None:
        """
        Open *file* again.

        Raises:
            SndFileError: if libsndfile refuses.
            OSError: if the file cannot be opened.
        """
        # A descriptor of its own: both handles move their position in the file.
        self._descriptor = os.open(f"/proc/self/fd/{file.descriptor}", os.O_RDONLY | os.O_CLOEXEC)
        try:
            self._sndfile = SndFile(self._descriptor, encoding)
        except BaseException:
            os.close(self._descriptor)
            raise
        self._thread = ThreadPoolExecutor(1, "decode")

    def start(self, at: int, blocks: int, block: int) -> Future[bytes]:
        """Begin to read *blocks* blocks of *block* frames from frame *at*."""

        def read() -> bytes:
            self._sndfile.seek(at)
            return b"".join(self._sndfile.read(block) for _ in range(blocks))

        return self._thread.submit(read)

    def change_places(self, other: SndFile) -> SndFile:
        """Return the handle, and take *other* in its place."""
        mine, self._sndfile = self._sndfile, other
        return mine

    def close(self) -> None:
        """Free the handle."""
        self._thread.shutdown()
        self._sndfile.close()
        os.close(self._descriptor)


class ChildRun(Run):
    """A program that decodes its standard input."""

    def __init__(
        self,
        command: Sequence[str],
        file: OpenFile,
        *,
        threads: bool = False,
        reads: Sequence[str] = (),
    ) -> None:
        """
        Start *command* with *file* as its standard input.

        It may start *threads*, and may read the files *reads* besides its libraries.
        """
        self._limits = replace(file.child_limits, threads=threads)
        self._child = Child(
            command,
            file.rewound(),
            self._limits,
            cancellation=file.cancellation,
            reads=reads,
        )
        self.warning = ""

    @override
    def read(self, size: int) -> bytes:
        try:
            data = self._child.read(size)
            if not data:
                self._judge(self._child.exit_code(), self._child.errors)
        except OutOfTime:
            raise LimitReached(
                f"it kept its reader waiting for {self._limits.wall_seconds:.3g} s and was killed"
            ) from None
        return data

    @override
    def kill(self) -> None:
        self._child.kill()

    @override
    def close(self) -> None:
        self._child.close()

    def _judge(self, code: int, errors: str) -> None:
        """
        Decide by exit code and standard error whether the output ended where the file does.

        Raises:
            GaveUp: if it did not.
            LimitReached: if the child used up its time.
        """
        lines = [line.strip() for line in errors.splitlines() if line.strip()]
        last = lines[-1] if lines else ""
        if code == -signal.SIGXCPU:
            raise LimitReached(f"it has used up its {self._limits.cpu_seconds} s of computing")
        if code < 0:
            name = signal.Signals(-code).name
            raise GaveUp(f"killed by {name}" + (f" after: {last}" if last else ""))
        if code:
            raise GaveUp(last or f"exit code {code}")
        self.warning = last


class SndFileChildRun(ChildRun):
    """libsndfile in a child."""

    def __init__(self, file: OpenFile, shown: Shown, offset: int) -> None:
        """
        Open the part of *file* that is *shown*, at frame *offset*.

        Raises:
            GaveUp: if libsndfile does not know the file.
        """
        how = (file.requested or sndfile.AUTO, str(offset), json.dumps(shown))
        program = sndfile.__file__
        super().__init__([sys.executable, "-I", program, *how], file, reads=(program,))
        try:
            self.header = self._header()
        except BaseException:
            self.close()
            raise

    @override
    def _judge(self, code: int, errors: str) -> None:
        lines = (line for line in errors.splitlines() if not _SEEKING.match(line))
        super()._judge(code, "\n".join(lines))

    def _header(self) -> Header:
        line = b""
        while not line.endswith(b"\n") and len(line) < HEADER_BYTES:
            line += self.read(1) or b"\n"
        if not line.startswith(b"["):
            raise GaveUp("it wrote no header")
        return Header(*json.loads(line))


PIECE: Final = 1024 * 1024


class Fallback(Run):
    """
    A run of one decoder that a second one finishes if the first gives up.

    The second has to give the same samples up to there, as lossless decoders do. If it does not,
    the first one's error stands: samples of two decoders would not be any decoder's output.
    """

    def __init__(self, first: Run, offset: int, second: Callable[[], Run]) -> None:
        """*first* was started at byte *offset*; *second* starts another run at the beginning."""
        self.warning = ""
        self.switched = False
        """Whether the second run has taken over."""
        self._reason = ""
        self._run = first
        self._second = second
        self._offset = offset
        self._given = 0
        self._digest = xxhash.xxh3_128()

    @override
    def read(self, size: int) -> Buffer:
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

    @override
    def kill(self) -> None:
        self._run.kill()

    @override
    def close(self) -> None:
        self._run.close()

    def _switch(self, reason: GaveUp) -> None:
        try:
            second = self._second()
        except DecodeError as exc:
            raise GaveUp(f"{reason}; nor does ffmpeg continue: {exc}") from reason
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
