"""How Grafana writes a value: units, mappings and colours, of the JSON of a panel."""

import math
from collections.abc import Iterable, Mapping, Sequence
from itertools import cycle
from typing import Any, Final

from matplotlib.ticker import MaxNLocator

COLOURS: Final = {
    "green": "#73BF69",
    "yellow": "#F2CC0C",
    "orange": "#FF9830",
    "red": "#F2495C",
    "blue": "#5794F2",
    "purple": "#B877D9",
}
PALETTE: Final = (
    "#73BF69", "#F2CC0C", "#5794F2", "#FF9830", "#B877D9",
    "#2BC4C4", "#A0714F", "#F4A6D7", "#8E9AAF", "#2E7D5B", "#D6E685", "#4A4FCF",
)  # fmt: skip
"""Like Grafana's, without the reds: a line that is red by chance looks like an alarm."""

_SECONDS: Final = ((86400, "day"), (3600, "h"), (60, "min"), (1, "s"), (1e-3, "ms"), (1e-6, "µs"))
_DECIMAL: Final = ((1e12, "T"), (1e9, "G"), (1e6, "M"), (1e3, "k"), (1, ""))
_BINARY: Final = ((2**40, "TiB"), (2**30, "GiB"), (2**20, "MiB"), (2**10, "KiB"), (1, "B"))
_SCALES: Final[Mapping[str, tuple[Sequence[tuple[float, str]], str]]] = {
    "s": (_SECONDS, ""),
    "bytes": (_BINARY, ""),
    "Bps": (_DECIMAL, "B/s"),
}


TICKS: Final = 4
ROUNDING: Final = 1.0005
"""So that 0.9999 ms is written as 1 ms."""


def written(value: float, unit: str, decimals: int | None = None) -> str:
    """Return *value* as Grafana writes it in *unit*."""
    if not math.isfinite(value):
        return "∞" if value > 0 else "-"
    size, name = _scale(value, unit)
    return f"{_number(value / size, decimals)}{name}"


def ticks(top: float, unit: str, *, whole: bool = False) -> dict[float, str]:
    """Return round values of an axis from 0 to *top*, and how they are written."""
    size, name = _scale(top, unit)
    locator = MaxNLocator(TICKS, steps=[1, 2, 2.5, 5, 10], integer=whole)
    return {at * size: f"{at:g}{name}" for at in map(float, locator.tick_values(0, top / size))}


def _scale(value: float, unit: str) -> tuple[float, str]:
    """Return by what *value* is divided before it is written, and the unit behind it."""
    if unit == "percentunit":
        return 0.01, "%"
    if unit.startswith("suffix:"):
        return 1, f" {unit.removeprefix('suffix:').strip()}"
    scale, suffix = _SCALES.get(unit, (_DECIMAL, ""))
    of_one = next(each for each in scale if each[0] == 1)
    size, name = next((each for each in scale if abs(value) * ROUNDING >= each[0]), of_one)
    return size, f" {name}{suffix}".rstrip()


def _number(value: float, decimals: int | None) -> str:
    """Return *value* with three digits, or with *decimals* after its point."""
    if decimals is None:
        decimals = max(0, 2 - math.floor(math.log10(abs(value)))) if value else 0
    text = f"{value:.{decimals}f}"
    return text.rstrip("0").rstrip(".") if "." in text else text


def colour(name: str) -> str:
    """Return the colour that Grafana calls *name*."""
    return COLOURS.get(name, name)


def mapped(value: float, config: Mapping[str, Any]) -> tuple[str, str] | None:
    """Return the text and the colour that *config* maps *value* to, if it does."""
    for mapping in config.get("mappings", ()):
        if found := mapping["options"].get(f"{value:g}"):
            return found["text"], colour(found["color"])
    return None


def by_threshold(value: float, config: Mapping[str, Any], text: str) -> str:
    """Return the colour of *value* by the thresholds of *config*; *text* is the default."""
    name = "text"
    for step in config.get("thresholds", {}).get("steps", ()):
        if step.get("value") is None or value >= step["value"]:
            name = step["color"]
    return text if name == "text" else colour(name)


def by_name(names: Iterable[str]) -> dict[str, str]:
    """Return a colour for each name, in their order; a long list repeats them at its end."""
    return dict(zip(dict.fromkeys(names), cycle(PALETTE), strict=False))
