"""The list of components names what the locked wheels bring along."""

import ast
import re
import sys
from importlib.metadata import distribution
from pathlib import Path

import pytest

from deploy import sbom

ROOT = Path(__file__).parents[2]
LOCKED = re.findall(
    r"^([a-z0-9-]+)==",
    "".join((ROOT / "requirements" / f"{each}.txt").read_text() for each in ("sender", "receiver")),
    re.MULTILINE,
)
PURL = re.compile(r"pkg:(pypi|deb|cargo|github|generic)/[^@ ]+@[^ ]+")

STATUS = """Package: libc6
Status: install ok installed
Architecture: amd64
Version: 2.41-12+deb13u2
Description: GNU C Library
 Package: not-a-package

Package: gone
Status: deinstall ok config-files
Architecture: amd64
Version: 1

Package: bsdutils
Status: install ok installed
Architecture: amd64
Version: 1:2.41-5
"""
BUILD = f"""Built unmodified from the Debian source package ffmpeg 7:7.1.5-0+deb13u1:
{"1" * 64}  ffmpeg_7.1.5.orig.tar.xz
  configuration:
"""


@pytest.fixture(name="packages", scope="module")
def _packages():
    """Return the components of the packages that images install."""
    found = (distribution(name) for name in sorted(set(LOCKED)))
    return {each["name"]: each for each in sbom.python_packages(found)}


@pytest.fixture(name="root")
def _root(tmp_path):
    for name, text in {
        "etc/os-release": "ID=debian\nVERSION_CODENAME=trixie\n",
        "var/lib/dpkg/status": STATUS,
        "usr/share/doc/ffmpeg/BUILD": BUILD,
    }.items():
        path = tmp_path / name
        path.parent.mkdir(parents=True)
        path.write_text(text)
    return tmp_path


def nested(components):
    for each in components:
        yield each
        yield from nested(each.get("components", ()))


def test_every_locked_package_is_named(packages):
    """Each package that an image installs has its name, its version and its address."""
    assert set(LOCKED) == set(packages)
    for name, each in packages.items():
        assert distribution(name).version == each["version"]
        assert f"pkg:pypi/{name}@{each['version']}" == each["purl"]


@pytest.mark.skipif(sys.platform != "linux", reason="the wheels of images are those of Linux")
def test_every_library_of_the_table_is_in_a_wheel(packages):
    """None is missing, and each but libffi has its version: otherwise the table is out of date."""
    found = {each["name"]: each for each in nested(packages.values())}
    beside = {name for name, *_ in sbom.UNSAID.values()}

    for name in {each.name for each in sbom.LIBRARIES} | beside:
        assert name in found
        assert name == "libffi" or re.fullmatch(r"\d+(\.\d+)+", found[name]["version"])
    assert {"1.3.5"} == {found["libogg"]["version"]}
    assert {"bcrypt", "pyo3"} <= {each["name"] for each in packages["bcrypt"]["components"]}


@pytest.mark.skipif(sys.platform != "linux", reason="the wheels of images are those of Linux")
def test_no_library_in_a_wheel_is_left_out():
    """Each file of machine code that is no module of Python is one that the table knows."""
    for name in sorted(set(LOCKED)):
        for path in sbom.shared_objects(distribution(name)):
            module = re.search(r"\.(cpython-\d+[\w-]*|abi3)\.so$", path.name)

            assert module or list(sbom.libraries_in(path)), path


def test_packages_of_the_distribution(root):
    """Those that are installed are named, with version, architecture and release."""
    assert [
        "pkg:deb/debian/libc6@2.41-12%2Bdeb13u2?arch=amd64&distro=trixie",
        "pkg:deb/debian/bsdutils@1%3A2.41-5?arch=amd64&distro=trixie",
    ] == [each["purl"] for each in sbom.debian_packages(root)]


def test_ffmpeg_has_its_version_and_the_checksums_of_its_source(root, tmp_path):
    """Both come from what the build has written; a build that wrote neither is an error."""
    (found,) = sbom.ffmpeg(root)

    assert ("ffmpeg", "7.1.5") == (found["name"], found["version"])
    (source,) = found["externalReferences"]
    assert [{"alg": "SHA-256", "content": "1" * 64}] == source["hashes"]
    (root / "usr/share/doc/ffmpeg/BUILD").write_text("hello")
    with pytest.raises(ValueError, match="no version and checksums"):
        list(sbom.ffmpeg(root))
    (root / "usr/share/doc/ffmpeg/BUILD").unlink()
    assert [] == list(sbom.ffmpeg(root))


def test_the_document(packages, root):
    """It has the parts that CycloneDX 1.6 asks for, and each reference stands for one component."""
    parts = [*packages.values(), *sbom.debian_packages(root), *sbom.ffmpeg(root)]
    found = sbom.document("sonoduct-sender", parts)
    every = list(nested(found["components"]))
    references = [each["bom-ref"] for each in every]

    assert ("CycloneDX", "1.6", 1) == tuple(
        found[key] for key in ("bomFormat", "specVersion", "version")
    )
    assert re.fullmatch(
        r"urn:uuid:[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}", found["serialNumber"]
    )
    assert packages["numpy"] in found["components"]
    assert len(references) == len(set(references))
    for each in every:
        assert each["type"] in ("library", "application", "platform")
        assert each["name"] == "libffi" or PURL.fullmatch(each["purl"])
    ((own, depends),) = [(each["ref"], each["dependsOn"]) for each in found["dependencies"]]
    assert "sonoduct-sender" == own == found["metadata"]["component"]["bom-ref"]
    assert {each["bom-ref"] for each in found["components"]} == set(depends)


def test_it_needs_no_package():
    """It runs in an image by standard input, with Python's own library only."""
    tree = ast.parse((ROOT / "deploy" / "sbom.py").read_text())
    imports = [each for each in ast.walk(tree) if isinstance(each, ast.Import | ast.ImportFrom)]
    named = {getattr(each, "module", None) or each.names[0].name for each in imports}

    assert named
    assert {each.partition(".")[0] for each in named} <= sys.stdlib_module_names
