"""The two images: small, labelled, without a compiler, and with the right program."""

import json
from importlib.metadata import version

import pytest

from tests.containers.engine import ROOT, CommandFailedError, docker, inspect_image

pytestmark = pytest.mark.containers

MEGABYTE = 1_000_000
MOST_MB = 140
"""What an image may add to its base."""

PULLING_S = 300


@pytest.fixture(name="name", params=["sender", "receiver"])
def _name(request):
    return request.param


@pytest.fixture(name="image")
def _image(images, name):
    return images[name]


def run(image, *command, user="10001:10001"):
    """Run *command* in a new container of *image*; return its standard output."""
    entrypoint, *arguments = command
    how = ("--rm", "--network", "none", "--user", user, "--entrypoint", entrypoint)
    return docker("run", *how, image, *arguments)


def base_of(name):
    """Return the engine's facts about the base image of *name*; pull it if necessary."""
    file = ("--file", ROOT / "docker-compose.yml")
    config = json.loads(docker("compose", *file, "config", "--format", "json"))
    base = config["services"][name]["build"]["args"]["BASE"]
    try:
        return inspect_image(base)
    except CommandFailedError:
        docker("pull", "--quiet", base, within=PULLING_S)
        return inspect_image(base)


def test_size(name, image, figure):
    """An image adds at most 140 MB to its base, with numpy, libsndfile and ffmpeg in it."""
    base, whole = (each["Size"] / MEGABYTE for each in (base_of(name), inspect_image(image)))
    figure(f"{name}'s image: {whole:.1f} MB, base {base:.1f} MB, added {whole - base:.1f} MB")

    assert 20 < whole - base <= MOST_MB


def test_base(name, image):
    """The image consists of its base's layers and a few of our own."""
    base, whole = (each["RootFS"]["Layers"] for each in (base_of(name), inspect_image(image)))

    assert base == whole[: len(base)]
    assert len(whole) - len(base) <= 4


def test_program(name, image):
    """The image starts the program itself, without a shell that would not pass signals on."""
    config = inspect_image(image)["Config"]

    assert [name] == config["Entrypoint"]
    assert "10001:10001" == config["User"]
    assert ["CMD", "python", "-m", "sonoduct.runtime.health"] == config["Healthcheck"]["Test"][:4]
    assert version("sonoduct") == docker("run", "--rm", image, "--version").strip()


def test_the_other_program_is_not_there(name, image):
    """Each image has the packages that it runs, and not the other service."""
    (other,) = {"sender", "receiver"} - {name}
    find = ("-name", other, "-o", "-name", "pytest", "-o", "-name", f"{other}*.py")

    assert "" == run(image, "find", "/opt/sonoduct", *find)
    assert "" == run(
        image,
        "python",
        "-c",
        f"import {name}, sonoduct.audio.decoding, sonoduct.runtime, sonoduct.wire, soundfile",
    )


def test_labels(name, image):
    """The labels have the purpose, the licence and the version."""
    labels = inspect_image(image)["Config"]["Labels"]
    oci = {key.removeprefix("org.opencontainers.image."): labels[key] for key in labels}

    assert f"Sonoduct {name}" == oci["title"]
    assert ("Apache-2.0", version("sonoduct")) == (oci["licenses"], oci["version"])
    assert oci["description"]
    assert oci["revision"]


def test_nothing_builds_or_installs(image):
    """There is no compiler, and no installer of packages beside the program's own."""
    tools = "cc c++ gcc g++ clang tcc make cmake as ld nasm git curl wget"

    assert "" == run(image, "sh", "-c", f"for each in {tools}; do command -v $each; done; true")
    assert "" == run(image, "sh", "-c", "ls /opt/sonoduct/bin | grep pip; true")
    with pytest.raises(CommandFailedError, match="No module named 'pip'"):
        run(image, "python", "-c", "import pip")


def test_no_file_gives_rights(image):
    """No program of the image makes its user another one, or another group."""
    search = ("find", "/", "-xdev", "-type", "f", "-perm", "/6000")

    assert "" == run(image, *search, user="0")


def test_licence_of_ffmpeg(image):
    """The image has ffmpeg's licence, and tells how ffmpeg was built."""
    files = run(image, "ls", "/usr/share/doc/ffmpeg").split()

    assert {"BUILD", "COPYING.LGPLv2.1", "LICENSE.md", "copyright"} == set(files)
    assert "--enable-gpl" not in run(image, "cat", "/usr/share/doc/ffmpeg/BUILD")


def test_sbom(name, image):
    """The list of components that `make sbom` makes has every package of both kinds, and ffmpeg."""
    program = (ROOT / "deploy" / "sbom.py").read_text()
    found = json.loads(run(image, "python", "-c", program, f"sonoduct-{name}"))
    parts = {each["name"]: each for each in found["components"]}
    debian = run(image, "dpkg-query", "-f", "${Package} ${Version}\n", "-W").splitlines()
    build = run(image, "cat", "/usr/share/doc/ffmpeg/BUILD")

    assert f"sonoduct-{name}" == found["metadata"]["component"]["name"]
    assert {"sonoduct", "numpy", "soundfile", "python", "ffmpeg"} <= set(parts)
    assert set(debian) == {
        f"{each['name']} {each['version']}"
        for each in found["components"]
        if each["purl"].startswith("pkg:deb/") and each["name"] != "ffmpeg"
    }
    inside = {each["name"] for each in parts["soundfile"]["components"]}
    assert {"libsndfile", "flac", "vorbis", "opus", "mpg123", "libogg", "lame"} == inside
    assert parts["ffmpeg"]["version"] in build
    for source in parts["ffmpeg"]["externalReferences"]:
        assert source["hashes"][0]["content"] in build
