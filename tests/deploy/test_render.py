"""A dashboard is drawn from the answers of a Prometheus."""

import json
import math
import threading
import urllib.parse
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from itertools import pairwise

import pytest

from deploy.grafana.asking import Prometheus, Range
from deploy.grafana.canvas import THEMES
from deploy.grafana.render import Picture

START, END = 1_700_000_000.0, 1_700_000_600.0
PNG = b"\x89PNG\r\n"
TIMES = "timeseries"


@contextmanager
def answering(answer):
    """Yield the address of a server that speaks Prometheus' API, and the list of its questions."""
    asked = []

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self):
            path, _, query = self.path.partition("?")
            parameters = dict(urllib.parse.parse_qsl(query))
            asked.append(parameters)
            result = answer(path.rpartition("/")[2], parameters)
            body = json.dumps({"status": "success", "data": {"result": result}}).encode()
            self.send_response(200)
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *args):
            """Say nothing."""

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        thread = threading.Thread(target=server.serve_forever, args=(0.01,))
        thread.start()
        try:
            yield f"http://127.0.0.1:{server.server_port}", asked
        finally:
            server.shutdown()
            thread.join()


def two_replicas(path, parameters):
    """Answer with two replicas; the second one has a gap, and is worse."""
    labels = [{"replica": "one"}, {"replica": "two"}]
    if path == "query":
        return [
            {"metric": metric, "value": [END, str(place)]} for place, metric in enumerate(labels)
        ]
    step = float(parameters["step"])
    times = [float(parameters["start"]) + step * place for place in range(int(600 / step) + 1)]
    return [
        {"metric": labels[0], "values": [[at, "1"] for at in times]},
        {"metric": labels[1], "values": [[at, "2"] for at in times if not 200 < at - START < 400]},
    ]


def texts(figure):
    axes = (label.get_text() for axes in figure.axes for label in axes.get_yticklabels())
    return [*(text.get_text() for text in figure.texts), *axes]


@pytest.fixture(name="board", scope="session")
def _board(dashboards):
    """Return one panel of each kind that the dashboards have."""
    panels = {}
    for dashboard in dashboards.values():
        for panel in dashboard["panels"]:
            bars = panel.get("fieldConfig", {}).get("defaults", {}).get("custom", {})
            panels.setdefault((panel["type"], bars.get("drawStyle")), panel)
    placed = [
        {**panel, "gridPos": {"x": 0, "y": 8 * place, "w": 24, "h": 8}}
        for place, panel in enumerate(panels.values())
    ]
    return {**dashboards["overview.json"], "panels": placed}


@pytest.mark.parametrize("theme", sorted(THEMES))
def test_every_kind_of_panel_is_drawn(board, theme, tmp_path):
    """Titles, names of series and states of replicas are in the picture, in both themes."""
    with answering(two_replicas) as (address, _):
        prometheus = Prometheus(address, {})
        figure = Picture(board, prometheus, Range(START, END), THEMES[theme], 1000).draw()
    figure.savefig(tmp_path / "board.png")

    assert (tmp_path / "board.png").read_bytes().startswith(PNG)
    for panel in board["panels"]:
        assert any(panel["title"] in text for text in texts(figure))
    assert {"one", "two"} <= set(texts(figure))
    assert ["two", "one"] in [
        [label.get_text() for label in axes.get_yticklabels()] for axes in figure.axes
    ]


def test_no_series_is_no_data(board):
    """A panel without series says so, or says what its dashboard has for that case."""
    with answering(lambda path, parameters: []) as (address, _):
        prometheus = Prometheus(address, {})
        figure = Picture(board, prometheus, Range(START, END), THEMES["dark"], 1000).draw()

    empty = ["No data"] * sum(panel["type"] != "row" for panel in board["panels"])
    assert empty == [text for text in texts(figure) if text == "No data"]


def one_of_many(path, parameters):
    """Answer with twenty series of long names, of which the last one alone is not 0."""
    times = range(int(START), int(END), 15)
    return [
        {
            "metric": {"reason": f"a reason that takes much room {number:02}"},
            "values": [[at, "1" if number == 19 else "0"] for at in times],
        }
        for number in range(20)
    ]


def drawn(panel, answer, width):
    """Return the picture of *panel*, which takes the whole width."""
    board = {
        "title": "One panel",
        "annotations": {"list": []},
        "templating": {"list": []},
        "panels": [{**panel, "gridPos": {"x": 0, "y": 0, "w": 24, "h": 8}}],
    }
    with answering(answer) as (address, _):
        prometheus = Prometheus(address, {})
        return Picture(board, prometheus, Range(START, END), THEMES["dark"], width).draw()


def test_a_legend_begins_with_what_is_not_0(dashboards):
    """A legend without room for all series has the ones that tell something."""
    panel = {
        **next(each for each in dashboards["overview.json"]["panels"] if each["type"] == TIMES),
        "targets": [{"expr": "a", "legendFormat": "{{reason}}"}],
    }
    shown = [text for text in texts(drawn(panel, one_of_many, 500)) if text.startswith("a reason")]

    assert "a reason that takes much room 19" in shown
    assert len(shown) < 20


@pytest.mark.parametrize("width", [250, 400, 800, 1600])
def test_times_do_not_overlap(dashboards, width):
    """The times below a panel have room, however narrow it is."""
    panel = next(each for each in dashboards["overview.json"]["panels"] if each["type"] == TIMES)
    figure = drawn(panel, two_replicas, width)
    figure.draw_without_rendering()
    spans = [
        [label.get_window_extent() for label in axes.get_xticklabels()] for axes in figure.axes
    ]

    assert spans[0]
    assert all(left.x1 < right.x0 for each in spans for left, right in pairwise(each))


def test_variables_are_put_in():
    """A query has the chosen values, everything for those not chosen, and windows that fit."""
    expression = (
        'rate(a{job=~"$job", replica=~"$replica"}[$__rate_interval]) + b[$__range]'
        " + c[$__interval] < $__interval_ms + $__range_s"
    )
    with answering(two_replicas) as (address, asked):
        prometheus = Prometheus(address, {"replica": "two"})
        prometheus.over_time(expression, Range(START, END), 10)

    assert asked[0]["query"] == (
        'rate(a{job=~".+", replica=~"two"}[20s]) + b[600s] + c[10s] < 10000 + 600'
    )


def test_gaps_stay_gaps():
    """A series without values for a time is not drawn through: there is a NaN."""
    with answering(two_replicas) as (address, _):
        series = Prometheus(address, {}).over_time("up", Range(START, END), 10)

    assert [0, 1] == [sum(map(math.isnan, each.values)) for each in series]
