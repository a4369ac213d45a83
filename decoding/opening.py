"""From a path to a decoder, by what is in the file."""

from __future__ import annotations

import os
import stat
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from runtime.child import Bounds
from wire import Encoding

from . import sound
from .decoder import Decoder, FileDecoder, Start
from .errors import GaveUp, NoDecoder, NotAudio
from .facts import Facts, require_fit
from .ffmpeg import FfmpegRun, Said, ask, find_ffmpeg
from .limits import Limits
from .run import Run, SoundChildRun, SoundRun
from .sniff import Way, sniff

_CODECS: Final = {
    "MPEG_LAYER_I": "mp1",
    "MPEG_LAYER_II": "mp2",
    "MPEG_LAYER_III": "mp3",
    **dict.fromkeys(("ALAC_16", "ALAC_20", "ALAC_24", "ALAC_32"), "alac"),
}


@dataclass(frozen=True, kw_only=True)
class _Job:
    """One file to be decoded."""

    descriptor: int
    size: int
    limits: Limits
    ffmpeg: str | None
    wanted: Encoding | None

    @property
    def bounds(self) -> Bounds:
        return self.limits.bounds(self.size)

    def decoder(self, facts: Facts, start: Start, run: Run) -> Decoder:
        most = self.limits.most_output(self.size)
        return FileDecoder(self.descriptor, facts, start, run, most)


def open_decoder(
    path: Path,
    *,
    isolated: bool,
    limits: Limits,
    ffmpeg: str | None = None,
    wanted: Encoding | None = None,
) -> Decoder:
    """
    Open *path* with the decoder that its content is for.

    Args:
        path: a regular file; its name decides nothing.
        isolated: whether all of it is decoded in a child process; if not, plain WAV and FLAC are
            decoded in this one.
        limits: what it may take.
        ffmpeg: the program; by default the one on PATH.
        wanted: the encoding of the samples; by default the smallest that holds them exactly.

    Raises:
        NotAudio: if nothing can be decoded.
        Unfit: if what can be does not fit the protocol, or *wanted*.
        NoDecoder: if ffmpeg is needed and missing.
        LimitReached: if a decoder took too long to begin.
        OSError: if the file cannot be read.
    """
    descriptor = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
    try:
        found = os.fstat(descriptor)
        if not stat.S_ISREG(found.st_mode):
            raise NotAudio("no regular file, expected one")
        job = _Job(
            descriptor=descriptor,
            size=found.st_size,
            limits=limits,
            ffmpeg=ffmpeg,
            wanted=wanted,
        )
        return _open(job, isolated=isolated)
    except BaseException:
        os.close(descriptor)
        raise


def _open(job: _Job, *, isolated: bool) -> Decoder:
    way = sniff(job.descriptor)
    if way is Way.FFMPEG:
        return _with_ffmpeg(job, "")
    try:
        return _with_soundfile(job, child=isolated or way is Way.CHILD)
    except GaveUp as exc:
        return _with_ffmpeg(job, f"libsndfile: {exc}; ")


def _with_soundfile(job: _Job, *, child: bool) -> Decoder:
    def start(offset: int) -> SoundRun | SoundChildRun:
        wanted = job.wanted or sound.AUTO
        if child:
            return SoundChildRun(job.descriptor, wanted, job.bounds, offset)
        return SoundRun(job.descriptor, wanted, offset)

    run = start(0)
    try:
        return job.decoder(_facts(run.header, job.wanted), start, run)
    except BaseException:
        run.close()
        raise


def _facts(header: sound.Header, wanted: Encoding | None) -> Facts:
    exact = Encoding(sound.smallest_encoding(header.subtype))
    return Facts(
        format=require_fit(header.samplerate, header.channels, exact, wanted, header.subtype),
        decoder="soundfile",
        container=header.container,
        codec=_codec(header.container, header.subtype),
        subtype=header.subtype,
        frames=header.frames,
        seekable=header.seekable,
    )


def _codec(container: str, subtype: str) -> str:
    if container == "FLAC":
        return "flac"
    if subtype.startswith("PCM_") or subtype in ("FLOAT", "DOUBLE"):
        return "pcm"
    return _CODECS.get(subtype, subtype.lower())


def _with_ffmpeg(job: _Job, before: str) -> Decoder:
    """*before* is what the decoder says that was tried first."""
    try:
        program = find_ffmpeg(job.ffmpeg)
        said = ask(program, job.descriptor, job.bounds)
        start = lambda _offset: FfmpegRun(  # noqa: E731
            program, job.descriptor, job.wanted or said.encoding, job.bounds
        )
        run = start(0)
    except (NotAudio, GaveUp) as exc:
        raise NotAudio(f"no audio: {before}ffmpeg: {exc}") from exc
    except NoDecoder as exc:
        raise NoDecoder(f"{before}{exc}") from exc
    try:
        return job.decoder(_said(said, run, job.wanted), start, run)
    except BaseException:
        run.close()
        raise


def _said(said: Said, run: FfmpegRun, wanted: Encoding | None) -> Facts:
    rate, channels = run.samples
    return Facts(
        format=require_fit(rate, channels, said.encoding, wanted, f"{said.codec} {said.samples}"),
        decoder="ffmpeg",
        container=said.container,
        codec=said.codec,
        subtype=said.samples,
        frames=None if said.seconds is None else round(said.seconds * rate),
        seekable=False,
    )
