"""Audio files through libsndfile; the sender's only importer of soundfile."""

from __future__ import annotations

import os
import stat
import threading
from pathlib import Path
from typing import Final

import soundfile

from wire import CHANNELS, SAMPLERATES, Encoding, Format, pack24

from .errors import SourceError
from .source import identity, printable

# libsndfile decodes these to 16 bit integers, and to floats by scaling the same integers.
_SIXTEEN: Final = frozenset(
    {"PCM_S8", "PCM_U8", "PCM_16", "ULAW", "ALAW", "IMA_ADPCM", "MS_ADPCM", "GSM610"}
)
_TWENTY_FOUR: Final = frozenset({"PCM_24"})
# A seek lands on the frame that it names; elsewhere decoders are off, or differ after it.
_SEEKABLE: Final = frozenset(
    {"PCM_S8", "PCM_U8", "PCM_16", "PCM_24", "PCM_32", "FLOAT", "DOUBLE", "ULAW", "ALAW"}
)
_WIDTH: Final = {Encoding.S16LE: 16, Encoding.S24LE: 24, Encoding.F32LE: 32}
_SKIP_FRAMES: Final = 65536

HEADERLESS: Final = "no header, expected one; --raw takes such samples from standard input"


def smallest_encoding(subtype: str) -> Encoding:
    """Return the smallest encoding that holds every sample of soundfile's *subtype* exactly."""
    if subtype in _SIXTEEN:
        return Encoding.S16LE
    if subtype in _TWENTY_FOUR:
        return Encoding.S24LE
    return Encoding.F32LE


class _Decoder(soundfile.SoundFile):  # type: ignore[misc]  # the library is untyped
    """
    Reads straight on, from the start.

    soundfile seeks after each read, to where it is already, and MP3 gives other samples after a
    seek. One at the start belongs to it: `soundfile.read` does that, too, and so gives the same.
    """

    def __init__(self, path: Path) -> None:
        super().__init__(os.fsencode(path))
        if super().seekable():
            self.seek(0)

    def seekable(self) -> bool:
        return False


class AudioFile:
    """
    One file as a Source. It may not change between opening and its last frame.

    The stream is named by the file's path, size and modification time: the same file is the same
    stream, a changed one is another.
    """

    live = False
    first = 0

    def __init__(self, path: Path, encoding: Encoding | None = None, name: str = "") -> None:
        """
        Open *path*; *encoding* is by default the smallest exact one.

        Raises:
            SourceError: if it cannot be read, is no audio, or does not fit into *encoding*.
        """
        self.name = name or printable(path)
        self._path = path
        self._stat = self._look()
        self._turn = threading.Lock()  # libsndfile does not expect two threads on one file
        self._sound = self._open()
        try:
            self.format = self._format(encoding)
            self._position = 0
            self._first = self._decode(1)
        except BaseException:
            self._sound.close()
            raise
        if not self._first:
            self._sound.close()
            raise SourceError(f"{self.name}: 0 frames, expected at least 1")
        # libsndfile says 2**63 - 1 where the header says nothing.
        self.units = self._sound.frames if self._sound.frames < 2**62 else None
        size, modified = self._stat
        self.stream = identity(path.resolve(), size, modified, self.format.encoding)

    def read(self, offset: int, units: int) -> bytes:
        """See Source."""
        with self._turn:
            if offset != self._position:
                self._seek(offset)
            data = self._decode(units)
        if not data and (seen := self._look()) != self._stat:
            raise SourceError(
                f"{self.name}: changed while it was read, at frame {offset}: "
                f"size and time {seen}, expected {self._stat}"
            )
        return data

    def release(self, offset: int) -> None:
        """A file can always be read again."""

    def forget(self) -> None:
        """See Source: files are not ours."""

    def close(self) -> None:
        """See Source."""
        with self._turn:
            self._sound.close()

    def _look(self) -> tuple[int, int]:
        """Size and modification time of a regular file that may be read."""
        try:
            found = self._path.stat()
            if not stat.S_ISREG(found.st_mode):  # opening a named pipe would wait for its writer
                raise SourceError(f"{self.name}: no regular file, expected one")
            self._path.open("rb").close()
        except OSError as exc:
            raise SourceError(f"{self.name}: {exc.strerror}") from exc
        return found.st_size, found.st_mtime_ns

    def _open(self) -> _Decoder:
        try:
            sound = _Decoder(self._path)
        except (soundfile.LibsndfileError, OSError) as exc:
            raise SourceError(f"{self.name}: {_reason(exc)}") from exc
        except TypeError as exc:  # of a file that is called .raw
            raise SourceError(f"{self.name}: {HEADERLESS}") from exc
        if sound.format == "RAW":  # what libsndfile takes any bytes for that are called .au
            sound.close()
            raise SourceError(f"{self.name}: {HEADERLESS}")
        return sound

    def _format(self, wished: Encoding | None) -> Format:
        sound = self._sound
        for name, seen, allowed in (
            ("samplerate", sound.samplerate, SAMPLERATES),
            ("channels", sound.channels, CHANNELS),
        ):
            if seen not in allowed:
                expected = f"{allowed.start} to {allowed.stop - 1}"
                raise SourceError(f"{self.name}: {name} {seen}, expected {expected}")
        exact = smallest_encoding(sound.subtype)
        if wished is not None and _WIDTH[wished] < _WIDTH[exact]:
            raise SourceError(
                f"{self.name}: {wished} cannot hold {sound.subtype} exactly, expected {exact}"
            )
        return Format(
            samplerate=sound.samplerate, channels=sound.channels, encoding=wished or exact
        )

    def _seek(self, offset: int) -> None:
        if self._sound.subtype in _SEEKABLE:
            try:
                self._position = self._sound.seek(offset)
            except (soundfile.LibsndfileError, OSError) as exc:
                raise SourceError(f"{self.name}: frame {offset}: {_reason(exc)}") from exc
            return
        self._sound.close()
        self._sound = self._open()
        self._position = 0
        while self._position < offset:
            if not self._decode(min(_SKIP_FRAMES, offset - self._position)):
                raise SourceError(f"{self.name}: ends at {self._position}, expected {offset}")

    def _decode(self, frames: int) -> bytes:
        """The next frames as libsndfile gives them; a decoder that gives up is an error."""
        try:
            data = self._canonical(frames)
        except (soundfile.LibsndfileError, OSError) as exc:
            raise SourceError(f"{self.name}: frame {self._position}: {_reason(exc)}") from exc
        self._position += len(data) // self.format.frame_bytes
        return data

    def _canonical(self, frames: int) -> bytes:
        match self.format.encoding:
            case Encoding.S16LE:
                return bytes(self._sound.read(frames, "int16").astype("<i2", copy=False))
            case Encoding.S24LE:
                return pack24(self._sound.read(frames, "int32"))
            case Encoding.F32LE:
                return bytes(self._sound.read(frames, "float32").astype("<f4", copy=False))


def _reason(error: Exception) -> str:
    if isinstance(error, soundfile.LibsndfileError):
        return f"no audio that libsndfile reads: {error.error_string}"
    return str(error)
