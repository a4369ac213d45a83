"""Prometheus' rules agree with the code, the runbook, the dashboards and their own tests."""

import importlib.util
import json
import re
from collections import defaultdict
from pathlib import Path

import pytest
import yaml

from deploy.grafana.__main__ import BOARDS

ROOT = Path(__file__).parents[1]
DEPLOY = ROOT / "deploy"
PROMETHEUS = DEPLOY / "prometheus"
RUNBOOK = "docs/runbook.md"
DASHBOARDS = {board.uid for board in BOARDS}
COMPOSE = (ROOT / "docker-compose.yml").read_text()

DATA = {
    path.relative_to(DEPLOY).as_posix(): yaml.safe_load(path.read_text())
    for folder in (PROMETHEUS, DEPLOY / "alertmanager")
    for path in sorted(folder.rglob("*.yml"))
}
RULES = [name for name in DATA if name.startswith("prometheus/rules/")]
TESTS = [name for name in DATA if name.startswith("prometheus/tests/")]
GROUPS = [group for name in RULES for group in DATA[name]["groups"]]
ALERTS = {rule["alert"]: rule for group in GROUPS for rule in group["rules"] if "alert" in rule}
RECORDS = {rule["record"]: rule for group in GROUPS for rule in group["rules"] if "record" in rule}
EXPRESSIONS = [(name, rule["expr"]) for name, rule in (ALERTS | RECORDS).items()]
CASES = [(name, case) for name in TESTS for case in DATA[name]["tests"]]
JOBS = {each["job_name"] for each in DATA["prometheus/prometheus.yml"]["scrape_configs"]}
SHOWN = {
    json.loads(path.read_text())["uid"]: json.loads(path.read_text())
    for path in sorted((DEPLOY / "grafana" / "dashboards").iterdir())
}
SECTIONS = re.findall(r"^## (.*)\n((?:(?!## ).*\n?)*)", (ROOT / RUNBOOK).read_text(), re.MULTILINE)

GRAFANA = "http://" + re.search(r'"(127\.0\.0\.1:)\$\{GRAFANA_PORT:-(\d+)\}:\d+"', COMPOSE).expand(
    r"\1\2"
)
"""Where Grafana is by default: a link in a mail or in Alertmanager has to be a whole one."""

OTHERS = {"nofile", "dmesg"}
"""Words that the runbook has from Docker and Linux."""

STATES = {"TargetDown", "ReceiverMissing", "NoReceiverReady"}
"""Alerts that have no figure to tell."""

FOREIGN = {
    "up": {},
    "haproxy_process_start_time_seconds": {},
    "haproxy_process_idle_time_percent": {},
    "haproxy_server_status": {"proxy": {"receivers"}, "state": {"UP"}},
    "haproxy_frontend_current_sessions": {"proxy": {"streams"}},
    "haproxy_frontend_limit_sessions": {"proxy": {"streams"}},
    "haproxy_frontend_requests_denied_total": {"proxy": {"streams"}},
    "haproxy_frontend_denied_connections_total": {"proxy": {"streams"}},
}
"""What Prometheus and HAProxy export: the labels, and the values that may be asked for."""


