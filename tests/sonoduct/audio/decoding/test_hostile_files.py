"""Hostile files and failing decoders end at a limit, with an error for their own stream only."""

import os
import re
import resource
import shutil
import subprocess
import sys
import tempfile
import threading
import time
from contextlib import suppress
from pathlib import Path

import imageio_ffmpeg
import pytest

from sonoduct.audio.decoding import GaveUp, LimitReached, Limits, NoDecoder, NotAudio, sndfile
from sonoduct.runtime import launch
from tests.support.bombs import write_bomb
from tests.support.corpus import encode, read_all, write
from tests.support.programs import HANG, script

MEGABYTE = 1_000_000


def peak(group):
    """Return the largest memory of a process in a group so far, in bytes."""
    peaks = []
    for status in Path("/proc").glob("[0-9]*/status"):
        with suppress(OSError):  # it has ended meanwhile
            if os.getpgid(int(status.parent.name)) == group:
                peaks.append(int(re.search(r"VmHWM:\s+(\d+)", status.read_text())[1]))
    return 1024 * max(peaks)


@pytest.mark.skipif(sys.platform != "linux", reason="memory is looked at in /proc")
def test_a_decode_bomb(tmp_path, opened):
    """
    A file of 1.3 MB that stands for 100 GB is stopped at its limit.

    No process needs much memory.
    """
    size = write_bomb(tmp_path / "a.mov", 100_000 * MEGABYTE)
    decoder = opened(tmp_path / "a.mov", limits=Limits(expansion=300))
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024
    with pytest.raises(LimitReached, match=f"samples, expected at most {300 * size}$"):
        read_all_and_forget(decoder)
    after = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024

    assert size < 1.3 * MEGABYTE
    assert 1_562_000_000 < decoder.frames  # each has 64 bytes
    assert after - before < 20 * MEGABYTE
    assert peak(decoder._run._child._process.pid) < 150 * MEGABYTE


def read_all_and_forget(decoder):
    """Read blocks without keeping them, as a stream is sent."""
    while decoder.read(5000):
        pass


def program(path, commands):
    """Write a false ffmpeg that describes an MP3, and runs *commands* instead of decoding."""
    text = f"""case "$*" in
*-c:a*) {commands} ;;
*) echo "Input #0, mp3, from 'x':" >&2
   echo "  Stream #0:0: Audio: mp3, 8000 Hz, mono, fltp" >&2; exit 1 ;;
esac"""
    return str(script(path, text))


HEADER = (
    r"printf 'RIFF\377\377\377\377WAVEfmt \20\0\0\0\3\0\1\0\100\37\0\0\0\175\0\0\4\0\40\0"
    r"data\377\377\377\377'; printf '12345678'; "
)
"""Commands of a shell that write the header of a WAV and two frames."""


@pytest.mark.parametrize(
    ("commands", "error", "reason"),
    [
        (HANG, LimitReached, "it kept its reader waiting for 1.5 s and was killed"),
        ("exit 7", NotAudio, "no audio: ffmpeg: exit code 7"),
        ("echo what >&2; exit 7", NotAudio, "no audio: ffmpeg: what"),
        ("kill -SEGV $$", NotAudio, "no audio: ffmpeg: killed by SIGSEGV"),
        ("while :; do echo y; done", NotAudio, "no audio: ffmpeg: it wrote b'y"),
        (
            "while :; do echo y >&2; done",
            (LimitReached, NotAudio),
            "it kept its reader waiting|used up|CPU time limit",
        ),
        ("printf %100s", NotAudio, "no audio: ffmpeg: it wrote"),
        (HEADER + HANG, LimitReached, "ffmpeg at frame 2: it kept its reader waiting"),
        (HEADER + "exit 7", GaveUp, "ffmpeg at frame 2: exit code 7"),
        (HEADER + "echo '[x] Error during demuxing: what' >&2", GaveUp, "frame 2: Error during"),
        (HEADER + "echo bad >&2; exit 7", GaveUp, "ffmpeg at frame 2: bad"),
        (HEADER + "echo so >&2; kill -ABRT $$", GaveUp, "at frame 2: killed by SIGABRT after: so"),
        (HEADER + "printf 123; kill -9 $$", GaveUp, "ffmpeg at frame 2: killed by SIGKILL"),
        (HEADER + "while :; do :; done", LimitReached, "ffmpeg at frame 2: it (kept|has used)"),
        (
            HEADER + "while :; do printf %9999s; done",
            LimitReached,
            "frame .* bytes of samples, expected at most",
        ),
    ],
)
def test_decoders_that_fail(tmp_path, opened, commands, error, reason):
    """The error says why, and at which frame if decoding had begun."""
    (tmp_path / "a.mp3").write_bytes(b"anything")
    limits = Limits(wall_seconds=1.5, cpu_seconds=1, least_output=MEGABYTE)
    ffmpeg = program(tmp_path / "ffmpeg", commands)
    started = time.monotonic()
    with pytest.raises(error, match=reason) as raised:
        read_all(opened(tmp_path / "a.mp3", limits=limits, ffmpeg=ffmpeg), 2)

    assert "\n" not in str(raised.value)
    assert time.monotonic() - started < 30


