"""The dashboards are the ones that the code makes, keep to good manners, and ask what exists."""

import json
import re
from collections import Counter
from itertools import product
from pathlib import Path

import pytest
from grafana_foundation_sdk.cog.encoder import JSONEncoder
from grafana_foundation_sdk.cog.plugins import register_default_plugins
from grafana_foundation_sdk.models.dashboard import Dashboard

from deploy.grafana.__main__ import BOARDS, FOLDER, HIDDEN, as_json, without

ROOT = Path(__file__).parents[2]
GUIDE = (ROOT / "docs" / "dashboards.md").read_text()
PROVISIONING = ROOT / "deploy" / "grafana" / "provisioning"
DATA_SOURCE = (PROVISIONING / "datasources" / "prometheus.yml").read_text()
SCRAPING = (ROOT / "deploy" / "prometheus" / "prometheus.yml").read_text()
RULES_TEXT = "".join(
    path.read_text() for path in sorted((ROOT / "deploy" / "prometheus" / "rules").iterdir())
)
COMPOSE = (ROOT / "docker-compose.yml").read_text()

each_file = pytest.mark.parametrize("file", [board.file for board in BOARDS])

UNUSED = {
    "receiver_frames_total": "audio in seconds says it for all sample rates",
    "process_virtual_memory_bytes": "resident memory is what a limit counts",
}
"""Exported metrics that no panel and no rule shows, and why."""
ONE_VALUE = {
    True: {"30s", "1m", "5m", "$__range"},
    False: {"$__rate_interval", "$__interval"},
}
"""Windows of queries of one value, at the end of the range, and of those over time."""


def panels(dashboard):
    return [panel for panel in dashboard["panels"] if panel["type"] != "row"]


def expressions(dashboard):
    """Yield the title of the panel and each of its expressions, then of the annotations."""
    for panel in panels(dashboard):
        for target in panel["targets"]:
            yield panel["title"], target["expr"]
    for annotation in dashboard["annotations"]["list"]:
        yield annotation["name"], annotation["expr"]


def selectors(expression):
    """Yield the name and the matchers of each metric in *expression*."""
    without_clauses = re.sub(r"\b(?:by|on|group_left|group_right|without) *\(.*?\)", "", expression)
    names_left = re.sub(r"\{.*?\}|\[.*?\]", "", without_clauses)
    names = re.findall(r"(?<![\w:])([a-z]+[_:][\w:]+|ALERTS|up)\b(?! *\()", names_left)
    matched = dict(re.findall(r"([\w:]+)\{(.*?)\}", without_clauses))
    for name in names:
        yield name, re.findall(r'(\w+)(=~|!~|!=|=)"(.*?)"', matched.get(name, ""))


def kept(expression):
    """Return the labels that an expression groups by, matches on, or takes from the other side."""
    clauses = re.findall(r"\b(?:by|on|group_left) ?\((.*?)\)", expression)
    return [label.strip() for clause in clauses for label in clause.split(",")]


@each_file
def test_file_is_what_the_code_makes(file):
    """The committed JSON is the output of `make dashboards`."""
    (board,) = (board for board in BOARDS if board.file == file)

    assert as_json(board) == (FOLDER / file).read_text()


def test_no_other_dashboard_is_there():
    """The folder that Grafana reads has the dashboards of the code, and nothing else."""
    assert {board.file for board in BOARDS} == {path.name for path in FOLDER.iterdir()}


@each_file
def test_no_key_is_unknown(file, dashboards):
    """Reading a file with the SDK and writing it changes nothing: Grafana knows all its keys."""
    register_default_plugins()
    again = json.dumps(Dashboard.from_json(dashboards[file]), cls=JSONEncoder)
    shown = json.loads(again, object_pairs_hook=lambda pairs: dict(without(HIDDEN, pairs)))

    assert shown == dashboards[file]


@each_file
def test_dashboard_cannot_be_changed_in_the_browser(file, dashboards):
    """It has a fixed uid and no id, and is read-only: its source is the code."""
    dashboard = dashboards[file]

    assert dashboard.get("id") is None
    assert dashboard["uid"].startswith("sonoduct")
    assert dashboard["editable"] is False


def test_each_uid_is_taken_once(dashboards):
    """Links and alerts find one dashboard for each uid."""
    assert {1} == set(Counter(each["uid"] for each in dashboards.values()).values())


@each_file
def test_each_panel_explains_itself(file, dashboards):
    """Each panel has a title, a description that is more than its title, a unit and a query."""
    incomplete = [
        panel["title"]
        for panel in panels(dashboards[file])
        if not panel.get("title")
        or len(panel.get("description", "")) < 20
        or not panel["fieldConfig"]["defaults"].get("unit")
        or not panel["targets"]
        or not all(target["expr"] for target in panel["targets"])
    ]

    assert [] == incomplete


