"""
Prints what an image consists of, as a CycloneDX 1.6 document. `make sbom` runs it in each image.

It needs only Python's own library, so an image need not have it. It names the Python packages, the
libraries inside their wheels, the packages of the distribution, Python itself, and ffmpeg.
"""

from __future__ import annotations

import json
import os
import platform
import re
import sys
import uuid
from collections.abc import Iterable, Iterator
from datetime import UTC, datetime
from importlib.metadata import Distribution, distributions
from pathlib import Path
from typing import Any, Final, NamedTuple

Component = dict[str, Any]


class Library(NamedTuple):
    """A library that wheels bring along, and how its version is found in a file."""

    name: str
    found_in: str
    """Pattern of the name of the files that may have it."""
    version: bytes
    """
    Pattern with the version as its group, to be found in the file's name if it starts with `/`.
    Without a group: the library does not say its version.
    """
    purl: str
    licence: str


LIBRARIES: Final = (
    Library(
        "libsndfile",
        r"libsndfile",
        rb"libsndfile-(\d+\.\d+\.\d+)",
        "pkg:github/libsndfile/libsndfile@{}",
        "LGPL-2.1-or-later",
    ),
    Library(
        "flac",
        r"libsndfile",
        rb"reference libFLAC (\d+\.\d+\.\d+)",
        "pkg:github/xiph/flac@{}",
        "BSD-3-Clause",
    ),
    Library(
        "vorbis",
        r"libsndfile",
        rb"Xiph\.Org libVorbis (\d+\.\d+\.\d+)",
        "pkg:github/xiph/vorbis@v{}",
        "BSD-3-Clause",
    ),
    Library(
        "opus",
        r"libsndfile",
        rb"libopus (\d+(?:\.\d+)+)",
        "pkg:github/xiph/opus@v{}",
        "BSD-3-Clause",
    ),
    Library(
        "mpg123", r"libsndfile", rb"\0(1\.[23]\d\.\d+)\0", "pkg:generic/mpg123@{}", "LGPL-2.1-only"
    ),
    Library("lame", r"libsndfile", rb"LAME(3\.\d+)", "pkg:generic/lame@{}", "LGPL-2.0-or-later"),
    Library(
        "openblas",
        r"openblas",
        rb"OpenBLAS (\d+\.\d+\.\d+)",
        "pkg:github/OpenMathLib/OpenBLAS@v{}",
        "BSD-3-Clause",
    ),
    Library(
        "libgfortran",
        r"libgfortran",
        rb"/\.so\.(\d+\.\d+\.\d+)",
        "pkg:generic/libgfortran@{}",
        "GPL-3.0-or-later WITH GCC-exception-3.1",
    ),
    Library(
        "libquadmath",
        r"libquadmath",
        rb"/\.so\.(\d+\.\d+\.\d+)",
        "pkg:generic/libquadmath@{}",
        "LGPL-2.1-or-later",
    ),
    Library(
        "soxr", r"soxr_ext", rb"libsoxr-(\d+\.\d+\.\d+)", "pkg:generic/soxr@{}", "LGPL-2.1-or-later"
    ),
    Library("libuv", r"^loop\.", rb"\0(1\.[45]\d\.\d+)\0", "pkg:github/libuv/libuv@v{}", "MIT"),
    Library("libyaml", r"^_yaml\.", rb"\0(0\.2\.\d+)\0", "pkg:github/yaml/libyaml@{}", "MIT"),
    Library(
        "zlib-ng",
        r"^zlib_ng\.",
        rb"zlib-ng (\d+\.\d+\.\d+)",
        "pkg:github/zlib-ng/zlib-ng@{}",
        "Zlib",
    ),
    Library("libffi", r"^_cffi_backend\.", rb"libffi failed to build", "pkg:generic/libffi", "MIT"),
    Library(
        "xxhash",
        r"^_xxhash\.",
        rb"\0(0\.8\.\d+)\0",
        "pkg:github/Cyan4973/xxHash@v{}",
        "BSD-2-Clause",
    ),
)
"""Tests compare it with the wheels that are locked: each library must be found in them."""

UNSAID: Final = {
    ("libsndfile", "1.2.2"): ("libogg", "1.3.5", "pkg:github/xiph/ogg@v{}", "BSD-3-Clause"),
}
"""By the library beside which they are built: those that do not say their version in the file."""

CRATE: Final = re.compile(rb"/([a-z0-9_]+(?:-[a-z0-9_]+)*)-(\d+\.\d+\.\d+)/src/")
"""A library of Rust in a program's messages, such as /bcrypt-0.17.1/src/lib.rs."""


def component(kind: str, name: str, version: str, purl: str, **more: Any) -> Component:
    """Return a component, whose reference in the document is its *purl*; *version* may be empty."""
    known = {"version": version} if version else {}
    return {"type": kind, "bom-ref": purl, "name": name, **known, "purl": purl, **more}


def _licence(expression: str) -> list[dict[str, str]]:
    return [{"expression": expression}]


def python_packages(found: Iterable[Distribution]) -> Iterator[Component]:
    """Yield each installed package, with the libraries in its wheel as its components."""
    for each in sorted(found, key=lambda each: each.name.lower()):
        name = re.sub(r"[-_.]+", "-", each.name).lower()
        more: Component = {}
        if "License-Expression" in each.metadata:
            more["licenses"] = _licence(each.metadata["License-Expression"])
        if inside := list(libraries_of(each)):
            more["components"] = inside
        yield component("library", name, each.version, f"pkg:pypi/{name}@{each.version}", **more)


