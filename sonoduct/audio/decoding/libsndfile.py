"""Decoding by libsndfile, with ffmpeg behind it."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Final

from sonoduct.wire import Encoding

from . import sndfile
from .containers import ogg
from .containers.sniff import Route
from .decoder import Facts, FileDecoder, require_fit
from .errors import GaveUp
from .ffmpeg import FfmpegRun, find_ffmpeg
from .options import Job
from .runs import Fallback, Run, SoundChildRun, SoundRun, pass_over

_CODECS: Final = {
    "MPEG_LAYER_I": "mp1",
    "MPEG_LAYER_II": "mp2",
    "MPEG_LAYER_III": "mp3",
    **dict.fromkeys(("ALAC_16", "ALAC_20", "ALAC_24", "ALAC_32"), "alac"),
    **dict.fromkeys(("PCM_S8", "PCM_U8", "PCM_16", "PCM_24", "PCM_32", "FLOAT", "DOUBLE"), "pcm"),
}


def by_libsndfile(job: Job, route: Route, *, child: bool) -> FileDecoder:
    """
    Open the file of *job* as *route* says with libsndfile, in a *child* or in this process.

    Raises:
        GaveUp: if libsndfile does not know it.
        NotAudio: if it finds no frame.
        DecodeError: if it can be read, but not be used.
    """
    start: Start = partial(SoundChildRun if child else SoundRun, job, route.shown)
    first = start(0)
    run: Run = first
    try:
        facts = _facts(first.header, route, job)
        starter = _Starter(job, facts, start)
        run = starter.guard(first, 0)
        return FileDecoder(job, facts, starter, run).begun()
    except BaseException:
        run.close()
        raise


Start = Callable[[int], SoundRun | SoundChildRun]
"""Starts libsndfile at a frame."""


class _Starter:
    """Starts libsndfile at a frame; once it had to be finished by ffmpeg, ffmpeg."""

    def __init__(self, job: Job, facts: Facts, start: Start) -> None:
        self._job = job
        self._format = facts.format
        self._codec = facts.codec
        self._start = start
        self._guarded: Fallback | None = None

    def __call__(self, offset: int) -> Run:
        if self._guarded is not None and self._guarded.switched:
            run = self._by_ffmpeg()
            pass_over(run, offset * self._format.frame_bytes)
            return run
        return self.guard(self._start(offset), offset)

    def guard(self, run: Run, offset: int) -> Run:
        """Have ffmpeg behind *run*, which was started at *offset*."""
        self._guarded = Fallback(run, offset * self._format.frame_bytes, self._by_ffmpeg)
        return self._guarded

    def _by_ffmpeg(self) -> FfmpegRun:
        program, form = find_ffmpeg(self._job.means.ffmpeg), self._format
        run = FfmpegRun(program, self._job, form.encoding, self._codec)
        if run.samples != (form.samplerate, form.channels):
            run.close()
            raise GaveUp(
                f"it finds samplerate and channels {tuple(run.samples)}, "
                f"expected {(form.samplerate, form.channels)}"
            )
        return run


def _facts(header: sndfile.Header, route: Route, job: Job) -> Facts:
    exact = Encoding(sndfile.smallest_encoding(header.subtype))
    return Facts(
        format=require_fit(header.samplerate, header.channels, exact, job.wanted, header.subtype),
        decoder="soundfile",
        container=header.container,
        codec="flac" if header.container == "FLAC" else _codec(header.subtype),
        subtype=header.subtype,
        frames=header.frames if route.frames is None else route.frames,
        damage=route.damage or header.damage or ogg.damage(job.part),
        seekable=header.seekable,
    )


def _codec(subtype: str) -> str:
    return _CODECS.get(subtype, subtype.lower())