@each_file
def test_each_title_is_taken_once(file, dashboards):
    """A person who is told the title of a panel finds it."""
    titles = Counter(panel["title"] for panel in panels(dashboards[file]))

    assert {1} == set(titles.values())


@each_file
def test_every_series_has_a_name(file, dashboards):
    """A query over time says how its series are named, unless the panel has only one number."""
    nameless = [
        panel["title"]
        for panel in panels(dashboards[file])
        for target in panel["targets"]
        if panel["type"] != "table"
        and not target.get("legendFormat")
        and not (panel["type"] == "stat" and len(panel["targets"]) == 1)
    ]

    assert [] == nameless


@each_file
def test_data_source_is_the_one_that_was_chosen(file, dashboards):
    """No panel, query, annotation or variable names a data source of its own."""
    dashboard = dashboards[file]
    asking = [each for each in dashboard["templating"]["list"] if each["type"] == "query"]
    askers = [
        *panels(dashboard),
        *(target for panel in panels(dashboard) for target in panel["targets"]),
        *dashboard["annotations"]["list"],
        *asking,
    ]

    assert {("prometheus", "${datasource}")} == {
        (each["datasource"]["type"], each["datasource"]["uid"]) for each in askers
    }


@each_file
def test_variables_choose_everything_at_first(file, dashboards):
    """The data source and the job can be chosen; all jobs, replicas and instances are at first."""
    datasource, *choices = dashboards[file]["templating"]["list"]

    assert ("datasource", "datasource") == (datasource["type"], datasource["name"])
    assert "job" in {each["name"] for each in choices}
    for each in choices:
        assert each["multi"]
        assert each["includeAll"]
        assert ".+" == each["allValue"]
        assert ["$__all"] == each["current"]["value"]


@each_file
def test_variables_are_those_that_are_asked_for(file, dashboards):
    """Each variable is in a query, and each one in a query can be chosen."""
    queries = " ".join(expression for _, expression in expressions(dashboards[file]))
    asked = set(re.findall(r"\$([a-z]\w*)", queries))
    chosen = {each["name"] for each in dashboards[file]["templating"]["list"]}

    assert chosen == asked | {"datasource"}


@each_file
def test_provisioned_data_source_is_found(file, dashboards):
    """The dashboard selects by type and uid what provisioning creates, at the scrape interval."""
    created = dict(re.findall(r"^ +(?:- )?(\w+): (\S+)$", DATA_SOURCE, re.MULTILINE))
    variable = dashboards[file]["templating"]["list"][0]
    scraped = re.search(r"scrape_interval: (\S+)", SCRAPING)

    assert ("datasource", "prometheus") == (variable["type"], variable["query"])
    assert (variable["query"], variable["current"]["value"]) == (created["type"], created["uid"])
    assert scraped[1] == created["timeInterval"]


def test_home_is_the_overview():
    """Grafana opens with the overview."""
    home = re.search(r"GF_DASHBOARDS_DEFAULT_HOME_DASHBOARD_PATH: (\S+)", COMPOSE)[1]

    assert "/etc/grafana/dashboards/overview.json" == home
    assert (FOLDER / Path(home).name).exists()


def heard(metric):
    """Return the variables that a query of *metric* asks for; each set is a way to do so."""
    if metric in {"ALERTS", "server:receiver_gateway:info"}:
        return [set()]
    if metric == "replica:receiver_missing:info":
        return [{"$replica"}]
    if ":" in metric or metric == "up":
        return [{"$job"}]
    return [{"$job", each} for each in ("$replica", "$instance", "$gateway")]


@each_file
def test_variables_are_heard(file, dashboards):
    """Each query asks for the chosen job, and for the chosen replica or instance."""
    deaf = [
        (title, metric)
        for title, expression in expressions(dashboards[file])
        for metric, matchers in selectors(expression)
        if not any(way <= {value for *_, value in matchers} for way in heard(metric))
    ]

    assert [] == deaf


@each_file
def test_counters_are_seen_as_rates(file, dashboards):
    """
    A counter is shown as a rate or as events, since it begins anew with its process.

    Events are the difference over a window, or an increase where the process is another one.
    """
    bare = [
        (title, counter)
        for title, expression in expressions(dashboards[file])
        for counter in re.findall(
            r"(?<!rate\()(?<!increase\()(?<!resets\()(?<!last_over_time\()"
            r"\b\w+_(?:total|bucket|sum|count)\b(?=\{)(?!\{[^}]*\} offset )",
            expression,
        )
    ]

    assert [] == bare


