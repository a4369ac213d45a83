"""The metrics of a program in a container, and the values that Prometheus has."""

import json
import urllib.parse
import urllib.request
from collections import Counter
from itertools import pairwise

from prometheus_client.parser import text_string_to_metric_families

from tests.containers.engine import inside

ASK = """
import sys, urllib.request
opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
sys.stdout.write(opener.open(sys.argv[1], timeout=5).read().decode())
"""
RECEIVER = "http://127.0.0.1:8767/metrics"
SENDER = "http://127.0.0.1:8768/metrics"


def metrics_of(container, url=RECEIVER):
    """Return the samples at *url*, read by the Python in *container*, which can reach it."""
    text = inside(container, "python", "-c", ASK, url)
    return [sample for family in text_string_to_metric_families(text) for sample in family.samples]


def total(samples, name, **labels):
    """Return the sum of the values with *name* and *labels*."""
    return sum(
        sample.value
        for sample in samples
        if sample.name == name and labels.items() <= sample.labels.items()
    )


def query(prometheus, expression):
    """Return the values of an instant query, as pairs of labels and value."""
    answer = _get(prometheus, "query", query=expression)
    return [(each["metric"], float(each["value"][1])) for each in answer["result"]]


def counted(prometheus, name, *by):
    """
    Return what all processes have counted under *name* in the last hour, by the labels *by*.

    It is exact, since `increase` would extrapolate: a value below the one before is a new
    process's. What is 0 is left out.
    """
    totals = Counter()
    for series in _get(prometheus, "query", query=f"{name}[1h]")["result"]:
        values = [float(value) for _, value in series["values"]]
        ends = [before for before, after in pairwise(values) if after < before]
        totals[tuple(series["metric"].get(label, "") for label in by)] += sum(ends) + values[-1]
    return {labels: total for labels, total in totals.items() if total}


def targets(prometheus, job):
    """Return the health of each target of *job*, by its address."""
    return {
        target["labels"]["instance"]: target["health"]
        for target in _get(prometheus, "targets", state="active")["activeTargets"]
        if target["labels"]["job"] == job
    }


def _get(prometheus, path, **parameters):
    url = f"{prometheus}/api/v1/{path}?{urllib.parse.urlencode(parameters)}"
    opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
    with opener.open(url, timeout=5) as answer:
        return json.load(answer)["data"]
