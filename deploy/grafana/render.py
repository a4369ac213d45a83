"""
Draws a dashboard from a Prometheus, so that it can be judged where no Grafana runs.

`python -m deploy.grafana.render overview --prometheus http://127.0.0.1:9090 -o overview.png`
"""

import argparse
import json
import math
import re
import time
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, Final, NamedTuple, TypeAlias

from matplotlib.axes import Axes
from matplotlib.figure import Figure

from deploy.grafana import values
from deploy.grafana.asking import Prometheus, Range, Series, seconds
from deploy.grafana.canvas import DPI, POINT_PX, THEMES, Box, Canvas, Theme

FOLDER: Final = Path(__file__).parent / "dashboards"
COLUMNS: Final = 24
ROW_PX: Final = 38
"""Grafana's: 30 pixels and a gap of 8."""
GAP_PX: Final = 8
HEAD_PX: Final = 92
TITLE_PX: Final = 28
LINE_PX: Final = 26
"""Of a table."""
LEGEND_PX: Final = 16
LEGEND_LINES: Final = 3
NUMBERS_ACROSS: Final = 8
TIMES_ACROSS: Final = 7
TIMES_GAP_PX: Final = 12
SMALLEST_TEXT: Final = 8.0
LARGEST_TEXT: Final = 22.0
MINUTE_S: Final = 60

Config: TypeAlias = Mapping[str, Any]
"""Part of the JSON of a dashboard."""
Row: TypeAlias = dict[str, float | str]
"""Of a table: values by the title of the column."""


class Mark(NamedTuple):
    """Something that happened: an annotation."""

    name: str
    colour: str
    start: float
    end: float


