"""From a path to a decoder, by what is in the file."""

from __future__ import annotations

import os
import stat
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Final

from sonoduct.runtime.child import Cancellation
from sonoduct.wire import Encoding

from .containers import ogg
from .containers import tags as fronttags
from .containers.framed import without_padding
from .containers.part import without_tags
from .containers.sniff import Route, Way, sniff
from .decoder import Decoder, Facts, FileDecoder, require_fit
from .errors import DecodeError, GaveUp, NoDecoder, NotAudio
from .ffmpeg import NO_PROTOCOL, FfmpegRun, Said, ask, find_ffmpeg
from .libsndfile import by_libsndfile
from .options import Job, Means

MALFORMED: Final = "malformed"
"""What libsndfile calls a file that it knows, but that is not all there."""


def open_decoder(
    path: Path,
    means: Means,
    *,
    isolated: bool,
    wanted: Encoding | None = None,
    cancellation: Cancellation | None = None,
) -> Decoder:
    """
    Open *path* with the decoder that its content is for.

    Args:
        path: a regular file; its name decides nothing.
        means: which ffmpeg, and what decoding may take.
        isolated: whether all of it is decoded in a child process; if not, plain WAV and FLAC are
            decoded in this one.
        wanted: the encoding of the samples; by default the smallest that holds them exactly.
        cancellation: ends it from another thread, also while it is being opened.

    Raises:
        NotAudio: if nothing can be decoded.
        Unfit: if what can be does not fit the protocol, or *wanted*.
        NoDecoder: if ffmpeg is needed and missing.
        LimitReached: if a decoder took too long to begin.
        OSError: if the file cannot be read, or no child can be started.
    """
    # O_NONBLOCK: opening a named pipe would wait for its writer.
    descriptor = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
    try:
        size = _size(descriptor)
        job = Job(
            descriptor=descriptor,
            size=size,
            part=without_padding(fronttags.corrected(without_tags(descriptor, size))),
            means=means,
            wanted=wanted,
            cancellation=cancellation,
        )
        return _choose(job, isolated=isolated)
    except BaseException:
        os.close(descriptor)
        raise


def _size(descriptor: int) -> int:
    found = os.fstat(descriptor)
    if not stat.S_ISREG(found.st_mode):
        raise NotAudio("no regular file, expected one")
    return found.st_size


def _choose(job: Job, *, isolated: bool) -> FileDecoder:
    route = sniff(job.part, job.size - job.part.start)
    if not route.damage:
        route = route._replace(damage=fronttags.damage(job.part))
    if route.way is Way.FFMPEG:
        return by_ffmpeg(job, route.damage)
    try:
        return by_libsndfile(job, route, child=isolated or route.way is Way.CHILD)
    except (GaveUp, NotAudio) as exc:
        return _instead(job, route, exc)


def _instead(job: Job, route: Route, first: DecodeError) -> FileDecoder:
    """ffmpeg, where libsndfile does not know the file, or finds no frame in it."""
    malformed = f"libsndfile: {first}" if MALFORMED in str(first) else ""
    try:
        return by_ffmpeg(job, route.damage or malformed)
    except (NotAudio, GaveUp) as exc:
        if isinstance(first, NotAudio):
            raise first from exc
        raise NotAudio(f"libsndfile: {first}; {exc}") from exc
    except NoDecoder as exc:
        if isinstance(first, NotAudio):
            raise first from exc
        raise NoDecoder(f"libsndfile: {first}; {exc}") from exc


def by_ffmpeg(job: Job, damage: str = "") -> FileDecoder:
    """
    Open the file of *job* with ffmpeg; *damage* is what another decoder has said of it.

    Raises:
        NotAudio: if it knows no audio in it, or finds no frame.
        NoDecoder: if there is no ffmpeg.
        DecodeError: if it can be read, but not be used.
    """
    program = find_ffmpeg(job.means.ffmpeg)
    try:
        said, job = _ask(program, job)
        start = partial(_start, program, job, said)
        run = start(0)
    except (NotAudio, GaveUp) as exc:
        raise NotAudio(f"no audio: ffmpeg: {exc}") from exc
    try:
        facts = _facts(said, run, job, damage or ogg.damage(job.part))
        return FileDecoder(job, facts, start, run).begun()
    except BaseException:
        run.close()
        raise


def _ask(program: str, job: Job) -> tuple[Said, Job]:
    """What ffmpeg says of the part of the file without tags, or of all of it, if it cannot skip."""
    try:
        return ask(program, job), job
    except NotAudio as exc:
        if NO_PROTOCOL not in str(exc):
            raise
    job = replace(job, part=replace(job.part, start=0, end=job.size))
    return ask(program, job), job


def _start(program: str, job: Job, said: Said, _offset: int) -> FfmpegRun:
    return FfmpegRun(program, job, job.wanted or said.encoding, said.codec, said.others)


def _facts(said: Said, run: FfmpegRun, job: Job, damage: str) -> Facts:
    (rate, channels), name = run.samples, f"{said.codec} {said.samples}"
    return Facts(
        format=require_fit(rate, channels, said.encoding, job.wanted, name),
        decoder="ffmpeg",
        container=said.container,
        codec=said.codec,
        subtype=said.samples,
        frames=None if said.seconds is None else round(said.seconds * rate),
        damage=damage,
        seekable=False,
    )
