"""Prints results; a steady machine's results go into a JSON file and the table in README.md."""

import json
import platform
import statistics
import sys
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass
from importlib.metadata import version
from pathlib import Path

from .control import unsteady
from .results import Case

HERE = Path(__file__).parent
WHOLE = 100  # from here on, figures have no decimals
VERSIONS = ("websockets", "uvloop", "numpy", "soundfile", "xxhash", "msgspec")


def machine():
    """Return what the figures depend on."""
    cpu = [line for line in Path("/proc/cpuinfo").read_text().splitlines() if "model name" in line]
    memory = int(Path("/proc/meminfo").read_text().split()[1]) / 1024**2
    return {
        "date": time.strftime("%Y-%m-%d", time.gmtime()),
        "cpus": f"{len(cpu)} x {cpu[0].partition(': ')[2] if cpu else platform.machine()}",
        "memory": f"{memory:.0f} GiB",
        "system": f"Linux {platform.release().partition('-')[0]}",
        "python": platform.python_version(),
        **{name: version(name) for name in VERSIONS},
    }


def markdown(case):
    """Return a case as Markdown: a table of medians with spreads, then the goals."""
    columns = list(dict.fromkeys(name for each in case.figures.values() for name in each))
    lines = [f"### {case.name}", "", f"{case.work[0].upper()}{case.work[1:]}.", ""]
    lines += [f"| contender | {' | '.join(columns)} |", f"| --- |{' ---: |' * len(columns)}"]
    for contender, figures in case.figures.items():
        cells = [cell(figures.get(column, [])) for column in columns]
        lines.append(f"| {contender} | {' | '.join(cells)} |")
    lines += [f"| {name} | absent: {why} |" for name, why in case.absent.items()]
    return "\n".join([*lines, "", *map(_goal, case.goals), ""])


def cell(values):
    """Return the median of *values*, and their spread if there is one."""
    if not values:
        return ""
    low, middle, high = min(values), statistics.median(values), max(values)
    if low == high:
        return _number(middle)
    return f"{_number(middle)} ({_number(low)} to {_number(high)})"


def _number(value):
    return f"{value:.3g}" if abs(value) < WHOLE else f"{value:.0f}"


def _goal(goal):
    bounds = (("at least", goal["least"]), ("at most", goal["most"]))
    wanted = " and ".join(f"{word} {bound:g}" for word, bound in bounds if bound is not None)
    seen = "not measured" if goal["reached"] is None else _number(goal["reached"])
    if not wanted:
        return f"* {goal['goal']}: {seen}, for comparison"
    mark = {True: "reached", False: "**missed**", None: "unknown"}[goal["met"]]
    return f"* {goal['goal']}: {seen}, goal {wanted}: {mark}"


@dataclass(frozen=True)
class Published:
    """Where results are published."""

    results: Path = HERE / "results.json"
    readme: Path = HERE / "README.md"
    section: str = "results"
    """The name in the two marks of the README between which the tables stand."""
    table: Callable[[Case], str] = markdown


def publish(cases, medians, where):
    """
    Put *cases* into both files; cases that were not run stay unchanged.

    Unless the control was steady: then say so, and change nothing.

    Args:
        cases: what was measured.
        medians: of the control, as `unsteady` takes them.
        where: the files.

    Returns:
        Whether the results were published.
    """
    if why := unsteady(medians):
        print(f"{where.results.name} and its tables stay as they were: {why}", file=sys.stderr)
        return False
    known = json.loads(where.results.read_text()) if where.results.exists() else {}
    for case in cases:
        known[case.name] = asdict(case) | {"machine": machine()}
    where.results.write_text(json.dumps(known, indent=1) + "\n")
    tables = []
    for fields in known.values():
        about = fields.pop("machine")
        said = ", ".join(f"{name} {value}" for name, value in about.items())
        tables.append(f"{where.table(Case(**fields))}\n{said[0].upper()}{said[1:]}.\n")
    begin, end = (f"<!-- {where.section} {side} -->" for side in ("begin", "end"))
    before, _, rest = where.readme.read_text().partition(begin)
    text = "\n".join(tables)
    where.readme.write_text(f"{before}{begin}\n\n{text}\n{end}{rest.partition(end)[2]}")
    return True
