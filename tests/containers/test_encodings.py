"""The real images, end to end: each encoding, decoded on either side."""

import shutil
from pathlib import Path

import pytest
import soundfile

from tests.containers.deadlines import until
from tests.containers.engine import ROOT, CommandFailedError, docker, inside
from tests.containers.recordings import manifests
from tests.support.sounds import same, samples, write

pytestmark = pytest.mark.containers


@pytest.fixture(name="sounds", scope="module")
def _sounds(tmp_path_factory):
    """Write a file of each format, and two of noise, readable by the user in a container."""
    folder = tmp_path_factory.mktemp("sounds")
    shutil.copytree(ROOT / "tests" / "containers" / "sounds", folder, dirs_exist_ok=True)
    (folder / "README.md").unlink()
    write(folder / "noise16.wav", 30_000, 2)
    soundfile.write(folder / "noise24.flac", samples(folder / "noise16.wav"), 16_000, "PCM_24")
    folder.chmod(0o755)
    for path in folder.iterdir():
        path.chmod(0o644)
    return folder


def send(system, sounds, *arguments):
    """Run `sender send` in a container as restricted as the sender's; return its output."""
    run = ("run", "--rm", "--no-deps", "-T", "--volume", f"{sounds}:/sounds:ro", "sender", "send")
    return system.compose(*run, *arguments, "--to", "ws://gateway:8766", "--progress", "never")


def recorded(system, names, *, whole):
    """Wait until all *names* have a recording; return the manifests by name."""
    (receiver, *_) = system.containers("receiver")

    def found():
        return {
            Path(each["name"]).name: each
            for each in manifests(receiver)
            if whole == bool(each["receipt"].get("sha256"))
        }

    return until(found, lambda seen: set(names) <= set(seen), 60, "recordings")


@pytest.mark.parametrize("encoding", ["flac", "file"])
def test_exact(system, sounds, encoding, tmp_path):
    """Noise of 16 and 24 bits is recorded bit for bit, with each encoding."""
    names = ("noise16.wav", "noise24.flac")
    send(system, sounds, *(f"/sounds/{name}" for name in names), "--encoding", encoding)
    found = recorded(system, names, whole=encoding == "file")
    (receiver, *_) = system.containers("receiver")
    for name in names:
        docker("cp", f"{receiver}:/recordings/audio/{found[name]['recording']}", tmp_path / name)

        assert same(samples(sounds / name), samples(tmp_path / name))
    inside(receiver, "receiver", "verify", "--store", "/recordings")


def test_every_format_on_either_side(system, sounds):
    """The receiver decodes the same frames as the sender."""
    names = [path.name for path in sounds.iterdir()]
    send(system, sounds, "/sounds")
    send(system, sounds, "/sounds", "--encoding", "file")
    decoded = recorded(system, names, whole=False)
    whole = recorded(system, names, whole=True)

    assert len(names) == 14
    for name in names:
        assert decoded[name]["receipt"]["frames"] == whole[name]["receipt"]["frames"]
        assert decoded[name]["receipt"]["digest"] == whole[name]["samples"]


def test_an_address(system, sounds):
    """The ffmpeg of the image has no network: the error says so, with a remedy."""
    with pytest.raises(CommandFailedError, match="built without it: name another one with"):
        send(system, sounds, "--url", "http://gateway:8404/metrics")


def test_the_kernel_takes_a_decoder_first(images):
    """The kernel kills a child that fills the memory, and the parent continues."""
    script = """
import sys
from sonoduct.runtime.child import ChildLimits, Child
room = ChildLimits(memory_bytes=2**30, cpu_seconds=20, wall_seconds=30)
kept = bytearray(80_000_000)
kept[::4096] = b"x" * len(kept[::4096])  # more than the child gets
for _ in range(2):
    with open("/dev/null", "rb") as none:
        hog = "kept = []\\nwhile True: kept.append(bytearray(b'x' * 4_000_000))"
        child = Child([sys.executable, "-I", "-S", "-c", hog], none.fileno(), room)
    child.read(1)
    print(child.exit_code())
    child.close()
"""
    small = ("--memory", "128m", "--memory-swap", "128m", "--network", "none", "--read-only")
    hard = ("--cap-drop", "ALL", "--security-opt", "no-new-privileges:true")
    run = ("run", "--rm", "--init", *small, *hard, "--entrypoint", "python", images["receiver"])

    assert ["-9", "-9"] == docker(*run, "-c", script).split()
