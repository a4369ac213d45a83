"""Audio files of every kind that the README promises, made when a test needs them."""

import subprocess

import imageio_ffmpeg
import numpy as np
import soundfile

RATE = 16_000
FRAMES = 9_001

SOUNDFILE = {
    "u8.wav": "PCM_U8",
    "s16.wav": "PCM_16",
    "s24.wav": "PCM_24",
    "s32.wav": "PCM_32",
    "float.wav": "FLOAT",
    "double.wav": "DOUBLE",
    "ulaw.wav": "ULAW",
    "alaw.wav": "ALAW",
    "ima.wav": "IMA_ADPCM",
    "ms.wav": "MS_ADPCM",
    "gsm.wav": "GSM610",
    "s24.rf64": "PCM_24",
    "s16.w64": "PCM_16",
    "ms.w64": "MS_ADPCM",
    "s8.aiff": "PCM_S8",
    "s24.aiff": "PCM_24",
    "ulaw.aiff": "ULAW",
    "s16.au": "PCM_16",
    "float.au": "FLOAT",
    "s16.caf": "PCM_16",
    "alac16.caf": "ALAC_16",
    "alac24.caf": "ALAC_24",
    "s8.flac": "PCM_S8",
    "s16.flac": "PCM_16",
    "s24.flac": "PCM_24",
    "vorbis.ogg": "VORBIS",
    "opus.ogg": "OPUS",
    "layer3.mp3": "MPEG_LAYER_III",
    "s16.nist": "PCM_16",
    "s16.voc": "PCM_16",
}
"""Files that libsndfile writes. Tests compare with the samples that libsndfile reads."""

FFMPEG = {
    "aac.m4a": ("-c:a", "aac"),
    "front.m4a": ("-c:a", "aac", "-movflags", "faststart"),
    "video.mp4": ("-f", "lavfi", "-i", "color=s=32x32:d=1", "-map", "0:a", "-map", "1:v"),
    "adts.aac": ("-c:a", "aac"),
    "opus.webm": ("-c:a", "libopus", "-ar", "48000"),
    "vorbis.mka": ("-c:a", "libvorbis"),
    "wma.wma": ("-c:a", "wmav2"),
    "ac3.ac3": ("-c:a", "ac3", "-ar", "48000"),
    "layer2.mp2": ("-c:a", "mp2"),
}
"""Lossy files that only ffmpeg reads."""

LOSSLESS = {
    "alac16.m4a": ("PCM_16", "-c:a", "alac", "-sample_fmt", "s16p"),
    "alac24.m4a": ("PCM_24", "-c:a", "alac", "-sample_fmt", "s32p"),
    "flac16.oga": ("PCM_16", "-c:a", "flac"),
    "flac24.mka": ("PCM_24", "-c:a", "flac"),
    "tta.tta": ("PCM_24", "-c:a", "tta"),
    "wavpack.wv": ("PCM_16", "-c:a", "wavpack"),
    "wavpack-float.wv": ("FLOAT", "-c:a", "wavpack"),
    "s24.mov": ("PCM_24", "-c:a", "pcm_s24be"),
    "float.nut": ("FLOAT", "-c:a", "pcm_f32le"),
    "cover.flac": (
        *("PCM_16", "-f", "lavfi", "-i", "color=s=32x32:d=0.04", "-map", "0:a", "-map", "1:v"),
        *("-c:a", "flac", "-c:v", "png", "-disposition:v", "attached_pic"),
    ),
}
"""Lossless files that ffmpeg makes from a WAV. Tests compare with the samples of that WAV."""


def tone(frames=FRAMES, channels=1, seed=0):
    """Return a sine in noise, float32 of shape (frames, channels): codecs can compress it."""
    noise = np.random.default_rng(seed).uniform(-0.1, 0.1, (frames, channels))
    return (0.4 * np.sin(np.arange(frames) / 9)[:, None] + noise).astype(np.float32)


def write(path, subtype="PCM_16", frames=FRAMES, channels=1, samplerate=RATE):
    """Write a file by libsndfile; return its path."""
    form = {"oga": "OGG", "nist": "NIST", "rf64": "RF64", "w64": "W64"}.get(path.suffix[1:])
    soundfile.write(path, tone(frames, channels), samplerate, subtype, format=form)
    return path


def ffmpeg(*arguments, data=None):
    """Run ffmpeg; return the bytes of its standard output."""
    program = [
        imageio_ffmpeg.get_ffmpeg_exe(),
        "-nostdin",
        "-v",
        "error",
        "-y",
        *map(str, arguments),
    ]
    return subprocess.run(program, check=True, capture_output=True).stdout


def encode(path, *how, subtype="PCM_16", channels=1, frames=FRAMES, samplerate=RATE):
    """Let ffmpeg encode a WAV to *path*; return the path of the WAV."""
    source = write(path.with_suffix(".source.wav"), subtype, frames, channels, samplerate)
    ffmpeg("-i", source, *how, path)
    return source


def truth(path, dtype="float32"):
    """Return the samples that soundfile reads in one call."""
    return soundfile.read(path, dtype=dtype, always_2d=True)[0]


def read_all(decoder, block=4096):
    """Read *decoder* to its end in blocks; return the bytes."""
    parts = []
    while data := decoder.read(block):
        parts.append(data)
    return b"".join(parts)
