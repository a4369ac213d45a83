"""The kinds of panels, each with one look on all dashboards."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Final, TypeAlias, TypeVar

from grafana_foundation_sdk.builders import (
    common,
    dashboard,
    prometheus,
    statetimeline,
    table,
    timeseries,
)
from grafana_foundation_sdk.builders import stat as stats
from grafana_foundation_sdk.models import common as drawing
from grafana_foundation_sdk.models import dashboard as model
from grafana_foundation_sdk.models import prometheus as asking

from deploy.grafana.queries import DATA_SOURCE, select

AnyPanel: TypeAlias = stats.Panel | timeseries.Panel | statetimeline.Panel | table.Panel
P = TypeVar("P", stats.Panel, timeseries.Panel, statetimeline.Panel, table.Panel)

Steps: TypeAlias = Mapping[float, str]
"""Colours of values: each from its key on; below the first key, the first colour holds."""

PLAIN: Final[Steps] = {0: "blue"}
"""For values that are neither good nor bad."""
KEY_PX: Final = 190
"""Width of the first column of a table: the name of a container or an address."""
ZERO_IS_GOOD: Final[Steps] = {0: "green", 1: "red"}


def stat(
    title: str,
    description: str,
    unit: str,
    *queries: prometheus.Dataquery,
    colours: Steps = PLAIN,
    width: int = 4,
    height: int = 4,
    empty: str | None = None,
    names: bool = False,
    decimals: int | None = None,
    values: Mapping[str, tuple[str, str]] | None = None,
) -> stats.Panel:
    """
    Return a panel of large numbers, the values at the end of the range.

    They are asked for that moment, so that a series that has ended is not shown, and panels agree.

    Args:
        title: Says what the number means.
        description: Says which values are normal, and what you do about others.
        unit: As Grafana names it.
        queries: What is shown.
        colours: Of the numbers, by value.
        width: In columns, of 24.
        height: In rows.
        empty: Shown where there is no series.
        names: Whether each number has the name of its series.
        decimals: How many; as many as fit without it.
        values: For values that have a text and a colour of their own.

    """
    several = names or len(queries) > 1
    asked = [each.instant() for each in queries]
    panel = _common(stats.Panel(), title, description, unit, asked, width, height)
    panel = (
        panel.thresholds(_thresholds(colours))
        .color_scheme(dashboard.FieldColor().mode(model.FieldColorModeId.THRESHOLDS))
        .color_mode(
            drawing.BigValueColorMode.BACKGROUND if values else drawing.BigValueColorMode.VALUE
        )
        .graph_mode(drawing.BigValueGraphMode.NONE)
        .reduce_options(common.ReduceDataOptions().calcs(["lastNotNull"]))
        .text_mode(
            drawing.BigValueTextMode.VALUE_AND_NAME if several else drawing.BigValueTextMode.VALUE
        )
    )
    if empty is not None:
        panel = panel.no_value(empty)
    if decimals is not None:
        panel = panel.decimals(decimals)
    return panel.mappings(_mappings(values)) if values else panel


def lines(
    title: str,
    description: str,
    unit: str,
    *queries: prometheus.Dataquery,
    colours: Steps | None = None,
    width: int = 8,
    height: int = 7,
    top: float | None = None,
    whole: bool = False,
    paint: Mapping[str, str] | None = None,
) -> timeseries.Panel:
    """
    Return a panel of lines over time.

    Args:
        title: Says what the lines mean.
        description: Says which values are normal, and what you do about others.
        unit: As Grafana names it.
        queries: What is shown.
        colours: Each value in them but the first is drawn as a dashed limit.
        width: In columns, of 24.
        height: In rows.
        top: The axis ends there.
        whole: Whether the values are whole numbers.
        paint: Colours of series whose names are good or bad news; the others differ by name.

    """
    panel = _common(timeseries.Panel(), title, description, unit, queries, width, height)
    panel = (
        panel.min(0)
        .line_width(1.5)
        .fill_opacity(8)
        .show_points(drawing.VisibilityMode.NEVER)
        .color_scheme(dashboard.FieldColor().mode(model.FieldColorModeId.PALETTE_CLASSIC_BY_NAME))
        .legend(_legend())
        .tooltip(_tooltip())
    )
    if top is not None:
        panel = panel.max(top)
    if unit == "short":
        panel = panel.axis_soft_max(1)
    if whole:
        panel = panel.decimals(0)
    for name, colour in (paint or {}).items():
        fixed = {"mode": "fixed", "fixedColor": colour}
        panel = panel.override_by_name(
            name, [model.DynamicConfigValue(id_val="color", value=fixed)]
        )
    if colours is None:
        return panel.thresholds(_thresholds(PLAIN))
    return panel.thresholds(_thresholds(colours)).thresholds_style(
        common.GraphThresholdsStyleConfig().mode(drawing.GraphThresholdsStyleMode.DASHED)
    )


def bars(
    title: str,
    description: str,
    *queries: prometheus.Dataquery,
    width: int = 8,
    height: int = 7,
    paint: Mapping[str, str] | None = None,
) -> timeseries.Panel:
    """
    Return a panel that counts events: one bar for each 15 s, or for longer in a long range.

    A bar ends at its time, so that it covers the window of a query with `$__interval`.
    """
    panel = lines(
        title, description, "short", *queries, width=width, height=height, whole=True, paint=paint
    )
    return (
        panel.interval("15s")
        .draw_style(drawing.GraphDrawStyle.BARS)
        .bar_alignment(drawing.BarAlignment.BEFORE)
        .fill_opacity(80)
        .line_width(0)
        .axis_soft_max(4)
        .stacking(common.StackingConfig().mode(drawing.StackingMode.NORMAL))
    )


def leading(panel: P, title: str, uid: str) -> P:
    """Return *panel* with a link to the dashboard *uid*, which keeps the time and the choices."""
    url = f"/d/{uid}?${{__url_time_range}}&${{__all_variables}}"
    link = dashboard.DashboardLink(title).type(model.DashboardLinkType.LINK).url(url)
    return panel.links([link])


def states(
    title: str,
    description: str,
    *queries: prometheus.Dataquery,
    values: Mapping[str, tuple[str, str]],
    width: int = 16,
    height: int = 7,
) -> statetimeline.Panel:
    """Return a panel with one band for each series, in the colour of each state of *values*."""
    panel = _common(statetimeline.Panel(), title, description, "none", queries, width, height)
    return (
        panel.mappings(_mappings(values))
        .thresholds(_thresholds({0: "text"}))
        .color_scheme(dashboard.FieldColor().mode(model.FieldColorModeId.THRESHOLDS))
        .merge_values(True)
        .show_value(drawing.VisibilityMode.NEVER)
        .row_height(0.8)
        .fill_opacity(80)
        .legend(_legend())
    )


@dataclass(frozen=True)
class Column:
    """A column of a table: one value for each row."""

    title: str
    expression: str
    unit: str = "short"
    colours: Steps | None = None
    decimals: int | None = None
    values: Mapping[str, tuple[str, str]] = field(default_factory=dict)
    labels: Mapping[str, str] = field(default_factory=dict)
    """Labels that become columns as well, with the titles of those; the value is not shown then."""


def compare(
    title: str,
    description: str,
    key: str,
    *columns: Column,
    sort: str,
    rising: bool = False,
    width: int = 24,
    height: int = 8,
) -> table.Panel:
    """
    Return a table with one row for each value of the label *key*.

    Rows are sorted by the column *sort*: the largest first, or the smallest if *rising*.
    """
    queries = [
        prometheus.Dataquery()
        .expr(select(column.expression))
        .instant()
        .format(asking.PromQueryFormat.TABLE)
        for column in columns
    ]
    panel = _common(table.Panel(), title, description, "short", queries, width, height)
    panel = panel.with_transformation(model.DataTransformerConfig(id_val="merge", options={}))
    letters = [chr(ord("A") + number) for number in range(len(columns))]
    values = ["Value"] if len(columns) == 1 else [f"Value #{letter}" for letter in letters]
    renamed = {
        value: column.title
        for value, column in zip(values, columns, strict=True)
        if not column.labels
    }
    labels = {name: shown for column in columns for name, shown in column.labels.items()}
    order = dict.fromkeys([key, *labels, *renamed])
    hidden = [value for value in values if value not in renamed]
    panel = panel.with_transformation(
        model.DataTransformerConfig(
            id_val="organize",
            options={
                "excludeByName": dict.fromkeys(["Time", *hidden], True),
                "indexByName": {name: place for place, name in enumerate(order)},
                "renameByName": {**renamed, **labels},
            },
        )
    )
    for column in columns:
        properties = [model.DynamicConfigValue(id_val="unit", value=column.unit)]
        if column.decimals is not None:
            properties.append(model.DynamicConfigValue(id_val="decimals", value=column.decimals))
        if column.values:
            properties.append(
                model.DynamicConfigValue(id_val="mappings", value=_mappings(column.values))
            )
        if column.colours or column.values:
            steps = _thresholds(column.colours or {0: "text"}).build()
            properties += [
                model.DynamicConfigValue(id_val="thresholds", value=steps),
                model.DynamicConfigValue(id_val="custom.cellOptions", value={"type": "color-text"}),
            ]
        panel = panel.override_by_name(column.title, properties)
    panel = panel.override_by_name(
        labels.get(key, key), [model.DynamicConfigValue(id_val="custom.width", value=KEY_PX)]
    )
    return panel.thresholds(_thresholds({0: "text"})).sort_by(
        [common.TableSortByFieldState().display_name(sort).desc(not rising)]
    )


def _common(
    panel: P,
    title: str,
    description: str,
    unit: str,
    queries: Sequence[prometheus.Dataquery],
    width: int,
    height: int,
) -> P:
    panel = panel.title(title).description(description).unit(unit).datasource(DATA_SOURCE)
    for letter, asked in zip("ABCDEFGHIJKLMNOP", queries, strict=False):
        panel = panel.with_target(asked.ref_id(letter).datasource(DATA_SOURCE))
    return panel.span(width).height(height)


def _thresholds(colours: Steps) -> dashboard.ThresholdsConfig:
    steps = [
        model.Threshold(color=colour, value=value if place else None)
        for place, (value, colour) in enumerate(colours.items())
    ]
    return dashboard.ThresholdsConfig().mode(model.ThresholdsMode.ABSOLUTE).steps(steps)


def _mappings(values: Mapping[str, tuple[str, str]]) -> list[model.ValueMapping]:
    results = {
        value: model.ValueMappingResult(text=text, color=colour, index=place)
        for place, (value, (text, colour)) in enumerate(values.items())
    }
    return [model.ValueMap(options=results)]


def _legend() -> common.VizLegendOptions:
    return (
        common.VizLegendOptions()
        .display_mode(drawing.LegendDisplayMode.LIST)
        .placement(drawing.LegendPlacement.BOTTOM)
        .show_legend(True)
        .calcs([])
    )


def _tooltip() -> common.VizTooltipOptions:
    return (
        common.VizTooltipOptions()
        .mode(drawing.TooltipDisplayMode.MULTI)
        .sort(drawing.SortOrder.DESCENDING)
    )
