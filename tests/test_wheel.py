"""The wheel: it installs the three packages, and both commands work outside the checkout."""

import json
import os
import shutil
import subprocess
import sys
import sysconfig
import zipfile
from pathlib import Path

import pytest
import soundfile

from tests.support.sounds import write

ROOT = Path(__file__).parents[1]
PACKAGES = ("sonoduct", "sender", "receiver")
PIP = (sys.executable, "-m", "pip", "--quiet", "--disable-pip-version-check", "--no-input")


@pytest.fixture(name="wheel", scope="module")
def _wheel(tmp_path_factory):
    """Build the wheel from a copy of the checkout: a build writes beside its sources."""
    copy = tmp_path_factory.mktemp("source")
    for name in ("pyproject.toml", "README.md", "LICENSE"):
        shutil.copy(ROOT / name, copy)
    for name in PACKAGES:
        shutil.copytree(ROOT / name, copy / name, ignore=shutil.ignore_patterns("__pycache__"))
    folder = tmp_path_factory.mktemp("wheel")
    options = ("--no-deps", "--no-index", "--no-build-isolation", "--wheel-dir", folder)
    subprocess.run([*PIP, "wheel", *options, copy], check=True)
    (made,) = folder.glob("*.whl")
    return made


def installed(wheel, folder, without=()):
    """Make an environment with *wheel* and this one's other packages, except those in *without*."""
    subprocess.run([sys.executable, "-m", "venv", "--without-pip", folder], check=True)
    python = folder / "bin" / "python"
    options = ("--no-deps", "--no-index", "--no-compile")
    subprocess.run([*PIP, "--python", python, "install", *options, wheel], check=True)
    others = folder / "others"
    others.mkdir()
    for each in Path(sysconfig.get_path("purelib")).iterdir():
        ours = "sonoduct" in each.name or each.suffix == ".pth"
        if not ours and each.name.partition(".")[0] not in without:
            (others / each.name).symlink_to(each)
    (site,) = folder.glob("lib/python*/site-packages")
    (site / "others.pth").write_text(f"{others}\n")
    return folder / "bin"


def test_the_wheel_has_the_packages_and_nothing_else(wheel):
    """The wheel has every module of the checkout, and the marker for type checkers."""
    names = zipfile.ZipFile(wheel).namelist()
    expected = {
        path.relative_to(ROOT).as_posix()
        for name in PACKAGES
        for path in (ROOT / name).rglob("*.py")
    }

    assert expected == {name for name in names if name.endswith(".py")}
    assert {f"{name}/py.typed" for name in PACKAGES} <= set(names)
    assert {*PACKAGES} == {name.partition("/")[0] for name in names if ".dist-info" not in name}


def test_both_commands_work_outside_the_checkout(wheel, tmp_path):
    """A receiver records what a sender sends, and its processor is found by its entry point."""
    commands = installed(wheel, tmp_path / "environment")
    sound = write(tmp_path / "a.wav", 5000)
    env = {"PATH": os.environ["PATH"], "HOME": str(tmp_path), "SENDER_LEDGER": ""}
    options = ("--host", "127.0.0.1", "--port", "0", "--metrics-port", "0", "--drain-lead", "0")
    with subprocess.Popen(
        (commands / "receiver", "serve", *options), stderr=subprocess.PIPE, cwd=tmp_path, env=env
    ) as server:
        try:
            url = next(line["url"] for line in map(json.loads, server.stderr) if "url" in line)
            send = (commands / "sender", "send", sound, "--to", url, "--progress", "never")
            code = subprocess.run(send, cwd=tmp_path, env=env, stdout=subprocess.DEVNULL).returncode
        finally:
            server.terminate()
            server.stderr.read()
    (recording,) = (tmp_path / "recordings" / "audio").glob("*.wav")

    assert 0 == code == server.returncode
    assert (soundfile.read(sound)[0] == soundfile.read(recording)[0]).all()


def test_a_missing_extra_is_one_line(wheel, tmp_path):
    """Without its extra a command names the package that is missing, and how to get it."""
    commands = installed(wheel, tmp_path, without=("soundfile", "rich"))
    for service, command in (("sender", "send"), ("receiver", "serve")):
        answer = subprocess.run(
            (commands / service, command, "a.wav"), capture_output=True, text=True, cwd=tmp_path
        )

        assert 2 == answer.returncode
        assert 1 == answer.stderr.count("\n")
        assert f"{service}: the package " in answer.stderr
        assert f"pip install 'sonoduct[{service}]'" in answer.stderr
