"""Decoding with libsndfile; ffmpeg takes over if libsndfile gives up."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Final

from sonoduct.wire import Encoding

from . import sndfile
from .containers import ogg
from .containers.sniff import SniffResult
from .decoder import Decoder, MediaInfo, require_fit
from .errors import GaveUp
from .ffmpeg import FfmpegRun, find_ffmpeg
from .options import OpenFile
from .runs import Fallback, Run, SndFileChildRun, SndFileRun, pass_over

_CODECS: Final = {
    "MPEG_LAYER_I": "mp1",
    "MPEG_LAYER_II": "mp2",
    "MPEG_LAYER_III": "mp3",
    **dict.fromkeys(("ALAC_16", "ALAC_20", "ALAC_24", "ALAC_32"), "alac"),
    **dict.fromkeys(("PCM_S8", "PCM_U8", "PCM_16", "PCM_24", "PCM_32", "FLOAT", "DOUBLE"), "pcm"),
}

StartSndFile = Callable[[int], SndFileRun | SndFileChildRun]
"""Starts libsndfile at a frame."""


def by_libsndfile(file: OpenFile, sniffed: SniffResult, *, child: bool) -> Decoder:
    """
    Open *file* with libsndfile, in a *child* or in this process, as *sniffed* says.

    Raises:
        GaveUp: if libsndfile does not know the file.
        NotAudio: if libsndfile finds no frame.
        DecodeError: if the samples do not fit, or decoding them fails.
    """
    start: StartSndFile = partial(SndFileChildRun if child else SndFileRun, file, sniffed.shown)
    first = start(0)
    run: Run = first
    try:
        media = _media_info(first.header, sniffed, file)
        starter = _Starter(file, media, start)
        run = starter.guard(first, 0)
        return Decoder(file, media, starter, run).begun()
    except BaseException:
        run.close()
        raise


class _Starter:
    """Starts runs of libsndfile; after ffmpeg had to take over, runs of ffmpeg."""

    def __init__(self, file: OpenFile, media: MediaInfo, start: StartSndFile) -> None:
        self._file = file
        self._format = media.format
        self._codec = media.codec
        self._start = start
        self._guarded: Fallback | None = None

    def __call__(self, offset: int) -> Run:
        if self._guarded is not None and self._guarded.switched:
            run = self._by_ffmpeg()
            pass_over(run, offset * self._format.frame_bytes)
            return run
        return self.guard(self._start(offset), offset)

    def guard(self, run: Run, offset: int) -> Run:
        """Return *run*, which was started at *offset*, with ffmpeg to take over."""
        self._guarded = Fallback(run, offset * self._format.frame_bytes, self._by_ffmpeg)
        return self._guarded

    def _by_ffmpeg(self) -> FfmpegRun:
        program, audio_format = find_ffmpeg(self._file.options.ffmpeg), self._format
        run = FfmpegRun(program, self._file, audio_format.encoding, self._codec)
        if run.wav_format != (audio_format.samplerate, audio_format.channels):
            run.close()
            raise GaveUp(
                f"it finds samplerate and channels {run.wav_format}, "
                f"expected {(audio_format.samplerate, audio_format.channels)}"
            )
        return run


def _media_info(header: sndfile.Header, sniffed: SniffResult, file: OpenFile) -> MediaInfo:
    exact = Encoding(sndfile.smallest_encoding(header.subtype))
    return MediaInfo(
        format=require_fit(
            header.samplerate, header.channels, exact, file.requested, header.subtype
        ),
        decoder="soundfile",
        container=header.container,
        codec="flac" if header.container == "FLAC" else _codec(header.subtype),
        subtype=header.subtype,
        frames=header.frames if sniffed.frames is None else sniffed.frames,
        damage=sniffed.damage or header.damage or ogg.damage(file.part),
        seekable=header.seekable,
    )


def _codec(subtype: str) -> str:
    return _CODECS.get(subtype, subtype.lower())
