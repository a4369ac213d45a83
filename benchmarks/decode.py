"""What decoding costs: seconds to the first sample, and how many times as fast as real time."""

from __future__ import annotations

import argparse
import statistics
import subprocess
import tempfile
import time
from pathlib import Path
from typing import Final

import imageio_ffmpeg
import numpy as np
import soundfile

from sonoduct.audio.decoding import DecodeOptions, open_decoder

SAMPLERATE: Final = 44_100
CHANNELS: Final = 2
BLOCK_FRAMES: Final = 65_536

FORMATS: Final = {
    "s16.wav": (),
    "s16.flac": (),
    "s16.aiff": (),
    "ima.wav": ("-c:a", "adpcm_ima_wav"),
    "layer3.mp3": ("-c:a", "libmp3lame", "-b:a", "192k"),
    "vorbis.ogg": ("-c:a", "libvorbis", "-q:a", "5"),
    "opus.opus": ("-c:a", "libopus", "-b:a", "128k"),
    "aac.m4a": ("-c:a", "aac", "-b:a", "192k"),
    "alac.m4a": ("-c:a", "alac"),
    "opus.webm": ("-c:a", "libopus", "-b:a", "128k"),
    "wma.wma": ("-c:a", "wmav2", "-b:a", "192k"),
    "ac3.ac3": ("-c:a", "ac3", "-b:a", "192k"),
    "wavpack.wv": ("-c:a", "wavpack"),
}


def write_source(path: Path, seconds: int) -> None:
    """Write chords in noise: codecs have something to do, but not the impossible."""
    at = np.arange(seconds * SAMPLERATE) / SAMPLERATE
    chord = sum(np.sin(2 * np.pi * tone * at) for tone in (220, 277, 330, 440))
    noise = np.random.default_rng(0).normal(0, 0.02, (len(at), CHANNELS))
    soundfile.write(path, 0.15 * np.asarray(chord)[:, None] + noise, SAMPLERATE, "PCM_16")


def measure(path: Path, ffmpeg: str, *, isolated: bool, rounds: int) -> tuple[str, float, float]:
    """Return the decoder, the median seconds to its first sample, and its speed."""
    firsts, speeds, decoder_name = [], [], ""
    for _ in range(rounds):
        started = time.perf_counter()
        decoder = open_decoder(path, DecodeOptions(ffmpeg=ffmpeg), isolated=isolated)
        firsts.append(time.perf_counter() - started)
        frames = 0
        while data := decoder.read(BLOCK_FRAMES):
            frames += len(data) // decoder.format.frame_bytes
        took = time.perf_counter() - started
        speeds.append(frames / decoder.format.samplerate / took)
        decoder_name = decoder.decoder
        decoder.close()
    return decoder_name, statistics.median(firsts), statistics.median(speeds)


def main() -> None:
    """Print a row for each format, here and isolated."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--ffmpeg", default=imageio_ffmpeg.get_ffmpeg_exe())
    parser.add_argument("--seconds", type=int, default=300)
    parser.add_argument("--rounds", type=int, default=5)
    given = parser.parse_args()
    print(
        "| file | bytes/s | decoder | first sample here | isolated | x real time here | isolated |"
    )
    print("| --- | --- | --- | --- | --- | --- | --- |")
    with tempfile.TemporaryDirectory() as folder:
        source = Path(folder) / "source.wav"
        write_source(source, given.seconds)
        for name, how in FORMATS.items():
            path = Path(folder) / name
            command = (imageio_ffmpeg.get_ffmpeg_exe(), "-nostdin", "-v", "error", "-i", source)
            subprocess.run((*command, *how, path), check=True)  # noqa: S603
            rate = path.stat().st_size // given.seconds
            here = measure(path, given.ffmpeg, isolated=False, rounds=given.rounds)
            away = measure(path, given.ffmpeg, isolated=True, rounds=given.rounds)
            firsts = f"{1000 * here[1]:.0f} ms | {1000 * away[1]:.0f} ms"
            print(f"| {name} | {rate} | {here[0]} | {firsts} | {here[2]:.0f} | {away[2]:.0f} |")


if __name__ == "__main__":
    main()
