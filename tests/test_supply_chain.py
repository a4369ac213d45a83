"""
Where the software's parts come from: the checks of OpenSSF Scorecard that need no hosting site.

Binary-Artifacts, Dangerous-Workflow, License, Pinned-Dependencies, SAST, Security-Policy and
Token-Permissions (https://github.com/ossf/scorecard/blob/main/docs/checks.md).
"""

import os
import re
import shutil
import subprocess
import tomllib
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())
REQUIREMENTS = sorted((ROOT / "requirements").glob("*.txt"))
DOCKERFILES = [ROOT / name / "Dockerfile" for name in ("sender", "receiver")]
COMPOSE = (ROOT / "docker-compose.yml").read_text()
IMAGES = dict(re.findall(r"\$\{([A-Z]+_IMAGE):-([^}]+)\}", COMPOSE))
PICTURES_AND_SOUNDS = {
    "audio": {".flac", ".wav"},
    "docs/pictures": {".png"},
    "tests/containers/sounds": {
        *(
            ".aac",
            ".ac3",
            ".flac",
            ".m4a",
            ".mp3",
            ".mp4",
            ".ogg",
            ".opus",
            ".wav",
            ".webm",
            ".wma",
        ),
    },
}
"""The folders whose files may be no text, and their suffixes."""

SHA256 = re.compile(r"[0-9a-f]{64}")


def tracked():
    """Return the paths of all files in git."""
    git = shutil.which("git")
    if git is None or not (ROOT / ".git").exists():
        pytest.skip("this is no clone")
    listed = subprocess.run([git, "ls-files", "-z"], cwd=ROOT, capture_output=True, check=True)
    return [Path(os.fsdecode(name)) for name in listed.stdout.split(b"\0") if name]


def test_binary_artifacts():
    """Every file in git is text, but sounds and a picture."""
    binary = []
    for path in tracked():
        if path.suffix in PICTURES_AND_SOUNDS.get(path.parent.as_posix(), ()):
            continue
        data = (ROOT / path).read_bytes() if (ROOT / path).is_file() else b""
        try:
            text = data.decode()
        except UnicodeDecodeError:
            text = "\0"
        if "\0" in text:
            binary.append(path.as_posix())

    assert [] == binary


def test_no_secret_file_is_in_git_or_in_a_build():
    """Git ignores the folder of secrets and a machine's settings, and builds do not see them."""
    assert not [path for path in tracked() if path.parts[0] == "secrets" or path.name == ".env"]
    assert {"/secrets/", ".env"} <= set((ROOT / ".gitignore").read_text().split())
    sent = [line for line in (ROOT / ".dockerignore").read_text().splitlines() if line[0] != "#"]
    assert "*" == sent[0]
    assert {"!deploy/ffmpeg"} == {line for line in sent if re.search(r"deploy|secrets|\.env", line)}


@pytest.mark.parametrize("path", REQUIREMENTS, ids=lambda path: path.name)
def test_every_locked_package_has_hashes(path):
    """Each requirement names one version, and the checksums of its files."""
    entries = re.findall(r"^(?![ #])(.+?)\n((?: .*\n)*)", path.read_text() + "\n", re.MULTILINE)

    assert entries
    for requirement, rest in entries:
        assert re.match(r"[a-z0-9-]+(\[[a-z0-9,-]+\])?==[^ ;]+", requirement), requirement
        assert re.search(r"--hash=sha256:[0-9a-f]{64}", rest), requirement


def commands(text):
    """Return the commands of a Makefile or a Dockerfile, with continued lines joined."""
    lines = re.sub(r"\\\n\s*", " ", text).splitlines()
    return [each.strip() for line in lines for each in re.split(r"&&|;", line)]


@pytest.mark.parametrize("path", [ROOT / "Makefile", *DOCKERFILES], ids=lambda path: path.parts[-2])
def test_pip_installs_only_what_is_locked(path):
    """Each installation compares checksums, or takes nothing from the network."""
    found = [each for each in commands(path.read_text()) if re.search(r"\bpip\b.* install\b", each)]

    assert found
    for command in found:
        own = "--no-deps" in command and ("--no-index" in command or "--editable ." in command)
        tool = re.search(r"install .*--disable-pip-version-check uv$", command)  # writes the locks
        assert "--require-hashes" in command or own or tool, command


@pytest.mark.parametrize("path", DOCKERFILES, ids=lambda path: path.parent.name)
def test_images_are_made_of_known_parts(path):
    """Every stage begins with the one base image; nothing is fetched but by apt and pip."""
    text = path.read_text()

    assert {"${BASE}"} == set(re.findall(r"^FROM (\S+)", text, re.MULTILINE))
    assert [IMAGES["PYTHON_IMAGE"]] == re.findall(r"^ARG BASE=(.*)", text, re.MULTILINE)
    assert not re.search(r"^ADD |\b(curl|wget|git clone)\b", text, re.MULTILINE)
    assert "USER 10001:10001" in text


