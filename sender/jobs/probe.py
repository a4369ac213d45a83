"""``sender probe``: the format of files, and the decoder that each would go through."""

from __future__ import annotations

import json
import sys
from collections.abc import Iterable, Iterator
from dataclasses import asdict
from pathlib import Path

from rich.console import Console
from rich.table import Table

from sender.settings import ProbeSettings
from sonoduct.audio.decoding import DecodeError, DecodeOptions, ProbeResult, probe
from sonoduct.text import clean

from .find import find_files, summary

Line = tuple[str, ProbeResult | str]
"""A file's name, and the result, or the reason why there is none."""


def probe_paths(
    paths: Iterable[str], settings: ProbeSettings, results: Console, faults: Console
) -> int:
    """Print a line for each file of *paths*; return 1 if one cannot be decoded."""
    lines = _lines(paths, settings, faults)
    if settings.output == "json":
        return _print_json(lines)
    return _print_table(lines, results, faults)


def _lines(paths: Iterable[str], settings: ProbeSettings, faults: Console) -> Iterator[Line]:
    for path in paths:
        found = find_files(path)
        if found.left_out:
            kinds = clean(summary(found.left_out))
            faults.print(f"{clean(path)}: left out: {kinds}", soft_wrap=True)
        for fault in found.faults:
            yield clean(fault.path), clean(fault.reason)
        for file in found.files:
            yield clean(file), _look(file, settings.decode_options, count=settings.count)


def _look(path: Path, options: DecodeOptions, *, count: bool) -> ProbeResult | str:
    try:
        return probe(path, options, isolated=False, count=count)
    except DecodeError as exc:
        return clean(exc)
    except OSError as exc:
        return clean(exc.strerror or exc)


def _print_json(lines: Iterable[Line]) -> int:
    """Print a line for each file as soon as its result is known."""
    bad = False
    for name, result in lines:
        bad = bad or isinstance(result, str)
        facts = {"error": result} if isinstance(result, str) else asdict(result)
        sys.stdout.write(json.dumps({"name": name} | facts) + "\n")
        sys.stdout.flush()
    return int(bad)


def _print_table(lines: Iterable[Line], results: Console, faults: Console) -> int:
    table = Table(box=None, pad_edge=False)
    table.add_column("file", overflow="fold")
    for heading in ("container", "codec", "subtype"):
        table.add_column(heading, overflow="fold")
    for heading in ("samplerate", "channels", "frames"):
        table.add_column(heading, justify="right")
    for heading in ("", "encoding", "decoder"):
        table.add_column(heading)
    bad = False
    for name, result in lines:
        if isinstance(result, str):
            bad = True
            faults.print(f"{name}: {result}", soft_wrap=True)
        else:
            table.add_row(name, *_cells(result))
    if table.rows:
        results.print(table)
    return int(bad)


def _cells(result: ProbeResult) -> list[str]:
    how = "counted" if result.counted else "claimed"
    return [
        result.container,
        result.codec,
        result.subtype,
        str(result.samplerate),
        str(result.channels),
        "-" if result.frames is None else str(result.frames),
        "" if result.frames is None else how,
        str(result.encoding),
        result.decoder,
    ]