class Picture:
    """A dashboard being drawn."""

    def __init__(
        self, board: Config, prometheus: Prometheus, shown: Range, theme: Theme, width: int
    ) -> None:
        self.board = board
        self.prometheus = prometheus
        self.shown = shown
        grids = [panel["gridPos"] for panel in board["panels"]]
        height = HEAD_PX + ROW_PX * max(grid["y"] + grid["h"] for grid in grids)
        self.canvas = Canvas(width, height, theme)
        self.theme = theme
        self.marks: list[Mark] = []

    def draw(self) -> Figure:
        """Ask for everything and draw it."""
        self.marks = list(self._marks())
        self._head()
        draw = {
            "stat": self._stat,
            "timeseries": self._timeseries,
            "state-timeline": self._states,
            "table": self._table,
        }
        for panel in self.board["panels"]:
            box = self._box(panel["gridPos"])
            if panel["type"] == "row":
                title = f"⌄  {panel['title']}"
                self.canvas.text(box.x + 4, box.y + box.height / 2, title, 11, bold=True)
                continue
            self.canvas.frame(box)
            title = self.canvas.fitting(panel["title"], 10, box.width - 20, bold=True)
            self.canvas.text(box.x + 10, box.y + 14, title, 10, bold=True)
            draw[panel["type"]](panel, box.inside(0, TITLE_PX, 0, 0))
        return self.canvas.figure

    # -- The page ----------------------------------------------------------------------------------

    def _box(self, grid: Config) -> Box:
        column = (self.canvas.width - GAP_PX) / COLUMNS
        return Box(
            GAP_PX + grid["x"] * column,
            HEAD_PX + grid["y"] * ROW_PX,
            grid["w"] * column - GAP_PX,
            grid["h"] * ROW_PX - GAP_PX,
        )

    def _head(self) -> None:
        faint = self.theme.faint
        self.canvas.text(12, 24, self.board["title"], 15, bold=True)
        times = [time.localtime(each) for each in (self.shown.start, self.shown.end)]
        start, end = time.strftime("%Y-%m-%d %H:%M:%S", times[0]), time.strftime("%X", times[1])
        right = self.canvas.width - 12
        self.canvas.text(right, 24, f"{start} to {end}", 10, align="right", colour=faint)
        x = 12.0
        for variable in self.board["templating"]["list"]:
            value = variable["current"]["text"]
            value = self.prometheus.variables.get(variable["name"]) or value
            x += self.canvas.text(x, 54, variable["label"], colour=faint) + 6
            x += self.canvas.text(x, 54, value if isinstance(value, str) else ", ".join(value)) + 22
        x = 12.0
        for each in self.board["annotations"]["list"]:
            count = sum(mark.name == each["name"] for mark in self.marks)
            x += self.canvas.text(x, 78, "▲", 8, colour=values.colour(each["iconColor"])) + 5
            x += self.canvas.text(x, 78, f"{each['name']} ({count})", 9, colour=faint) + 16

    def _marks(self) -> Iterator[Mark]:
        step = self.shown.step(800)
        for each in self.board["annotations"]["list"]:
            for series in self.prometheus.over_time(each["expr"], self.shown, step):
                if each.get("useValueForTime"):
                    times = {value / 1000 for value in series.values if not math.isnan(value)}
                    spans = [(at, at) for at in sorted(times)]
                else:
                    spans = list(_runs(series, step))
                for start, end in spans:
                    if self.shown.start <= end and start <= self.shown.end:
                        yield Mark(each["name"], values.colour(each["iconColor"]), start, end)

    # -- Numbers -----------------------------------------------------------------------------------

    def _stat(self, panel: Config, box: Box) -> None:
        every = self._named(panel, box)
        found = [(name, series) for name, series in every if not math.isnan(series.values[-1])]
        if not found:
            self._say(panel["fieldConfig"]["defaults"].get("noValue", "No data"), box)
            return
        across = len(found) if len(found) <= NUMBERS_ACROSS else math.ceil(len(found) / 2)
        down = math.ceil(len(found) / across)
        width, height = (box.width - 12) / across, (box.height - 8) / down
        for place, (name, series) in enumerate(found):
            x, y = box.x + 6 + place % across * width, box.y + place // across * height
            self._number(panel, Box(x, y, width, height).inside(3, 2, 3, 2), name, series)

    def _number(self, panel: Config, cell: Box, name: str, series: Series) -> None:
        config, options = panel["fieldConfig"]["defaults"], panel["options"]
        named = options["textMode"] != "value"
        text, colour = self._value(series.values[-1], config)
        label = self.theme.text
        if options["colorMode"] == "background":
            self.canvas.rectangle(cell, colour)
            colour = label = "#FFFFFF"
        if options["graphMode"] == "area":
            self._sparkline(cell.inside(0, cell.height * 0.65, 0, 0), series, colour)
        if named:
            label_y = cell.y + cell.height * 0.24
            shown = self.canvas.fitting(name, 9, cell.width - 6)
            self.canvas.text(cell.middle, label_y, shown, 9, align="center", colour=label)
        size = min(LARGEST_TEXT, cell.height / POINT_PX * 0.42)
        while size > SMALLEST_TEXT and self.canvas.measure(text, size, bold=True) > cell.width - 8:
            size -= 1
        y = cell.y + cell.height * (0.62 if named else 0.36)
        self.canvas.text(cell.middle, y, text, size, align="center", colour=colour, bold=True)

    def _sparkline(self, box: Box, series: Series, colour: str) -> None:
        axes = self.canvas.axes(box)
        axes.axis("off")
        axes.fill_between(series.times, series.values, alpha=0.18, color=colour, linewidth=0)
        axes.plot(series.times, series.values, color=colour, linewidth=1)
        axes.set_xlim(self.shown.start, self.shown.end)
        axes.set_ylim(0, _highest([series]) * 1.1 or 1)

    # -- Over time ---------------------------------------------------------------------------------

    def _timeseries(self, panel: Config, box: Box) -> None:
        config = panel["fieldConfig"]["defaults"]
        found = self._named(panel, box)
        if not found:
            self._say("No data", box)
            return
        telling = {name for name, series in found if any(value > 0 for value in series.values)}
        names = sorted({name for name, _ in found}, key=lambda name: (name not in telling, name))
        colours = values.by_name(names) | _painted(panel)
        legend = self._legend([(name, colours[name]) for name in names], box)
        axes = self._time_axes(box.inside(66, 4, 14, legend + 22))
        least = config["custom"].get("axisSoftMax", 0)
        if config["custom"].get("drawStyle") == "bars":
            top = _bars(axes, found, colours, self._step(panel, box) * 0.8)
        else:
            top = 1.08 * _highest([series for _, series in found])
            for name, series in found:
                axes.plot(series.times, series.values, color=colours[name], linewidth=1.3)
                axes.fill_between(
                    series.times, series.values, color=colours[name], alpha=0.07, linewidth=0
                )
        top = config.get("max", max(top, least) or 1)
        axes.set_ylim(0, top)
        ticks = values.ticks(top, config.get("unit", "short"), whole=config.get("decimals") == 0)
        axes.set_yticks(list(ticks), list(ticks.values()))
        if config["custom"].get("thresholdsStyle", {}).get("mode") == "dashed":
            for step in config["thresholds"]["steps"][1:]:
                if step["value"] <= top:
                    colour = values.colour(step["color"])
                    axes.axhline(step["value"], color=colour, linewidth=1, linestyle=(0, (5, 4)))

    def _states(self, panel: Config, box: Box) -> None:
        config = panel["fieldConfig"]["defaults"]
        found = self._named(panel, box)
        if not found:
            self._say("No data", box)
            return
        names = sorted({name for name, _ in found}, reverse=True)
        widest = max(self.canvas.measure(name, 9) for name in names)
        states = [
            (each["text"], values.colour(each["color"]))
            for mapping in config["mappings"]
            for each in mapping["options"].values()
        ]
        legend = self._legend(states, box)
        axes = self._time_axes(box.inside(widest + 22, 4, 14, legend + 22))
        axes.grid(visible=False)
        step = self._step(panel, box)
        for name, series in found:
            for at, value in zip(series.times, series.values, strict=True):
                if not math.isnan(value):
                    _, colour = self._value(value, config)
                    axes.barh(names.index(name), step * 1.02, 0.8, at, color=colour, linewidth=0)
        axes.set_yticks(range(len(names)), names, fontsize=9, color=self.theme.text)
        axes.set_ylim(-0.6, len(names) - 0.4)

    def _time_axes(self, box: Box) -> Axes:
        """Return axes in *box* with the times and the marks."""
        axes = self.canvas.axes(box)
        start, end = self.shown.start, self.shown.end
        axes.set_xlim(start, end)
        nice = (15, 30, 60, 120, 300, 600, 900, 1800, 3600, 7200, 14400, 21600, 43200, 86400)
        pitch, form = nice[-1], "%H:%M"
        for each in nice:
            form = "%H:%M" if each >= MINUTE_S else "%H:%M:%S"
            fits = box.width / (self.canvas.measure("00:00:00"[: len(form)], 8.5) + TIMES_GAP_PX)
            if (end - start) / each <= min(fits, TIMES_ACROSS):
                pitch = each
                break
        times = range(math.ceil(start / pitch) * pitch, int(end) + 1, pitch)
        axes.set_xticks(list(times), [time.strftime(form, time.localtime(at)) for at in times])
        for mark in self.marks:
            at = max(mark.start, start)
            axes.axvline(at, color=mark.colour, linewidth=0.9, linestyle=(0, (3, 3)), alpha=0.8)
            if mark.end > mark.start:
                axes.axvspan(at, min(mark.end, end), color=mark.colour, alpha=0.06, linewidth=0)
            bottom = axes.get_xaxis_transform()
            axes.plot(
                [at], [0], "^", markersize=4, color=mark.colour, clip_on=False, transform=bottom
            )
        return axes

    def _legend(self, entries: Sequence[tuple[str, str]], box: Box) -> float:
        """Draw *entries* in lines at the bottom of *box*, and return their height in pixels."""
        lines: list[list[tuple[str, str, float]]] = [[]]
        used = 0.0
        for name, colour in dict(entries).items():
            width = self.canvas.measure(name, 8.5) + 32
            if used + width > box.width - 24 and lines[-1]:
                lines.append([])
                used = 0.0
            lines[-1].append((name, colour, used))
            used += width
        shown = lines[:LEGEND_LINES]
        for place, line in enumerate(reversed(shown)):
            y = box.y + box.height - 12 - LEGEND_PX * place
            for name, colour, x in line:
                self.canvas.rectangle(Box(box.x + 14 + x, y - 1.5, 12, 3), colour)
                text = self.canvas.fitting(name, 8.5, box.width - 50)
                self.canvas.text(box.x + 31 + x, y, text, 8.5)
        return LEGEND_PX * len(shown) + 4.0

    # -- Tables ------------------------------------------------------------------------------------

    def _table(self, panel: Config, box: Box) -> None:
        titles, rows = self._rows(panel)
        configs: dict[str, dict[str, Any]] = {}
        for each in panel["fieldConfig"]["overrides"]:
            config = configs.setdefault(each["matcher"]["options"], {})
            config.update({part["id"]: part["value"] for part in each["properties"]})
        if not rows:
            self._say("No data", box)
            return
        fixed = {title: configs.get(title, {}).get("custom.width") for title in titles}
        free = box.width - 12 - sum(filter(None, fixed.values()))
        share = free / max(1, sum(width is None for width in fixed.values()))
        x = box.x + 10
        fits = int((box.height - LINE_PX) / LINE_PX)
        for place in range(min(fits, len(rows))):
            line = Box(box.x + 6, box.y + LINE_PX * (place + 1) - 1, box.width - 12, 1)
            self.canvas.rectangle(line, self.theme.grid)
        for title in titles:
            width = fixed[title] or share
            blue = values.colour("blue")
            shown = self.canvas.fitting(title, 9.5, width - 8, bold=True)
            self.canvas.text(x, box.y + 12, shown, colour=blue, bold=True)
            for place, row in enumerate(rows[:fits]):
                text, colour = self._value(row.get(title, ""), configs.get(title, {}))
                y = box.y + LINE_PX * (place + 1) + LINE_PX / 2
                self.canvas.text(x, y, self.canvas.fitting(text, 9.5, width - 8), colour=colour)
            x += width
        if len(rows) > fits:
            note = f"{fits} of {len(rows)} rows"
            at = box.x + box.width - 10
            self.canvas.text(at, box.y - 14, note, 9, align="right", colour=self.theme.faint)

    def _rows(self, panel: Config) -> tuple[list[str], list[Row]]:
        """Return the titles of the columns, and the rows: queries merged and then organized."""
        merged: dict[frozenset[tuple[str, str]], Row] = {}
        alone = len(panel["targets"]) == 1
        for target in panel["targets"]:
            value = "Value" if alone else f"Value #{target['refId']}"
            for series in self.prometheus.at_end(target["expr"], self.shown):
                labels = frozenset(series.labels.items())
                rows = [row for row in merged if labels <= row] or [labels]
                for row in rows:
                    merged.setdefault(row, dict(series.labels))[value] = series.values[0]
        organized = panel["transformations"][1]["options"]
        places, renamed = organized["indexByName"], organized["renameByName"]
        titles = {name: renamed.get(name, name) for name in sorted(places, key=places.__getitem__)}
        table: list[Row] = [
            {title: row[name] for name, title in titles.items() if name in row}
            for row in merged.values()
        ]
        for by in panel["options"].get("sortBy", ()):
            table.sort(key=lambda row: _rank(row.get(by["displayName"])), reverse=by["desc"])
        return list(titles.values()), table

    # -- Values ------------------------------------------------------------------------------------

    def _value(self, value: float | str, config: Config) -> tuple[str, str]:
        """Return the text and the colour of *value*."""
        if isinstance(value, str):
            return value, self.theme.text
        return values.mapped(value, config) or (
            values.written(value, config.get("unit", "short"), config.get("decimals")),
            values.by_threshold(value, config, self.theme.text),
        )

    def _say(self, text: str, box: Box) -> None:
        """Write in the middle of *box* why there is nothing else."""
        y = box.y + box.height / 2 - 6
        self.canvas.text(box.middle, y, text, 14, align="center", colour=self.theme.faint)

    def _step(self, panel: Config, box: Box) -> float:
        return self.shown.step(max(50, int(box.width)), panel.get("interval"))

    def _named(self, panel: Config, box: Box) -> list[tuple[str, Series]]:
        """Return the series of a panel with their names, sorted by name within a query."""
        step = self._step(panel, box)
        named: list[tuple[str, Series]] = []
        for target in panel["targets"]:
            found = (
                self.prometheus.at_end(target["expr"], self.shown)
                if target.get("instant")
                else self.prometheus.over_time(target["expr"], self.shown, step)
            )
            pairs = [(_name(target.get("legendFormat", ""), series), series) for series in found]
            named += sorted(pairs, key=lambda pair: pair[0])
        return named