def test_images_of_others_have_a_version():
    """None is the latest; with `make lock-images` each has its digest as well."""
    assert {"PYTHON_IMAGE", "GATEWAY_IMAGE", "PROMETHEUS_IMAGE"} <= IMAGES.keys()
    for image in IMAGES.values():
        assert re.fullmatch(r"[a-z0-9./-]+:v?\d[\w.-]*", image), image
    locked = ROOT / "deploy" / "images.env"
    if locked.exists():
        lines = [line for line in locked.read_text().splitlines() if not line.startswith("#")]
        found = dict(line.split("=", 1) for line in lines)
        assert IMAGES == {name: image.partition("@")[0] for name, image in found.items()}
        assert all(re.fullmatch(r".*@sha256:[0-9a-f]{64}", image) for image in found.values())


REGISTRY = """#!/bin/sh
case "$1 $2" in
"pull --quiet") echo "$3" >>"$PULLED" ;;
"image inspect") [ -n "$DIGEST" ] && echo "[x@sha256:$DIGEST y@sha256:$DIGEST]" || echo "[]" ;;
esac
"""


@pytest.mark.parametrize("digest", ["a1" * 32, ""], ids=["from a registry", "made here"])
def test_images_are_locked_by_their_digests(tmp_path, digest):
    """Each image gets the digest that its registry has; without one, no file is written."""
    deploy = tmp_path / "deploy"
    deploy.mkdir()
    for name in ("docker-compose.yml", "deploy/lock-images.sh"):
        shutil.copy(ROOT / name, tmp_path / name)
    docker = tmp_path / "bin" / "docker"
    docker.parent.mkdir()
    docker.write_text(REGISTRY)
    docker.chmod(0o755)
    ended = subprocess.run(
        [deploy / "lock-images.sh"],
        env={
            "PATH": f"{docker.parent}:{os.environ['PATH']}",
            "DIGEST": digest,
            "PULLED": "/dev/null",
        },
        capture_output=True,
        text=True,
    )
    expected = [f"{name}={image}@sha256:{digest}" for name, image in sorted(IMAGES.items())]

    if digest:
        assert (0, expected) == (ended.returncode, ended.stdout.splitlines()[1:])
        assert expected == (deploy / "images.env").read_text().splitlines()[1:]
    else:
        assert 1 == ended.returncode
        assert "has no digest" in ended.stderr
        assert ["lock-images.sh"] == [path.name for path in deploy.iterdir()]


def test_the_source_of_ffmpeg_is_pinned():
    """Its lock has one version, and a checksum for each of the files of that version."""
    version, *sums = (ROOT / "deploy" / "ffmpeg" / "source.lock").read_text().splitlines()
    upstream = version.partition(":")[2].rpartition("-")[0]
    names = {}
    for line in sums:
        digest, _, name = line.partition("  ")
        names[name] = digest

    assert re.fullmatch(r"7:\d+\.\d+(\.\d+)?-\S+", version)
    assert len(names) == len(sums) == 3
    assert all(map(SHA256.fullmatch, names.values()))
    for name in names:
        assert name.startswith(f"ffmpeg_{upstream}")
    assert any(".orig.tar" in name for name in names)
    for path in DOCKERFILES:
        assert "deploy/ffmpeg/source.lock" in path.read_text()


def test_policy_and_licence():
    """SECURITY.md says how to report, which versions are mended and what is defended."""
    policy = (ROOT / "SECURITY.md").read_text()

    for heading in ("Reporting a vulnerability", "Supported versions", "Threat model"):
        assert f"## {heading}\n" in policy
    assert "Apache License" in (ROOT / "LICENSE").read_text()
    assert "Apache-2.0" == PROJECT["project"]["license"]
    for target in re.findall(r"\]\(([^)#]+)[^)]*\)", policy):
        assert target.startswith("https://") or (ROOT / target).exists(), target


def test_static_analysis():
    """Every rule of ruff is on, those on security among them but the one against `assert`."""
    lint = PROJECT["tool"]["ruff"]["lint"]

    assert ["ALL"] == lint["select"]
    assert ["S101"] == [rule for rule in lint["ignore"] if re.fullmatch(r"S\d*", rule)]
    assert PROJECT["tool"]["mypy"]["strict"] is True


def test_workflows():
    """If a hosting site runs workflows, they have few rights, and pin what they use."""
    for path in (ROOT / ".github" / "workflows").glob("*.y*ml"):
        text = path.read_text()

        assert re.search(r"^permissions:", text, re.MULTILINE), path
        assert "pull_request_target" not in text
        for used in re.findall(r"uses:\s*(\S+)", text):
            assert used.startswith("./") or re.search(r"@[0-9a-f]{40}$", used), used