@each_file
def test_windows_fit_the_range(file, dashboards):
    """
    A rate takes Grafana's window over time, and events the time from one value to the next.

    Only tables and large numbers, which are one value, have a window of their own.
    """
    wrong = [
        (panel["title"], window)
        for panel in panels(dashboards[file])
        for target in panel["targets"]
        for window in re.findall(r"\[(.*?)\]", target["expr"])
        if window not in ONE_VALUE[bool(target.get("instant"))]
    ]

    assert [] == wrong


@each_file
def test_each_metric_exists(file, dashboards, known):
    """Receivers, senders, HAProxy, Prometheus or a rule has each metric that is asked for."""
    asked = {
        metric
        for _, expression in expressions(dashboards[file])
        for metric, _ in selectors(expression)
    }
    listed = set(re.findall(r"label_values\((\w+)\{", json.dumps(dashboards[file]["templating"])))

    assert set() == (asked | listed) - set(known)
    assert asked


@each_file
def test_each_rule_is_recorded(file, dashboards):
    """Each recording rule that a dashboard asks for is one of Prometheus'."""
    asked = {
        metric
        for _, expression in expressions(dashboards[file])
        for metric, _ in selectors(expression)
        if ":" in metric
    }

    assert set() == asked - set(re.findall(r"record: (\S+)", RULES_TEXT))
    assert asked


@each_file
def test_each_label_is_one_of_its_metric(file, dashboards, known):
    """Each matcher names a label of its metric, and a value that occurs."""
    unknown = [
        (title, metric, label, value)
        for title, expression in expressions(dashboards[file])
        for metric, matchers in selectors(expression)
        for label, operator, value in matchers
        if label not in known[metric]
        or (operator == "=" and value and value not in known[metric][label])
    ]

    assert [] == unknown


@each_file
def test_each_label_that_is_kept_exists(file, dashboards, known):
    """A metric of the expression has each label that it groups by, matches on or is named by."""
    unknown = [
        (panel["title"], label)
        for panel in panels(dashboards[file])
        for target in panel["targets"]
        for label in kept(target["expr"])
        + re.findall(r"\{\{(\w+)\}\}", target.get("legendFormat", ""))
        if not any(label in known[metric] for metric, _ in selectors(target["expr"]))
    ]
    lost = [
        (panel["title"], label)
        for panel in panels(dashboards[file])
        for target in panel["targets"]
        for label in re.findall(r"\{\{(\w+)\}\}", target.get("legendFormat", ""))
        if re.search(r"\b(sum|max|min|count|avg)\b", target["expr"])
        and label not in kept(target["expr"])
    ]

    assert [] == unknown
    assert [] == lost


def test_each_exported_metric_is_used(dashboards, exported):
    """Each metric is in a panel or a rule, or is listed with the reason why it is not."""
    asked = json.dumps(dashboards) + RULES_TEXT
    families = {re.sub(r"_(bucket|sum|count)$", "", name) for name in exported}
    families -= {name for name in families if name.endswith("_created")}
    unused = {
        name for name in families if not re.search(rf"\b{name}(_bucket|_sum|_count)?\b", asked)
    }

    assert unused == set(UNUSED)


@each_file
def test_panels_do_not_overlap(file, dashboards):
    """Each cell of the grid belongs to one panel, rows of panels are full, ids are taken once."""
    everything = dashboards[file]["panels"]
    grids = [panel["gridPos"] for panel in everything]
    cells = Counter(
        cell
        for at in grids
        for cell in product(range(at["x"], at["x"] + at["w"]), range(at["y"], at["y"] + at["h"]))
    )
    height = max(at["y"] + at["h"] for at in grids)

    assert {1} == set(cells.values())
    assert 24 * height == len(cells)
    assert {1} == set(Counter(panel["id"] for panel in everything).values())


def answers():
    """Yield question, dashboard and panel of each row of the guide's table of questions."""
    rows = re.findall(r"^\| ([^|]*\?) \| (\w+) \| (\*.*) \|$", GUIDE, re.MULTILINE)
    for question, dashboard, titles in rows:
        yield from ((question, dashboard, title) for title in re.findall(r"\*(.+?)\*", titles))


def test_each_question_has_its_panel(dashboards):
    """Each panel that the table of questions names is on the dashboard that it names."""
    there = {
        (dashboard["title"].removeprefix("Sonoduct: "), panel["title"])
        for dashboard in dashboards.values()
        for panel in panels(dashboard)
    }
    named = {(dashboard, title) for _, dashboard, title in answers()}

    assert set() == named - there
    assert len({question for question, *_ in answers()}) >= 16