def _name(legend: str, series: Series) -> str:
    """Return the name of a series: the legend, with its labels put in."""
    if not legend:
        return ", ".join(f"{k}={v}" for k, v in series.labels.items()) or "value"
    return re.sub(r"\{\{ *(\w+) *\}\}", lambda label: series.labels.get(label[1], ""), legend)


def _painted(panel: Config) -> dict[str, str]:
    """Return the colours of those series that have one of their own."""
    return {
        each["matcher"]["options"]: values.colour(part["value"]["fixedColor"])
        for each in panel["fieldConfig"]["overrides"]
        for part in each["properties"]
        if part["id"] == "color"
    }


def _runs(series: Series, step: float) -> Iterator[tuple[float, float]]:
    """Yield where a series is above 0, from the first to the last value of each run."""
    start = end = None
    for at, value in [*zip(series.times, series.values, strict=True), (math.inf, math.nan)]:
        if value > 0:
            start, end = at if start is None else start, at
        elif start is not None and end is not None:
            yield start, max(end, start + step)
            start = end = None


def _bars(
    axes: Axes, found: Sequence[tuple[str, Series]], colours: Mapping[str, str], width: float
) -> float:
    """Draw stacked bars that end at their times, and return the height of the axis they need."""
    tops: dict[float, float] = {}
    for name, series in found:
        heights = [0 if math.isnan(value) else value for value in series.values]
        below = [tops.get(at, 0.0) for at in series.times]
        axes.bar(
            series.times, heights, -width, below, align="edge", color=colours[name], alpha=0.85
        )
        tops.update(
            (at, under + height)
            for at, under, height in zip(series.times, below, heights, strict=True)
        )
    return 1.1 * max(tops.values(), default=0)


