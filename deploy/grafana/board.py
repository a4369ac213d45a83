"""A dashboard: its rows of panels, and the variables, annotations and links that all have."""

import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Final

from grafana_foundation_sdk.builders import dashboard
from grafana_foundation_sdk.cog.builder import Builder
from grafana_foundation_sdk.cog.encoder import JSONEncoder
from grafana_foundation_sdk.models import dashboard as model

from deploy.grafana.panels import AnyPanel
from deploy.grafana.queries import DATA_SOURCE, RECEIVER_PROCESS, select


@dataclass(frozen=True)
class Board:
    """A dashboard: its file and its panels."""

    file: str
    uid: str
    title: str
    description: str
    rows: Mapping[str, Iterable[AnyPanel]]
    """Panels under the title of their row; they fill 24 columns, then the next 24."""

    def build(self) -> model.Dashboard:
        """Return it as Grafana reads it."""
        made = (
            dashboard.Dashboard(self.title)
            .uid(self.uid)
            .description(self.description)
            .tags(["sonoduct"])
            .readonly()
            .timezone("browser")
            .refresh("10s")
            .time("now-30m", "now")
            .tooltip(model.DashboardCursorSync.CROSSHAIR)
            .annotations(_annotations())
            .link(_link())
        )
        number = 0
        for title, panels in self.rows.items():
            number += 1
            made = made.with_row(dashboard.Row(title).id(number))
            for panel in panels:
                number += 1
                made = made.with_panel(panel.id(number))
        asked = json.dumps(made.build(), cls=JSONEncoder)
        return made.variables(_variables(asked)).build()


def _variables(asked: str) -> list[Builder[model.VariableModel]]:
    """Return the data source, and those variables that the text *asked* names."""
    every = '{__name__=~"receiver_build_info|sender_build_info|haproxy_process_build_info"}'
    source = (
        dashboard.DatasourceVariable("datasource")
        .label("Data source")
        .type("prometheus")
        .current(model.VariableOption(text="Prometheus", value="prometheus"))
    )
    choices = {
        "job": ("Job", f"label_values({every}, job)"),
        "replica": ("Receiver", 'label_values(receiver_build_info{job=~"$job"}, replica)'),
        "instance": ("Sender", 'label_values(sender_build_info{job=~"$job"}, instance)'),
        "gateway": ("Gateway", 'label_values(haproxy_process_build_info{job=~"$job"}, instance)'),
    }
    return [
        source,
        *(_choice(name, *each) for name, each in choices.items() if f"${name}" in asked),
    ]


def _choice(name: str, label: str, asked: str) -> dashboard.QueryVariable:
    return (
        dashboard.QueryVariable(name)
        .label(label)
        .datasource(DATA_SOURCE)
        .query({"qryType": 1, "query": asked, "refId": "A"})
        .refresh(model.VariableRefresh.ON_TIME_RANGE_CHANGED)
        .sort(model.VariableSort.NATURAL_ASC)
        .multi(True)
        .include_all(True)
        .all_value(".+")
        .current(model.VariableOption(text=["All"], value=["$__all"]))
    )


STARTED: Final = (
    f"1000 * process_start_time_seconds{RECEIVER_PROCESS}"
    " * on (job, instance) group_left (version, revision) receiver_build_info"
)
FIRING: Final = 'max_over_time(ALERTS{alertstate="firing"}[$__interval]'
BEGINS: Final = (
    f"max by (alertname, severity) ({FIRING}))"
    f" unless max by (alertname, severity) ({FIRING} offset $__interval))"
)
"""Not all the time that an alert fires, which would colour everything."""


def _annotations() -> list[Builder[model.AnnotationQuery]]:
    """
    Return marks of a moment, or of the time from the first to the last value above 0.

    Each is asked for all of a step, since most things are shorter than one.
    """
    drains = "max by (replica) (max_over_time(receiver_draining[$__interval])) == 1"
    gone = 'max_over_time(replica:receiver_missing:info{replica=~"$replica"}[$__interval])'
    full = "min by (job) (min_over_time(receiver_store_free_bytes[$__interval])) == bool 0"
    started = _annotation(
        "Starts", "green", STARTED, "{{replica}} started {{version}} {{revision}}"
    )
    return [
        started.use_value_for_time(True),
        _annotation("Drains", "yellow", drains, "{{replica}} drains"),
        _annotation("Kills", "red", gone, "{{replica}} is gone"),
        _annotation("Disk full", "purple", full, "The store is full"),
        _annotation("Alerts", "orange", BEGINS, "{{alertname}} ({{severity}})"),
    ]


def _annotation(name: str, colour: str, expression: str, title: str) -> dashboard.AnnotationQuery:
    return (
        dashboard.AnnotationQuery()
        .name(name)
        .datasource(DATA_SOURCE)
        .enable(True)
        .icon_color(colour)
        .expr(select(expression))
        .step("10s")
        .title_format(title)
    )


def _link() -> dashboard.DashboardLink:
    return (
        dashboard.DashboardLink("Sonoduct")
        .type(model.DashboardLinkType.DASHBOARDS)
        .tags(["sonoduct"])
        .keep_time(True)
        .include_vars(True)
        .as_dropdown(False)
    )
