"""Inside each image, every promised format decodes to the sine that it was made from."""

import json
import shutil

import numpy as np
import pytest

from tests.containers.engine import ROOT, CommandFailedError, docker, inside

pytestmark = pytest.mark.containers

FORMATS = {
    "wav_s16le.wav": (8000, 1),
    "flac_s16.flac": (4000, 2),
    "ogg_vorbis.ogg": (44_100, 2),
    "ogg_opus.opus": (48_000, 2),
    "mp3_cbr.mp3": (44_100, 2),
    "m4a_aac.m4a": (44_100, 2),
    "m4a_alac.m4a": (4000, 2),
    "webm_opus.webm": (48_000, 2),
    "wma_v2.wma": (44_100, 2),
    "ac3.ac3": (48_000, 2),
    "aac_adts.aac": (44_100, 2),
    "mp4_trailing_moov.mp4": (44_100, 2),
}
"""Samplerate and channels of each file; sounds/README.md says how they were made."""

SOUNDFILE = ("wav", "flac", "ogg", "opus", "mp3")
"""What libsndfile decodes."""

HERTZ = 440

DECODE = """
import json, pathlib, sys
from sonoduct.audio import decoding
for name in sys.argv[1:]:
    found = decoding.probe(pathlib.Path(name), decoding.DecodeOptions(), isolated=True, count=True)
    print(json.dumps([found.decoder, found.samplerate, found.channels, found.frames]))
"""

READ = """
import json, sys, soundfile
samples, samplerate = soundfile.read(sys.argv[1], dtype="int16", always_2d=True)
print(json.dumps([soundfile.__libsndfile_version__, samplerate, samples.tolist()]))
"""


@pytest.fixture(name="sounds", scope="module")
def _sounds(tmp_path_factory):
    """Copy the files so that the user in a container can read them."""
    folder = tmp_path_factory.mktemp("sounds")
    shutil.copytree(ROOT / "tests" / "containers" / "sounds", folder, dirs_exist_ok=True)
    folder.chmod(0o755)
    for path in folder.iterdir():
        path.chmod(0o644)
    return folder


@pytest.fixture(name="box", scope="module", params=["sender", "receiver"])
def _box(request, images, sounds):
    """Run an idle container, as restricted as in compose, and without a network."""
    box = docker(
        *("run", "--detach", "--rm", "--init", "--network", "none", "--read-only"),
        *("--cap-drop", "ALL", "--security-opt", "no-new-privileges:true"),
        *("--volume", f"{sounds}:/sounds:ro", "--entrypoint", "sleep", images[request.param]),
        "600",
    ).strip()
    yield box
    docker("rm", "--force", box)


def assert_sine(samples, samplerate):
    """Require one second, within the codec's padding, whose loudest frequency is 440 Hz."""
    spectrum = np.abs(np.fft.rfft(samples[:, 0]))

    assert samplerate == pytest.approx(len(samples), rel=0.05)
    assert HERTZ == pytest.approx(np.argmax(spectrum) * samplerate / len(samples), abs=2)
    assert 3000 < np.abs(samples).max() < 20_000


@pytest.mark.parametrize("name", FORMATS)
def test_ffmpeg(box, name):
    """The ffmpeg of the image reads each format, by its path."""
    samplerate, channels = FORMATS[name]
    decoding = ("-i", f"/sounds/{name}", "-vn", "-f", "s16le", "-")
    data = inside(box, "ffmpeg", "-nostdin", "-v", "error", *decoding, binary=True)

    assert_sine(np.frombuffer(data, "<i2").reshape(-1, channels), samplerate)


@pytest.mark.parametrize("name", [name for name in FORMATS if name.endswith(SOUNDFILE)])
def test_soundfile(box, name):
    """The libsndfile of the image reads each promised format."""
    version, samplerate, samples = json.loads(inside(box, "python", "-c", READ, f"/sounds/{name}"))

    assert tuple(map(int, version.split("."))) >= (1, 2)  # before 1.1 it knows no mp3
    assert FORMATS[name] == (samplerate, len(samples[0]))
    assert_sine(np.array(samples), samplerate)


def test_decoding(box):
    """The package decodes each file to its end, in a limited child, by the right decoder."""
    lines = inside(box, "python", "-c", DECODE, *(f"/sounds/{name}" for name in FORMATS))

    for name, line in zip(FORMATS, lines.splitlines(), strict=True):
        decoder, samplerate, channels, frames = json.loads(line)
        assert ("soundfile" if name.endswith(SOUNDFILE) else "ffmpeg") == decoder
        assert FORMATS[name] == (samplerate, channels)
        assert samplerate == pytest.approx(frames, rel=0.05)


def test_ffmpeg_has_no_network(box):
    """It reads files, parts of files, pipes and descriptors; it refuses addresses and playlists."""
    lines = inside(box, "ffmpeg", "-v", "error", "-protocols").split()

    known = {"file", "fd", "pipe", "subfile"}  # the last one cuts tags off
    assert known | {"Supported", "protocols:", "Input:", "Output:"} == set(lines)
    for url in ("http://127.0.0.1/a.wav", "https://127.0.0.1/a.wav", "tcp://127.0.0.1:9"):
        with pytest.raises(CommandFailedError, match="Protocol not found"):
            inside(box, "ffmpeg", "-nostdin", "-v", "error", "-i", url, "-f", "null", "-")
    sneaky = "concat:/sounds/ac3.ac3|/etc/passwd"
    with pytest.raises(CommandFailedError, match="Protocol not found"):
        inside(box, "ffmpeg", "-nostdin", "-v", "error", "-i", sneaky, "-f", "null", "-")
