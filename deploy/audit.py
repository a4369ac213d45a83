"""
Asks for known vulnerabilities of every locked package, with `pip-audit --strict`: `make audit`.

Those that audit.toml allows pass, each with a reason and until its date. With `--list` only that
file is checked, which needs no network.

First the service is asked about a package with a vulnerability that is known for sure. If it knows
none, it cannot be asked from here: then the program says so, and exits with 0.
"""

from __future__ import annotations

import argparse
import json
import re
import subprocess
import sys
import tempfile
import tomllib
from collections.abc import Iterator, Mapping, Sequence
from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from typing import Any, Final

from packaging.requirements import Requirement

ROOT: Final = Path(__file__).parents[1]
ALLOWED: Final = ROOT / "deploy" / "audit.toml"
PYTHONS: Final = ("3.11", "3.12", "3.13")
"""Versions that pyproject.toml names: some packages are locked in one version for each."""

UNASKED: Final = 2
"""Exit code if nothing could be asked: that is not the same as no vulnerability."""

KNOWN: Final = "urllib3==1.24.1"
"""It has vulnerabilities, such as CVE-2019-11324."""

LONGEST: Final = timedelta(days=180)


def allowed(text: str, today: date) -> list[str]:
    """
    Return the ids of the vulnerabilities that *text*, the TOML of the list, allows.

    Raises:
        ValueError: if an entry has no id, package, reason or date, or its date is past or too far.
    """
    found = []
    for entry in tomllib.loads(text).get("allowed", []):
        name = entry.get("id") or "an entry without id"
        for key in ("id", "package", "reason"):
            if not isinstance(entry.get(key), str) or not entry[key].strip():
                raise ValueError(f"{name}: no {key}, expected one")
        until = entry.get("until")
        if type(until) is not date:
            raise ValueError(f"{name}: until {until!r}, expected a date")
        if until < today:
            raise ValueError(f"{name}: allowed until {until}, expected a later date, or no entry")
        if until > today + LONGEST:
            raise ValueError(f"{name}: until {until}, expected at most {LONGEST.days} days ahead")
        if more := entry.keys() - {"id", "package", "reason", "until"}:
            raise ValueError(f"{name}: {', '.join(sorted(more))}, expected no other keys")
        found.append(entry["id"])
    return found


def locked(texts: Sequence[str], python: str) -> list[str]:
    """Return the packages in *texts*, locked requirements, that *python* gets, each once."""
    environment = {"python_version": python, "python_full_version": f"{python}.0"}
    found = set()
    for line in re.findall(r"^([A-Za-z0-9].*?==.*?)\s*\\?$", "\n".join(texts), re.MULTILINE):
        each = Requirement(line)
        if each.marker is None or each.marker.evaluate(environment):
            found.add(f"{each.name}{each.specifier}")
    return sorted(found)


def lists(folder: Path) -> Iterator[tuple[str, list[str]]]:
    """Yield each set of packages that is installed together somewhere, with its name."""
    for path in sorted(folder.glob("*.txt")):
        for python in PYTHONS:
            yield f"{path.name}, Python {python}", locked([path.read_text()], python)


def ask(packages: Sequence[str], ignored: Sequence[str]) -> tuple[int, str, Mapping[str, Any]]:
    """Return the exit code of pip-audit, its last words, and what it has found."""
    with tempfile.TemporaryDirectory() as folder:
        requirements, report = Path(folder, "requirements.txt"), Path(folder, "report.json")
        requirements.write_text("".join(f"{each}\n" for each in packages))
        command = [
            *(sys.executable, "-m", "pip_audit", "--strict", "--no-deps", "--disable-pip"),
            *("--requirement", str(requirements), "--progress-spinner", "off"),
            *("--format", "json", "--output", str(report)),
            *(option for each in ignored for option in ("--ignore-vuln", each)),
        ]
        ended = subprocess.run(command, capture_output=True, text=True, check=False)  # noqa: S603  # ours
        found = json.loads(report.read_text()) if report.exists() else {}
        words = [line for line in ended.stderr.splitlines() if line.startswith("ERROR")]
        return ended.returncode, "\n".join(words[-1:]), found


def vulnerable(found: Mapping[str, Any]) -> list[str]:
    """Return a line for each vulnerability in a report of pip-audit."""
    return [
        f"{each['name']} {each['version']}: {fault['id']} {' '.join(fault['aliases'])}"
        for each in found.get("dependencies", [])
        for fault in each.get("vulns", [])
    ]


def main(arguments: Sequence[str]) -> int:
    """Audit, or check the list only; return the exit code."""
    parser = argparse.ArgumentParser(description="Asks for vulnerabilities of locked packages.")
    parser.add_argument("--list", action="store_true", help="check the list of allowed ones only")
    options = parser.parse_args(arguments)
    try:
        ignored = allowed(ALLOWED.read_text(), datetime.now(UTC).date())
    except ValueError as exc:
        print(f"{ALLOWED.name}: {exc}", file=sys.stderr)
        return 1
    if options.list:
        return 0
    _, words, found = ask([KNOWN], [])
    if not vulnerable(found):
        print(f"NOTHING WAS AUDITED: no service that knows vulnerabilities answers here. {words}")
        return UNASKED
    failed = 0
    for name, packages in lists(ROOT / "requirements"):
        code, words, found = ask(packages, ignored)
        print(f"{name}: {len(packages)} packages, {'ok' if code == 0 else 'FAILED'}")
        if code:
            failed = 1
            print("\n".join(vulnerable(found) or [words]))
    return failed


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