def test_closing_a_hanging_decoder_ends_its_read(tmp_path, opened):
    """If another thread closes a decoder that hangs, the read does not wait for its limit."""
    (tmp_path / "a.mp3").write_bytes(b"anything")
    decoder = opened(tmp_path / "a.mp3", ffmpeg=program(tmp_path / "ffmpeg", HEADER + HANG))
    timer = threading.Timer(0.2, decoder.close)
    timer.start()
    started = time.monotonic()
    with pytest.raises(GaveUp, match="killed by SIGKILL|closed"):
        read_all(decoder)
    timer.join()

    assert time.monotonic() - started < 5


@pytest.mark.skipif(not os.access("/dev/shm", os.W_OK), reason="needs a file below /dev")  # noqa: S108
def test_a_list_of_other_files(opened, tmp_path):
    """If a file is a list, ffmpeg does not open the file that it names."""
    with tempfile.NamedTemporaryFile(suffix=".wav", dir="/dev/shm") as other:
        write(Path(other.name))
        (tmp_path / "a").write_text(f"ffconcat version 1.0\nfile shm/{Path(other.name).name}\n")
        with pytest.raises(NotAudio, match="^no audio: ffmpeg: Invalid argument$"):
            opened(tmp_path / "a")


@pytest.mark.skipif(sys.platform != "linux", reason="processes are looked for in /proc")
def test_no_decoder_is_left(tmp_path, opened, monkeypatch):
    """No process is left when a decoder was closed, has failed, or was never read."""
    started, popen = [], subprocess.Popen
    monkeypatch.setattr(
        subprocess, "Popen", lambda *args, **how: started.append(popen(*args, **how)) or started[-1]
    )
    encode(tmp_path / "a.m4a", "-c:a", "aac", frames=200_000)
    decoder = opened(tmp_path / "a.m4a", limits=Limits(expansion=1, least_output=1000))
    with pytest.raises(LimitReached):
        read_all(decoder)
    decoder.close()
    opened(tmp_path / "a.m4a").close()
    decoder = opened(tmp_path / "a.m4a")
    decoder.seek(1000)
    decoder.close()
    opened(write(tmp_path / "a.ogg", "VORBIS")).close()
    with pytest.raises(NotAudio):
        opened(Path(__file__))
    left = {process.pid for process in started}

    assert 10 == len(left)
    assert not left & {int(path.name) for path in Path("/proc").glob("[0-9]*")}


def test_no_descriptor_is_left(tmp_path, opened):
    """Every descriptor is closed, even if the file is no audio."""
    paths = [
        *(write(tmp_path / "a.wav"), write(tmp_path / "a.aiff"), Path(__file__)),
        write(tmp_path / "empty.wav", frames=0),
    ]
    before = len(list(Path("/dev/fd").iterdir()))
    for path in paths:
        with suppress(NotAudio):
            opened(path).close()

    assert before == len(list(Path("/dev/fd").iterdir()))


