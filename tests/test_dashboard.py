"""The dashboard queries only metrics and labels that exist."""

import json
import re
from collections import Counter, defaultdict
from itertools import product
from pathlib import Path

import pytest
from prometheus_client import CollectorRegistry

import receiver
import sender.metrics

DEPLOY = Path(__file__).parents[1] / "deploy"
PROVISIONING = DEPLOY / "grafana" / "provisioning"
DASHBOARD = json.loads((DEPLOY / "grafana" / "dashboards" / "sonoduct.json").read_text())
DATA_SOURCE = (PROVISIONING / "datasources" / "prometheus.yml").read_text()
SCRAPING = (DEPLOY / "prometheus" / "prometheus.yml").read_text()
GATEWAY = (DEPLOY / "haproxy" / "haproxy.cfg").read_text()
VARIABLES = {each["name"]: each for each in DASHBOARD["templating"]["list"]}
PANELS = [panel for panel in DASHBOARD["panels"] if panel["type"] != "row"]
TARGETS = [(panel["title"], target) for panel in PANELS for target in panel["targets"]]
JOBS = set(re.findall(r"job_name: (\w+)", SCRAPING))
BACKENDS = set(re.findall(r"^backend (\w+)", GATEWAY, re.MULTILINE))
FRONTENDS = set(re.findall(r"^frontend (\w+)", GATEWAY, re.MULTILINE))
FOREIGN = {
    "up": {},
    "haproxy_server_current_sessions": {"proxy": BACKENDS, "server": set()},
    "haproxy_server_status": {"proxy": BACKENDS, "server": set(), "state": {"MAINT"}},
    "haproxy_frontend_http_responses_total": {"proxy": FRONTENDS, "code": set()},
}
"""What Prometheus and HAProxy export: the labels, and the values that may be asked for."""


@pytest.fixture(name="exported")
async def _exported():
    """Return the metrics that the services export, in the form of FOREIGN."""
    registry = CollectorRegistry()
    sender.metrics.Metrics(registry, "0")
    exported = {}
    settings = receiver.Settings(host="127.0.0.1", port=0, store="none")
    async with receiver.serve(settings, registry=registry):
        for family in registry.collect():
            for sample in family.samples:
                labels = exported.setdefault(sample.name, defaultdict(set))
                for label, value in sample.labels.items():
                    labels[label].add(value)
    return exported


@pytest.fixture(name="known")
async def _known(exported):
    """Return every metric that a query may name; Prometheus adds the job and the instance."""
    added = {"job": JOBS, "instance": set()}
    return {metric: {**labels, **added} for metric, labels in (exported | FOREIGN).items()}


def metrics(expression):
    return re.findall(r"(\w+)\{", expression)


def matchers(expression):
    """Yield metric, label, operator and value."""
    for metric, inside in re.findall(r"(\w+)\{(.*?)\}", expression):
        for matcher in re.findall(r'(\w+)\s*(=~|!~|!=|=)\s*"(.*?)"', inside):
            yield metric, *matcher


def kept(expression):
    """Return the labels that by-clauses keep and that on-clauses match, in the order written."""
    clauses = re.findall(r"\b(?:by|on) ?\((.*?)\)", expression)
    return [label.strip() for clause in clauses for label in clause.split(",")]


def shown(target):
    return re.findall(r"\{\{(\w+)\}\}", target.get("legendFormat", ""))


def test_each_panel_explains_itself():
    """Each panel has a title, a description, a unit and a query."""
    incomplete = [
        panel["id"]
        for panel in PANELS
        if not panel.get("title")
        or not panel.get("description")
        or not panel["fieldConfig"]["defaults"].get("unit")
        or not panel["targets"]
        or not all(target["expr"] for target in panel["targets"])
    ]

    assert [] == incomplete


def test_data_source_is_the_one_that_was_chosen():
    """No panel and no variable names a data source of its own."""
    askers = [*PANELS, VARIABLES["instance"], *(t for _, t in TARGETS if "datasource" in t)]
    others = [each for each in askers if each["datasource"]["uid"] != "${datasource}"]

    assert [] == others


def test_provisioned_data_source_is_found():
    """The dashboard selects by type and uid what provisioning creates, at the scrape interval."""
    created = dict(re.findall(r"^ +(?:- )?(\w+): (\S+)$", DATA_SOURCE, re.MULTILINE))
    variable = VARIABLES["datasource"]
    asked = {panel["datasource"]["type"] for panel in [*PANELS, VARIABLES["instance"]]}
    scraped = re.search(r"scrape_interval: (\S+)", SCRAPING)

    assert ("datasource", "prometheus") == (variable["type"], variable["query"])
    assert (variable["query"], variable["current"]["value"]) == (created["type"], created["uid"])
    assert {created["type"]} == asked
    assert scraped[1] == created["timeInterval"]


def test_counters_are_seen_as_rates():
    """No panel shows a raw counter, or a counter's growth over a fixed time."""
    bare = [
        counter
        for _, target in TARGETS
        for counter in re.findall(
            r"(?<!rate\()(?<!increase\()\b\w+_(?:total|bucket|sum|count)\b", target["expr"]
        )
    ]
    windows = {window for _, target in TARGETS for window in re.findall(r"\[.*?\]", target["expr"])}

    assert [] == bare
    assert {"[$__rate_interval]", "[$__range]"} == windows


async def test_each_metric_is_exported(exported, known):
    """Receivers and senders export each metric that a panel or a variable queries."""
    asked = set(re.findall(r"\b(?:receiver|sender)_\w+", json.dumps(DASHBOARD)))
    selected = {metric for _, target in TARGETS for metric in metrics(target["expr"])}

    assert set() == asked - set(exported)
    assert set() == selected - set(known)


async def test_each_label_is_one_of_its_metric(known):
    """Each matcher names a label of its metric, and a value that occurs."""
    unknown = [
        (title, metric, label, value)
        for title, target in TARGETS
        for metric, label, operator, value in matchers(target["expr"])
        if label not in known[metric] or (operator == "=" and value not in known[metric][label])
    ]

    assert [] == unknown


async def test_each_label_that_is_kept_exists(known):
    """Each metric has the labels by which an expression groups or matches, and its legend's."""
    unknown = [
        (title, metric, label)
        for title, target in TARGETS
        for metric, label in product(metrics(target["expr"]), kept(target["expr"]) + shown(target))
        if label not in known[metric]
    ]
    lost = [
        (title, label)
        for title, target in TARGETS
        for label in shown(target)
        if "sum" in target["expr"] and label not in kept(target["expr"])
    ]

    assert [] == unknown
    assert [] == lost


def test_panels_do_not_overlap():
    """Each cell of the grid, 24 wide, belongs to one panel at most; each id is taken once."""
    grids = [panel["gridPos"] for panel in DASHBOARD["panels"]]
    cells = Counter(
        cell
        for at in grids
        for cell in product(range(at["x"], at["x"] + at["w"]), range(at["y"], at["y"] + at["h"]))
    )
    ids = Counter(panel["id"] for panel in DASHBOARD["panels"])

    assert {1} == set(cells.values())
    assert set(range(24)) == {x for x, _ in cells}
    assert {1} == set(ids.values())
