"""Recordings: WAV, RF64 and FLAC files, written, read and summed with libsndfile."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Final, Literal

import soundfile

from sonoduct.audio.samples import pack24, unpack24
from sonoduct.wire import Buffer, Digest, Encoding, Format, StorageFailed

Container = Literal["wav", "flac"]

WAV_BYTES: Final = 2**32 - 2**20
"""A WAV file counts its bytes with 32 bits. Longer recordings are RF64 (EBU Tech 3306)."""

BLOCK_FRAMES: Final = 65536

_SUBTYPES: Final = {Encoding.S16LE: "PCM_16", Encoding.S24LE: "PCM_24", Encoding.F32LE: "FLOAT"}
DTYPES: Final = {Encoding.S16LE: "int16", Encoding.S24LE: "int32", Encoding.F32LE: "float32"}
"""The type by which soundfile takes and gives samples exactly."""


class _Unsynced(soundfile.SoundFile):  # type: ignore[misc]  # the library is untyped
    """A file that `close` does not sync: its writer makes many durable at once."""

    def flush(self) -> None:
        """Leave everything to `close`, which writes it without a sync."""


def form_of(audio_format: Format) -> tuple[int, int, str]:
    """Return *audio_format* as soundfile says it: samplerate, channels and subtype."""
    return audio_format.samplerate, audio_format.channels, _SUBTYPES[audio_format.encoding]


def container_for(audio_format: Format, requested: Container, frames: int) -> Container:
    """Return *requested*, or wav if FLAC cannot hold the samples, or if there are none."""
    return requested if audio_format.fits_flac and frames else "wav"


def write_recording(
    path: Path, audio_format: Format, container: Container, frames: int, payloads: Iterable[Buffer]
) -> None:
    """
    Write *payloads*, *frames* frames in all, to a new file, exactly; it is not durable yet.

    Raises:
        StorageFailed: if the file cannot be written.
    """
    encoding = audio_format.encoding
    large = frames * audio_format.frame_bytes > WAV_BYTES
    with _explained(path):
        kind = "FLAC" if container == "flac" else "RF64" if large else "WAV"
        with _Unsynced(path, "x", *form_of(audio_format), format=kind) as file:
            for payload in payloads:
                data = payload if encoding is not Encoding.S24LE else unpack24(payload).data
                file.buffer_write(data, DTYPES[encoding])


def read_recording(path: Path, audio_format: Format) -> Iterator[bytes]:
    """
    Yield the samples of a recording as canonical bytes.

    Raises:
        StorageFailed: if the file cannot be read, or has another format than *audio_format*.
    """
    with _explained(path), soundfile.SoundFile(path) as file:
        seen, expected = (file.samplerate, file.channels, file.subtype), form_of(audio_format)
        if seen != expected:
            raise StorageFailed(f"{path}: format", seen=seen, expected=expected)
        while block := _bytes(file, audio_format.encoding):
            yield block


def digest_recording(path: Path, audio_format: Format) -> Digest:
    """
    Read a recording and return its digest.

    Raises:
        StorageFailed: if the file cannot be read, or has another format than *audio_format*.
    """
    digest = Digest()
    for payload in read_recording(path, audio_format):
        digest.update(digest.units, len(payload) // audio_format.frame_bytes, payload)
    return digest


def _bytes(file: Any, encoding: Encoding) -> bytes:
    block = file.read(BLOCK_FRAMES, dtype=DTYPES[encoding], always_2d=True)
    return pack24(block) if encoding is Encoding.S24LE else bytes(block.tobytes())


@contextmanager
def _explained(path: Path) -> Iterator[None]:
    try:
        yield
    except (soundfile.SoundFileError, OSError) as exc:
        raise StorageFailed(f"{path}: {exc}") from exc