def shared_objects(distribution: Distribution) -> Iterator[Path]:
    """Yield the paths of a package's files of machine code."""
    for file in distribution.files or ():
        if re.search(r"\.so(\.\d+)*$", file.name):
            yield Path(str(distribution.locate_file(file)))


def libraries_of(distribution: Distribution) -> Iterator[Component]:
    """Yield the libraries in a package's wheel, each once."""
    seen = set()
    for path in shared_objects(distribution):
        for each in libraries_in(path):
            if each["purl"] not in seen:
                seen.add(each["purl"])
                # Of Rust one crate may be in two wheels, and a reference stands for one thing.
                yield {**each, "bom-ref": f"{distribution.name}/{each['purl']}"}


def libraries_in(path: Path) -> Iterator[Component]:
    """Yield the libraries in one file."""
    data = path.read_bytes()
    for each in LIBRARIES:
        if not re.search(each.found_in, path.name):
            continue
        in_name = each.version.startswith(b"/")
        pattern, place = (each.version[1:], path.name.encode()) if in_name else (each.version, data)
        if match := re.search(pattern, place):
            version = match[1].decode() if match.groups() else ""
            purl = each.purl.format(version)
            yield component("library", each.name, version, purl, licenses=_licence(each.licence))
            if beside := UNSAID.get((each.name, version)):
                name, version, purl, licence = beside
                purl = purl.format(version)
                yield component("library", name, version, purl, licenses=_licence(licence))
    for name, version in sorted(set(CRATE.findall(data))):
        purl = f"pkg:cargo/{name.decode()}@{version.decode()}"
        yield component("library", name.decode(), version.decode(), purl)


def debian_packages(root: Path) -> Iterator[Component]:
    """Yield the packages of the distribution, from dpkg's own list."""
    release = fields((root / "etc/os-release").read_text(), "=")
    codename = release.get("VERSION_CODENAME", "").strip('"')
    for paragraph in (root / "var/lib/dpkg/status").read_text().split("\n\n"):
        facts = fields(paragraph, ": ")
        if "installed" not in facts.get("Status", "").split():
            continue
        name, version, arch = (facts[key] for key in ("Package", "Version", "Architecture"))
        escaped = version.replace("+", "%2B").replace(":", "%3A")
        purl = f"pkg:deb/debian/{name}@{escaped}?arch={arch}&distro={codename}"
        yield component("library", name, version, purl)


def fields(text: str, between: str) -> dict[str, str]:
    """Return the lines of *text* that name a value; lines that continue one are left out."""
    parts = (line.partition(between) for line in text.splitlines() if not line.startswith(" "))
    return {key: value for key, separator, value in parts if separator}


def ffmpeg(root: Path) -> Iterator[Component]:
    """Yield the image's own ffmpeg, with the checksums of its source; see deploy/ffmpeg."""
    path = root / "usr/share/doc/ffmpeg/BUILD"
    if not path.exists():
        return
    text = path.read_text()
    package = re.search(r"Debian source package ffmpeg (\S+):", text)
    sums = re.findall(r"^([0-9a-f]{64})  (ffmpeg_\S+)$", text, re.MULTILINE)
    if package is None or not sums:
        raise ValueError(f"{path}: no version and checksums, expected those of deploy/ffmpeg")
    upstream = re.sub(r"^\d+:|-[^-]*$", "", package[1])
    escaped = package[1].replace("+", "%2B").replace(":", "%3A")
    yield component(
        "application",
        "ffmpeg",
        upstream,
        f"pkg:deb/debian/ffmpeg@{escaped}?arch=source",
        licenses=_licence("LGPL-2.1-or-later"),
        externalReferences=[
            {
                "type": "source-distribution",
                "url": name,
                "hashes": [{"alg": "SHA-256", "content": digest}],
            }
            for digest, name in sums
        ],
    )


def document(name: str, components: Iterable[Component]) -> Component:
    """Return the document about the image *name*."""
    parts = sorted(components, key=lambda each: each["bom-ref"])
    own = next((each["version"] for each in parts if each["name"] == "sonoduct"), "0")
    revision = os.environ.get("SONODUCT_REVISION", "unknown")
    return {
        "$schema": "http://cyclonedx.org/schema/bom-1.6.schema.json",
        "bomFormat": "CycloneDX",
        "specVersion": "1.6",
        "serialNumber": f"urn:uuid:{uuid.uuid4()}",
        "version": 1,
        "metadata": {
            "timestamp": datetime.now(UTC).isoformat(timespec="seconds").replace("+00:00", "Z"),
            "component": {
                "type": "container",
                "bom-ref": name,
                "name": name,
                "version": own,
                "properties": [{"name": "revision", "value": revision}],
            },
        },
        "components": parts,
        "dependencies": [{"ref": name, "dependsOn": [each["bom-ref"] for each in parts]}],
    }


def main(name: str) -> None:
    """Print the document about the image in which this runs."""
    root = Path("/")
    python = platform.python_version()
    parts = [
        *python_packages(distributions()),
        *debian_packages(root),
        *ffmpeg(root),
        component(
            "platform",
            "python",
            python,
            f"pkg:generic/python@{python}",
            licenses=_licence("PSF-2.0"),
        ),
    ]
    json.dump(document(name, parts), sys.stdout, indent=1)
    sys.stdout.write("\n")


if __name__ == "__main__":
    main(sys.argv[1])
