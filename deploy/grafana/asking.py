"""Asks a Prometheus what Grafana would ask it for a panel."""

import json
import math
import re
import urllib.parse
import urllib.request
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final

SCRAPE_S: Final = 5.0
"""`timeInterval` of the data source."""
TIMEOUT_S: Final = 30.0


@dataclass(frozen=True)
class Series:
    """Values over time: seconds since 1970 and numbers, with NaN in each gap."""

    labels: Mapping[str, str]
    times: list[float]
    values: list[float]


@dataclass(frozen=True)
class Range:
    """The time that a dashboard shows, in seconds since 1970."""

    start: float
    end: float

    def step(self, points: int, at_least: str | None = None) -> float:
        """Return the seconds between two of at most *points* points, as `$__interval` has them."""
        nice = (1, 2, 5, 10, 15, 20, 30, 60, 120, 300, 600, 900, 1800, 3600, 7200, 21600, 86400)
        least = max(
            SCRAPE_S, seconds(at_least) if at_least else 0.0, (self.end - self.start) / points
        )
        return next((float(step) for step in nice if step >= least), least)


def seconds(duration: str) -> float:
    """Return the seconds of a *duration* such as `90s`, `15m` or `2h`."""
    number, unit = re.fullmatch(r"([\d.]+)([smhd])", duration).groups()  # type: ignore[union-attr]  # else the caller's fault
    return float(number) * {"s": 1, "m": 60, "h": 3600, "d": 86400}[unit]


@dataclass(frozen=True)
class Prometheus:
    """A Prometheus at an address, and the values of a dashboard's variables."""

    address: str
    variables: Mapping[str, str]
    """By name; those that are missing choose everything."""

    def over_time(self, expression: str, shown: Range, step: float) -> list[Series]:
        """Return the series of *expression*, one value each *step* seconds."""
        first = math.floor(shown.start / step) * step
        found = self._ask(
            "query_range",
            query=self._expand(expression, shown, step),
            start=first,
            end=shown.end,
            step=step,
        )
        return [_with_gaps(each["metric"], each["values"], step) for each in found]

    def at_end(self, expression: str, shown: Range) -> list[Series]:
        """Return the series of *expression*, with their value at the end of *shown*."""
        found = self._ask("query", query=self._expand(expression, shown, SCRAPE_S), time=shown.end)
        return [Series(each["metric"], [shown.end], [float(each["value"][1])]) for each in found]

    def _expand(self, expression: str, shown: Range, step: float) -> str:
        built_in = {
            "__rate_interval": f"{max(step + SCRAPE_S, 4 * SCRAPE_S):.0f}s",
            "__interval": f"{step:.0f}s",
            "__interval_ms": f"{1000 * step:.0f}",
            "__range": f"{shown.end - shown.start:.0f}s",
            "__range_s": f"{shown.end - shown.start:.0f}",
        }
        return re.sub(
            r"\$([a-z_]+)",
            lambda name: built_in.get(name[1]) or self.variables.get(name[1], ".+"),
            expression,
        )

    def _ask(self, path: str, **asked: object) -> list[dict[str, Any]]:
        address = f"{self.address}/api/v1/{path}?{urllib.parse.urlencode(asked)}"
        opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
        with opener.open(address, timeout=TIMEOUT_S) as answer:
            result: list[dict[str, Any]] = json.load(answer)["data"]["result"]
        return result


def _with_gaps(labels: Mapping[str, str], values: list[tuple[float, str]], step: float) -> Series:
    times: list[float] = []
    numbers: list[float] = []
    for time, value in values:
        if times and time - times[-1] > 1.5 * step:
            times.append(times[-1] + step)
            numbers.append(math.nan)
        times.append(float(time))
        numbers.append(float(value))
    return Series(labels, times, numbers)