@pytest.fixture(name="known", scope="module")
def _known():
    """Return every series that a rule may read: its labels, and their values where they matter."""
    spec = importlib.util.spec_from_file_location("metrics", ROOT / "docs" / "metrics.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    known = {name: defaultdict(set, labels) for name, labels in FOREIGN.items()}
    for families in module.families().values():
        for sample in (sample for family in families for sample in family.samples):
            labels = known.setdefault(sample.name, defaultdict(set))
            for label, value in sample.labels.items():
                labels[label].add(value)
    for name in RECORDS:
        known[name] = defaultdict(set)
    for labels in known.values():
        labels["job"] |= JOBS
    return known


def metrics(expression):
    """Return the names of the series that a PromQL expression reads."""
    rest = re.sub(r'"[^"]*"', "", expression)
    rest = re.sub(r"\{[^}]*\}|\[[^\]]*\]", "", rest)
    rest = re.sub(
        r"\b(?:by|on|without|ignoring|group_left|group_right)\b\s*(?:\([^)]*\))?", "", rest
    )
    names = set(re.findall(r"(?<![\w:.])[a-zA-Z_:][\w:]*+(?!\s*\()", rest))
    return names - {"and", "or", "unless", "bool", "offset", "Inf"}


def matchers(expression):
    """Yield metric, label, operator and value."""
    for metric, inside in re.findall(r"([\w:]+)\{(.*?)\}", expression):
        for matcher in re.findall(r'(\w+)\s*(=~|!~|!=|=)\s*"(.*?)"', inside):
            yield metric, *matcher


def series(case):
    """Return the names of the series that a test of promtool gives."""
    return {re.match(r"[\w:]+", each["series"])[0] for each in case["input_series"]}


def told(metric):
    """Return *metric* and, if a rule records it, all that this rule reads."""
    if metric not in RECORDS:
        return {metric}
    return {metric}.union(*map(told, metrics(RECORDS[metric]["expr"])))


def asked(board):
    """Return the names of the series that the panels of a dashboard read."""
    queries = (query for panel in board["panels"] for query in panel.get("targets", ()))
    return set().union(*(metrics(query["expr"]) for query in queries))


WINDOWS = {
    "$__rate_interval": "20s",
    "$__interval_ms": "15000",
    "$__interval": "15s",
    "$__range_s": "600",
    "$__range": "10m",
}
"""Grafana's variables, as the tests of panels have them."""


def bare(expression):
    """Return the expression of a panel as it is if all jobs, replicas and instances are chosen."""
    rest = re.sub(r'\b\w+=~"\$\w+"(, )?', "", expression)
    for variable, value in WINDOWS.items():
        rest = rest.replace(variable, value)
    return re.sub(r"(, )?\}", "}", rest).replace("{}", "")


def seconds(duration):
    return int(duration.removesuffix("s"))


def test_expressions_are_understood():
    """The two functions above read an expression as Prometheus does."""
    expression = (
        'sum by (job) (rate(a_total{job="x, b",le!="1.0"}[5m])) / on (job) group_left (c) d:e:f\n'
        "unless on (job) time() - g < 24 * 1e3 or h[10m:15s] > bool 0 and -deriv(i[1h]) < Inf"
    )

    assert {"a_total", "d:e:f", "g", "h", "i"} == metrics(expression)
    assert [("a_total", "job", "=", "x, b"), ("a_total", "le", "!=", "1.0")] == [
        *matchers(expression)
    ]


@pytest.mark.parametrize(("name", "rule"), ALERTS.items())
def test_each_alert_explains_itself(name, rule):
    """It waits, has a severity, and says what, where, how much, and where to read more."""
    notes = rule["annotations"]

    assert {"alert", "expr", "for", "labels", "annotations"} == set(rule)
    assert {"summary", "description", "dashboard", "runbook"} == set(notes)
    assert rule["labels"] in ({"severity": "critical"}, {"severity": "warning"})
    assert notes["description"].endswith(".")
    assert re.search(r"\$labels\.(job|replica|instance)", notes["description"])
    assert (name not in STATES) == bool(
        re.search(r"\{\{ \$value \| humanize\w* \}\}", notes["description"])
    )
    assert notes["dashboard"].removeprefix(f"{GRAFANA}/d/") in DASHBOARDS
    assert f"{RUNBOOK}#{name.lower()}" == notes["runbook"]


def test_each_alert_is_in_the_runbook():
    """The runbook has the alerts in the order of the rules, and no section besides."""
    assert list(ALERTS) == [title for title, _ in SECTIONS]


@pytest.mark.parametrize(("title", "text"), SECTIONS)
def test_each_section_says_what_to_do(title, text):
    """It says what the alert means, what to look at and what to do, in this order."""
    assert ["Meaning", "Look at", "Do"] == re.findall(r"^\*\*(.*?)\.\*\* \S", text, re.MULTILINE)


def test_dashboards_of_alerts_are_provisioned():
    """Each dashboard that an alert links to is one that Grafana gets."""
    assert set() == DASHBOARDS - set(SHOWN)


@pytest.mark.parametrize(("name", "rule"), ALERTS.items())
def test_each_alert_is_seen_on_its_dashboard(name, rule):
    """A panel of the dashboard that it links to shows a metric that it watches."""
    board = SHOWN[rule["annotations"]["dashboard"].rpartition("/")[2]]
    watched = set().union(*map(told, metrics(rule["expr"])))

    assert watched & asked(board)


@pytest.mark.parametrize(("title", "text"), SECTIONS)
def test_each_section_names_panels_that_exist(title, text):
    """They are on the dashboards that it names, one of them on the one that the alert links to."""
    named = re.findall(r"\*(\w+)\s▸\s([^*]+)\*", text)
    linked = SHOWN[ALERTS[title]["annotations"]["dashboard"].rpartition("/")[2]]
    there = {
        (board["title"].removeprefix("Sonoduct: ").capitalize(), panel["title"])
        for board in SHOWN.values()
        for panel in board["panels"]
        if panel["type"] != "row"
    }

    assert [] == [each for each in named if each not in there]
    assert linked["title"].removeprefix("Sonoduct: ").capitalize() in dict(named)
    assert text.count("▸") == len(named)
    assert not re.search(r"(Overview|Receiver|Delivery|Processors|Gateway):", text)


def test_the_runbook_names_what_the_guide_has():
    """Each event, field, setting and value that the runbook names in backticks exists."""
    guide = (ROOT / "docs" / "operations.md").read_text()
    events, _ = re.findall(r"^\| event \| by .*\n((?:\|.*\n)*)", guide, re.MULTILINE)
    logged = set(re.findall(r"`(\w+)`", "".join(re.findall(r"^\|[^|]*\|", events, re.MULTILINE))))
    tables = set(re.findall(r"`([\w.]+)`", "".join(re.findall(r"^\|.*", guide, re.MULTILINE))))
    text = "".join(text for _, text in SECTIONS)
    quoted = re.findall(r"`([^`]+)`", text)
    searched = {
        event
        for each in quoted
        for pattern in re.findall(r"grep (?:-E )?'?([a-z_|()]+)", each)
        for event in alternatives(pattern)
    }
    words = {each for each in quoted if re.fullmatch("[a-z]+(_[a-z]+)*", each)}
    settings = {name for each in quoted for name in re.findall(r"\b[A-Z]+_[A-Z_]+\b", each)}

    assert len(searched) > len(ALERTS) / 4
    assert set() == {each for each in searched if not any(map(re.compile(each).match, logged))}
    assert set() == {each for each in words if "_" in each} - logged
    assert set() == words - logged - tables - OTHERS
    assert set() == settings - tables


def alternatives(pattern):
    """Yield the words that a pattern of grep with one or no choice stands for."""
    before, choice, after = re.fullmatch(r"([^(|]*)\(?([^()]*)\)?(.*)", pattern).groups()
    if "|" in pattern and "(" not in pattern:
        yield from pattern.split("|")
    else:
        yield from (f"{before}{each}{after}" for each in choice.split("|"))


@pytest.mark.parametrize(("rule", "expression"), EXPRESSIONS)
def test_each_series_of_a_rule_exists(known, rule, expression):
    """The receiver, the sender, Prometheus, HAProxy or another rule makes it."""
    assert set() == metrics(expression) - set(known)


@pytest.mark.parametrize(("rule", "expression"), EXPRESSIONS)
def test_each_matcher_of_a_rule_can_match(known, rule, expression):
    """The series has the label, and one of its values matches; each alternative is a value."""
    unknown = [
        (metric, label, value)
        for metric, label, operator, value in matchers(expression)
        if not set(value.split("|") if "~" in operator else [value]) <= known[metric][label]
    ]

    assert [] == unknown


def test_each_recorded_series_is_used():
    """An alert, another rule or a dashboard reads it."""
    boards = json.dumps(SHOWN)
    read = set().union(*(metrics(expression) for _, expression in EXPRESSIONS))

    assert [] == [rule for rule in RECORDS if rule not in read and rule not in boards]


@pytest.mark.parametrize("name", ALERTS)
def test_each_alert_is_seen_to_fire_and_to_be_silent(name):
    """Of the tests of promtool one at least says that it fires, and one that it does not."""
    found = {"fires": 0, "is silent": 0}
    for _, case in CASES:
        alert, _, _ = case["name"].partition(":")
        checks = case.get("alert_rule_test", ())
        expected = [check.get("exp_alerts", []) for check in checks if check["alertname"] == name]
        for kind, right in (("fires", bool(expected and expected[-1])), ("is silent", True)):
            if alert == f"{name} {kind}":
                found[kind] += right and (kind == "fires" or not any(expected))

    assert 0 < found["fires"]
    assert 0 < found["is silent"]


def test_each_test_of_an_alert_tests_it():
    """A test with an alert's name checks this alert and no other."""
    wrong = []
    for _, case in CASES:
        if checks := case.get("alert_rule_test"):
            name = case["name"].split()[0]
            if {name} != {check["alertname"] for check in checks}:
                wrong.append(case["name"])

    assert [] == wrong


@pytest.mark.parametrize("rule", RECORDS)
def test_each_recorded_series_is_tested(rule):
    """A test of promtool compares its value."""
    compared = {
        metric
        for _, case in CASES
        for check in case.get("promql_expr_test", ())
        if check["exp_samples"]
        for metric in metrics(check["expr"])
    }
    seen_in_ratios = {"job:receiver_receipt_late:rate5m", "job:receiver_durable_late:rate5m"}

    assert rule in compared | seen_in_ratios


def test_panels_are_tested_as_they_are():
    """What a test of promtool says of an expression holds for the panel, or for the mark."""
    tested = {
        check["expr"].strip()
        for case in DATA["prometheus/tests/panels.yml"]["tests"]
        for check in case["promql_expr_test"]
    }
    queries = (
        query["expr"]
        for board in SHOWN.values()
        for asking in (*board["panels"], {"targets": board["annotations"]["list"]})
        for query in asking.get("targets", ())
    )

    assert tested
    assert set() == tested - set(map(bare, queries))


def test_healthy_systems_have_every_series():
    """The busy system in which no alert fires gives every series that a rule reads."""
    (busy,) = (case for name, case in CASES if case["name"] == "A busy system")
    read = set().union(*(metrics(expression) for _, expression in EXPRESSIONS))

    assert set() == read - series(busy) - set(RECORDS)
    assert {"ALERTS"} == {check["expr"] for check in busy["promql_expr_test"]}
    assert all([] == check["exp_samples"] for check in busy["promql_expr_test"])


@pytest.mark.parametrize("name", TESTS)
def test_tests_run_as_prometheus_does(name):
    """They have all rules, and evaluate records before the alerts that read them."""
    data = DATA[name]

    assert ["../rules/*.yml"] == data["rule_files"]
    assert [group["name"] for file in reversed(RULES) for group in DATA[file]["groups"]] == (
        data["group_eval_order"]
    )


def test_sums_of_rates_fit_their_interval():
    """A rate of every 30 s counts for 30 s, in the rules and in their tests."""
    intervals = {group["name"]: seconds(group["interval"]) for group in GROUPS}
    factors = {
        int(factor)
        for rule in ALERTS.values()
        for factor in re.findall(r"(\d+) \* sum_over_time\(", rule["expr"])
    }
    evaluated = {
        seconds(DATA[name]["evaluation_interval"])
        for name, case in CASES
        if any("_late:ratio" in check["expr"] for check in case.get("promql_expr_test", ()))
        or case["name"].startswith(("ReceiptsLate", "AudioDurableLate"))
    }

    assert {intervals["objectives"]} == {intervals["burn rates"]} == factors == evaluated


def test_prometheus_loads_the_rules():
    """Prometheus finds the rules beside its configuration, where compose mounts them."""
    compose = yaml.safe_load(COMPOSE)
    mounts = dict(volume.split(":")[:2] for volume in compose["services"]["prometheus"]["volumes"])
    (pattern,) = DATA["prometheus/prometheus.yml"]["rule_files"]
    loaded = {path.relative_to(DEPLOY).as_posix() for path in PROMETHEUS.glob(pattern)}

    assert set(RULES) == loaded
    assert "/etc/prometheus/rules" == mounts["./deploy/prometheus/rules"]
    assert "/etc/prometheus/prometheus.yml" == mounts["./deploy/prometheus/prometheus.yml"]


def test_links_are_changed_with_one_command():
    """After the command of the guide each link of the rules and of their tests is another one."""
    guide = (ROOT / "docs" / "operations.md").read_text()
    old, new, paths = re.search(r"sed -i 's\|(\S+)\|(\S+)\|' ((?:deploy/\S+ ?)+)", guide).groups()
    found = {path for pattern in paths.split() for path in ROOT.glob(pattern)}
    linking = {
        DEPLOY / name for name in RULES + TESTS if "/d/sonoduct" in (DEPLOY / name).read_text()
    }

    assert GRAFANA == old != new
    assert linking <= found


def test_alertmanager_is_where_prometheus_sends():
    """The service has the name and the port that Prometheus asks for, and its configuration."""
    compose = yaml.safe_load(COMPOSE)
    (where,) = DATA["prometheus/prometheus.yml"]["alerting"]["alertmanagers"]
    (asked,) = where["dns_sd_configs"]
    service = compose["services"]["alertmanager"]

    assert ["alertmanager"] == asked["names"]
    assert [f":{asked['port']}"] == [port[port.rindex(":") :] for port in service["ports"]]
    assert any(
        volume.startswith("./deploy/alertmanager/alertmanager.yml:/etc/alertmanager/")
        for volume in service["volumes"]
    )


def test_alertmanager_knows_the_alerts():
    """Its routes lead to receivers that exist, and what it silences are alerts of the rules."""
    data = DATA["alertmanager/alertmanager.yml"]
    receivers = {each["name"] for each in data["receivers"]}
    routes = [data["route"], *data["route"]["routes"]]
    named = {
        name
        for rule in data["inhibit_rules"]
        for matcher in rule["source_matchers"] + rule["target_matchers"]
        for name in re.fullmatch(r'alertname(?:!=|=~|!~|=)"(.*)"', matcher)[1].split("|")
    }

    assert receivers >= {route["receiver"] for route in routes if "receiver" in route}
    assert set() == named - set(ALERTS)


def silenced(source, target, labels):
    """Return whether the alert *source* silences *target* where both have *labels*."""

    def matches(matcher, name):
        operator, pattern = re.fullmatch(r'alertname(!=|=~|!~|=)"(.*)"', matcher).groups()
        return (re.fullmatch(pattern, name) is not None) == (not operator.startswith("!"))

    return any(
        all(matches(each, source) for each in rule["source_matchers"])
        and all(matches(each, target) for each in rule["target_matchers"])
        and labels >= set(rule.get("equal", ()))
        for rule in DATA["alertmanager/alertmanager.yml"]["inhibit_rules"]
    )


def test_a_full_store_is_one_message():
    """It silences what follows from it, also at the gateway, and nothing else."""
    others = set(ALERTS) - {"StoreFull"}
    follow = {
        *("StoreNearlyFull", "StoreFullSoon", "ClientsRefused", "StreamsStalled"),
        *("UnacknowledgedAgeGrowing", "BufferNearLimit"),
        *("AudioDurableLate", "AudioDurableLateSlowly", "ReceiptsLate", "ReceiptsLateSlowly"),
    }

    assert follow | {"NoReceiverReady"} == {
        name for name in others if silenced("StoreFull", name, {"job"})
    }
    assert {"NoReceiverReady"} == {name for name in others if silenced("StoreFull", name, set())}
