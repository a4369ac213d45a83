"""Recordings: WAV, RF64 or FLAC files, by libsndfile; receiver's only use of soundfile."""

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
"""A WAV file counts its bytes with 32 bits; more goes into RF64 (EBU Tech 3306)."""

BLOCK_FRAMES: Final = 65536

_SUBTYPES: Final = {Encoding.S16LE: "PCM_16", Encoding.S24LE: "PCM_24", Encoding.F32LE: "FLOAT"}
_DTYPES: Final = {Encoding.S16LE: "int16", Encoding.S24LE: "int32", Encoding.F32LE: "float32"}


def container_for(form: Format, wanted: Container, frames: int) -> Container:
    """Return *wanted*, or wav for what FLAC cannot hold: floats, many channels, odd rates, 0."""
    return wanted if form.fits_flac and frames else "wav"


def write_recording(
    path: Path, form: Format, container: Container, frames: int, payloads: Iterable[Buffer]
) -> None:
    """
    Write *payloads*, which hold *frames* frames, to a new file, exactly.

    Raises:
        StorageFailed: if it cannot be written.
    """
    large = frames * form.frame_bytes > WAV_BYTES
    with _explained(path):
        file = soundfile.SoundFile(
            path,
            "x",
            form.samplerate,
            form.channels,
            _SUBTYPES[form.encoding],
            format="FLAC" if container == "flac" else "RF64" if large else "WAV",
        )
        with file:
            for payload in payloads:
                data = payload if form.encoding is not Encoding.S24LE else unpack24(payload).data
                file.buffer_write(data, _DTYPES[form.encoding])


def read_recording(path: Path, form: Format) -> Iterator[bytes]:
    """
    Yield the samples of a recording as canonical bytes.

    Raises:
        StorageFailed: if the file cannot be read, or is not in *form*.
    """
    with _explained(path), soundfile.SoundFile(path) as file:
        seen = (file.samplerate, file.channels, file.subtype)
        expected = (form.samplerate, form.channels, _SUBTYPES[form.encoding])
        if seen != expected:
            raise StorageFailed(f"{path}: format", seen=seen, expected=expected)
        while block := _bytes(file, form.encoding):
            yield block


def digest_recording(path: Path, form: Format) -> Digest:
    """
    Return the digest of what can be read from a recording.

    Raises:
        StorageFailed: if the file cannot be read, or is not in *form*.
    """
    digest = Digest()
    for payload in read_recording(path, form):
        digest.update(digest.units, len(payload) // form.frame_bytes, payload)
    return digest


def _bytes(file: Any, encoding: Encoding) -> bytes:
    block = file.read(BLOCK_FRAMES, dtype=_DTYPES[encoding], always_2d=True)
    return pack24(block) if encoding is Encoding.S24LE else bytes(block.tobytes())


@contextmanager
def _explained(path: Path) -> Iterator[None]:
    try:
        yield
    except (soundfile.SoundFileError, OSError) as exc:
        raise StorageFailed(f"{path}: {exc}") from exc