def _highest(found: Sequence[Series]) -> float:
    every = (value for series in found for value in series.values if math.isfinite(value))
    return max(every, default=0.0)


def _rank(value: float | str | None) -> tuple[bool, float | str]:
    """Return the key that sorts *value*; nothing is less than each number."""
    if isinstance(value, str):
        return True, value
    return False, -math.inf if value is None else value


def main(arguments: Sequence[str] | None = None) -> None:
    """Draw one dashboard to a file."""
    parser = argparse.ArgumentParser(description="Draws a dashboard from a Prometheus.")
    parser.add_argument("dashboard", help="name of a file in dashboards, such as overview")
    parser.add_argument("--prometheus", default="http://127.0.0.1:9090", metavar="URL")
    parser.add_argument("--last", default="30m", help="how much time is shown, such as 90s or 2h")
    parser.add_argument("--end", type=float, help="Unix time at which it ends; now without it")
    parser.add_argument("--theme", choices=sorted(THEMES), default="dark")
    parser.add_argument("--width", type=int, default=1600, help="of the picture, in pixels")
    choice = "value of a variable, as a regular expression"
    parser.add_argument("--set", action="append", default=[], metavar="NAME=VALUE", help=choice)
    parser.add_argument("-o", "--output", type=Path, help="the PNG; DASHBOARD.png without it")
    chosen = parser.parse_args(arguments)
    end = chosen.end or time.time()
    picture = Picture(
        json.loads((FOLDER / f"{chosen.dashboard}.json").read_text()),
        Prometheus(chosen.prometheus.rstrip("/"), dict(each.split("=", 1) for each in chosen.set)),
        Range(end - seconds(chosen.last), end),
        THEMES[chosen.theme],
        chosen.width,
    )
    picture.draw().savefig(chosen.output or f"{chosen.dashboard}.png", dpi=DPI)


if __name__ == "__main__":
    main()
