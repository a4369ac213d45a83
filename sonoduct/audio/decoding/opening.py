"""From a path to a decoder, which the content of the file chooses."""

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
from .containers.sniff import Route, SniffResult, sniff
from .decoder import Decoder, MediaInfo, require_fit
from .errors import DecodeError, GaveUp, NoDecoder, NotAudio
from .ffmpeg import NO_PROTOCOL, FfmpegInfo, FfmpegRun, ask, find_ffmpeg
from .libsndfile import by_libsndfile
from .options import DecodeOptions, OpenFile

MALFORMED: Final = "malformed"
"""libsndfile's word for a file of a kind that it knows, and that is incomplete."""


def open_decoder(
    path: Path | int,
    options: DecodeOptions,
    *,
    isolated: bool,
    requested: Encoding | None = None,
    cancellation: Cancellation | None = None,
) -> Decoder:
    """
    Open *path* with the decoder that fits its content.

    Args:
        path: a regular file; its name decides nothing. Or a descriptor of one, which the decoder
            closes, also if there is an error.
        options: which ffmpeg, and the limits of decoding.
        isolated: decode in a child process in any case; otherwise plain WAV and FLAC are decoded
            in this process.
        requested: the encoding of the samples; by default the smallest that holds them exactly.
        cancellation: ends decoding from another thread, also while the file is being opened.

    Raises:
        NotAudio: if no decoder finds audio.
        Unfit: if the samples do not fit the protocol, or *requested*.
        NoDecoder: if ffmpeg is needed and missing.
        LimitReached: if a decoder took too long to start.
        OSError: if the file cannot be read, or no child can be started.
    """
    # O_NONBLOCK: opening a named pipe would wait for its writer.
    flags = os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC
    descriptor = path if isinstance(path, int) else os.open(path, flags)
    try:
        size = _size(descriptor)
        file = OpenFile(
            descriptor=descriptor,
            size=size,
            part=without_padding(fronttags.corrected(without_tags(descriptor, size))),
            options=options,
            requested=requested,
            cancellation=cancellation,
        )
        return _choose(file, isolated=isolated)
    except BaseException:
        os.close(descriptor)
        raise


def _size(descriptor: int) -> int:
    found = os.fstat(descriptor)
    if not stat.S_ISREG(found.st_mode):
        raise NotAudio("no regular file, expected one")
    return found.st_size


def _choose(file: OpenFile, *, isolated: bool) -> Decoder:
    sniffed = sniff(file.part, file.size - file.part.start)
    if not sniffed.damage:
        sniffed = sniffed._replace(damage=fronttags.damage(file.part))
    if sniffed.route is Route.FFMPEG:
        return by_ffmpeg(file, sniffed.damage)
    try:
        return by_libsndfile(file, sniffed, child=isolated or sniffed.route is Route.CHILD)
    except (GaveUp, NotAudio) as exc:
        return _instead(file, sniffed, exc)


def _instead(file: OpenFile, sniffed: SniffResult, first: DecodeError) -> Decoder:
    """Open *file* with ffmpeg, after libsndfile gave up or found no frame: *first* says why."""
    malformed = f"libsndfile: {first}" if MALFORMED in str(first) else ""
    try:
        return by_ffmpeg(file, sniffed.damage or malformed)
    except (NotAudio, GaveUp, NoDecoder) as exc:
        if isinstance(first, NotAudio):
            raise first from exc
        kind = NoDecoder if isinstance(exc, NoDecoder) else NotAudio
        raise kind(f"libsndfile: {first}; {exc}") from exc


def by_ffmpeg(file: OpenFile, damage: str = "") -> Decoder:
    """
    Open *file* with ffmpeg; *damage* is the damage that is known already.

    Raises:
        NotAudio: if ffmpeg finds no audio, or no frame.
        NoDecoder: if there is no ffmpeg.
        DecodeError: if the samples do not fit, or decoding them fails.
    """
    program = find_ffmpeg(file.options.ffmpeg)
    try:
        info, file = _describe(program, file)
        start = partial(_start, program, file, info)
        run = start(0)
    except (NotAudio, GaveUp) as exc:
        raise NotAudio(f"no audio: ffmpeg: {exc}") from exc
    try:
        media = _media_info(info, run, file, damage or ogg.damage(file.part))
        return Decoder(file, media, start, run).begun()
    except BaseException:
        run.close()
        raise


def _describe(program: str, file: OpenFile) -> tuple[FfmpegInfo, OpenFile]:
    """Ask ffmpeg about *file* without its tags; if it cannot skip them, about the whole file."""
    try:
        return ask(program, file), file
    except NotAudio as exc:
        if NO_PROTOCOL not in str(exc):
            raise
    file = replace(file, part=replace(file.part, start=0, end=file.size))
    return ask(program, file), file


def _start(program: str, file: OpenFile, info: FfmpegInfo, _offset: int) -> FfmpegRun:
    return FfmpegRun(program, file, file.requested or info.encoding, info.codec, info.others)


def _media_info(info: FfmpegInfo, run: FfmpegRun, file: OpenFile, damage: str) -> MediaInfo:
    (rate, channels), name = run.wav_format, f"{info.codec} {info.sample_format}"
    return MediaInfo(
        format=require_fit(rate, channels, info.encoding, file.requested, name),
        decoder="ffmpeg",
        container=info.container,
        codec=info.codec,
        subtype=info.sample_format,
        frames=None if info.seconds is None else round(info.seconds * rate),
        damage=damage,
        seekable=False,
    )