def test_without_ffmpeg(tmp_path, opened, monkeypatch):
    """If a file needs ffmpeg, the error says what to install; other files are decoded."""
    encode(tmp_path / "a.m4a", "-c:a", "aac")
    write(tmp_path / "a.mp3", "MPEG_LAYER_III")
    with pytest.raises(NoDecoder, match="^needs ffmpeg, and no-such is no program$"):
        opened(tmp_path / "a.m4a", ffmpeg="no-such")
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(NoDecoder, match="^needs ffmpeg, .*: install the package ffmpeg, or name "):
        opened(tmp_path / "a.m4a")
    (tmp_path / "a.aiff").write_bytes(b"FORM" + bytes(100))
    with pytest.raises(NoDecoder, match="^libsndfile: .*; needs ffmpeg"):
        opened(tmp_path / "a.aiff")

    assert 9_001 == len(read_all(opened(tmp_path / "a.mp3"))) // 4


LOOK = """
import sys
from pathlib import Path
from sonoduct.audio.decoding import DecodeError, DecodeOptions, open_decoder
for path in sys.argv[2:]:
    try:
        decoder = open_decoder(Path(path), DecodeOptions(ffmpeg=sys.argv[1]), isolated=True)
        while decoder.read(5000):
            pass
        decoder.close()
    except DecodeError as exc:
        print(exc)
"""

OWN = (
    *(sys.prefix, sys.base_prefix, "/usr/", "/lib", "/etc/", "/proc/", "/sys/"),
    *("/dev/null", "/dev/urandom"),
)
"""Where the files are that Python and the loader of programs open."""


@pytest.mark.skipif(shutil.which("strace") is None, reason="NO STRACE: SYSTEM CALLS NOT LOOKED AT")
def test_system_calls(tmp_path):
    """Child processes use no network, and open only libraries and the file that they decode."""
    (tmp_path / "given").mkdir()
    encode(tmp_path / "a.m4a", "-c:a", "aac").unlink()
    playlist = f"#EXTM3U\n#EXT-X-TARGETDURATION:9\n#EXTINF:9,\n{tmp_path}/a.m4a\n"
    (tmp_path / "given" / "list").write_text(playlist)
    (tmp_path / "given" / "concat").write_text(f"ffconcat version 1.0\nfile {tmp_path}/a.m4a\n")
    (tmp_path / "a.m4a").rename(tmp_path / "given" / "a.m4a")
    write(tmp_path / "given" / "b.ogg", "VORBIS")
    given = [os.fspath(path) for path in sorted((tmp_path / "given").iterdir())]
    trace = tmp_path / "trace"
    command = [sys.executable, "-c", LOOK, imageio_ffmpeg.get_ffmpeg_exe(), *given]
    calls = "trace=%network,io_uring_setup,open,openat,openat2,creat,execve"
    strace = ["strace", "-f", "-qq", "-e", calls, "-e", "signal=none", "-o", trace]
    run = subprocess.run([*strace, *command], capture_output=True, text=True, timeout=60)

    assert (0, "") == (run.returncode, run.stderr)
    assert 2 == run.stdout.count("no audio: ffmpeg: ")
    text = trace.read_text()
    assert not re.findall(r"^\d+ +(?!open|creat|execve|\+|-)\w+.*", text, re.MULTILINE)
    parent, opening = text.split()[0], r'^(\d+) +(?:open|creat)\w*\([^"]*"([^"]*)".* = \d'
    opened = {
        path
        for process, path in re.findall(opening, text, re.MULTILINE)
        if process != parent and not path.startswith(OWN)
    }
    assert {sndfile.__file__, launch.__file__, "/dev/stdin"} == opened


def test_pictures_are_not_decoded(tmp_path, opened):
    """A film's pictures go to no decoder, and its sound is decoded; a rare codec is refused."""
    pictures = ("-f", "lavfi", "-i", "testsrc=d=1:s=64x64")
    encode(tmp_path / "film.mov", *pictures, "-map", "0:a", "-map", "1:v", "-c:a", "aac")
    encode(tmp_path / "rare.wav", "-c:a", "dfpwm")
    decoder = opened(tmp_path / "film.mov")

    assert read_all(decoder)
    assert "" == decoder.warning
    with pytest.raises(NotAudio, match="^libsndfile: .*; no audio: ffmpeg: "):
        opened(tmp_path / "rare.wav")
