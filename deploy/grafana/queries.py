"""
Queries, with the ones that several dashboards ask.

They are written without the matchers of the variables: `select` adds them, so that no query lacks
one. `counted(COUNTER[WINDOW])` in a query is the exact number of events; `select` says how.
"""

import re
from typing import Final

from grafana_foundation_sdk.builders import prometheus
from grafana_foundation_sdk.models import common as drawing

DATA_SOURCE: Final = drawing.DataSourceRef(type_val="prometheus", uid="${datasource}")

MATCHERS: Final = {
    "receiver": 'job=~"$job", replica=~"$replica"',
    "sender": 'job=~"$job", instance=~"$instance"',
    "haproxy": 'job=~"$job", instance=~"$gateway"',
}
_METRIC: Final = re.compile(r"(?<![\w:])(receiver|sender|haproxy)_\w+(?![\w:])(?:\{(.*?)\})?")

RECEIVER_PROCESS: Final = '{job=~"$job", replica=~"$replica"}'
"""What a `process_` metric is selected with: only receivers have a replica."""
SENDER_PROCESS: Final = '{job=~"$job", instance=~"$instance", replica=""}'
OF_SENDERS: Final = "and on (job, instance) sender_build_info"

_COUNTED: Final = re.compile(r"counted\(((receiver|sender|haproxy)_\w+(?:\{.*?\})?)\[(.*?)\]\)")
_STARTED: Final = {
    "receiver": f"process_start_time_seconds{RECEIVER_PROCESS}",
    "sender": f"process_start_time_seconds{SENDER_PROCESS}",
    "haproxy": "haproxy_process_start_time_seconds",
}
_SECONDS: Final = {"$__interval": "$__interval_ms / 1000", "$__range": "$__range_s"}
FIRST_SCRAPE_S: Final = 60
"""A process is scraped within this time of its start."""


def _count(counter: str, service: str, window: str) -> str:
    """
    Return an expression of the events that *counter* has counted within *window*.

    `increase` extrapolates, and misses what a process counts before it is scraped first. This is
    the difference between the values at both ends of the window, so that the bars of a panel add up
    to the events. A process that began in the window counts whole. `increase` is left for one that
    began anew at its address, and for one that Prometheus did not know although it is old.
    """
    last = f"last_over_time({counter}[{window}])"
    young = f"time() - last_over_time({_STARTED[service]}[{window}])"
    return (
        f"(({last} - {counter} offset {window} >= 0"
        f" or {last} and on (job, instance) {young} < {_SECONDS[window]} + {FIRST_SCRAPE_S})"
        f" unless resets({counter}[{window}]) > 0"
        f" or round(increase({counter}[{window}])))"
    )


def select(expression: str) -> str:
    """
    Return *expression* as Grafana asks it.

    Each metric of ours and of HAProxy gets the variables' matchers, and `counted` is written out.
    """

    def with_matchers(found: re.Match[str]) -> str:
        name = found[0].partition("{")[0]
        return f"{name}{{{', '.join(filter(None, (MATCHERS[found[1]], found[2])))}}}"

    return _METRIC.sub(
        with_matchers, _COUNTED.sub(lambda found: _count(*found.groups()), expression)
    )


def query(expression: str, legend: str = "") -> prometheus.Dataquery:
    """Return a query of *expression* over time, whose series are named by *legend*."""
    return prometheus.Dataquery().expr(select(expression)).legend_format(legend).range()


def builds(service: str, *by: str) -> str:
    """Return an expression that counts the processes of *service* by *by*, version and revision."""
    labels = ", ".join((*by, "version", "revision"))
    short = f'label_replace({service}_build_info, "revision", "$1", "revision", "(.{{1,8}}).*")'
    return f"count by ({labels}) ({short})"


def quantiles(histogram: str, *by: str) -> list[prometheus.Dataquery]:
    """Return queries of the median and 99th percentile of *histogram*, for each value of *by*."""
    labels = ", ".join(("le", *by))
    name = " ".join(f"{{{{{label}}}}}" for label in by)
    return [
        query(
            f"histogram_quantile({share}, "
            f"sum by ({labels}) (rate({histogram}_bucket[$__rate_interval])))",
            f"{name} {shown}".strip(),
        )
        for share, shown in ((0.5, "median"), (0.99, "99 % below"))
    ]


STATES: Final = {
    "0": ("running", "green"),
    "1": ("draining", "yellow"),
    "2": ("missing", "red"),
    "3": ("full", "orange"),
}
MISSING: Final = '(count(replica:receiver_missing:info{replica=~"$replica"}) or vector(0))'
STATE: Final = (
    "min by (replica) (receiver_draining) > 0"
    " or 3 + (max by (replica) (receiver_store_free_bytes) == 0)"
    " or min by (replica) (receiver_draining)"
    ' or 2 * replica:receiver_missing:info{replica=~"$replica"}'
)
"""A value of STATES for each replica; in a roll, of the new container, not of the old one."""
WORST_STATE: Final = (
    '2 * max by (replica) (max_over_time(replica:receiver_missing:info{replica=~"$replica"}'
    "[$__interval]))"
    " or max by (replica) (max_over_time(receiver_draining[$__interval])) > 0"
    " or 3 + (min by (replica) (min_over_time(receiver_store_free_bytes[$__interval])) == 0)"
    " or max by (replica) (max_over_time(receiver_draining[$__interval]))"
)
"""The worst value of STATES in each step, of all containers of a replica: a drain is short."""


def replicas() -> list[prometheus.Dataquery]:
    """Return queries of how many replicas should be present, and how many are."""
    present = "count by (replica) (receiver_build_info)"
    # A replica that has just been killed is not missing until the rule runs.
    seen = "count by (replica) (last_over_time(receiver_draining[$__rate_interval]) == 0)"
    missing = 'replica:receiver_missing:info{replica=~"$replica"}'
    return [
        query(f"count({present} or {seen} or {missing}) or vector(0)", "expected"),
        query(f"count({present}) or vector(0)", "present"),
    ]


def refusals() -> list[prometheus.Dataquery]:
    """
    Return queries of the refusals by receivers, by reason, and by the gateway.

    None counts a connection without a request, such as a health check of the port.
    """
    gateway = {
        'haproxy_frontend_requests_denied_total{proxy="streams"}': "over the limit of an address",
        'haproxy_frontend_denied_connections_total{proxy="streams"}': "far over that limit",
        'haproxy_backend_connection_errors_total{proxy="receivers"}': "no receiver answered",
    }
    return [
        query(
            "sum by (reason) (counted(receiver_refusals_total[$__interval]))",
            "receiver: {{reason}}",
        ),
        *(
            query(f"sum(counted({counter}[$__interval]))", f"gateway: {legend}")
            for counter, legend in gateway.items()
        ),
    ]


def reconnects() -> prometheus.Dataquery:
    """Return a query of the attempts after the first, by reason."""
    return query(
        "sum by (reason) (counted(sender_reconnects_total[$__interval]))",
        "reconnect: {{reason}}",
    )


def unacknowledged() -> list[prometheus.Dataquery]:
    """Return queries of the bytes of audio that either end holds, since it is not safe yet."""
    return [
        query("sum(sender_unacknowledged_bytes)", "at senders: not acknowledged"),
        query("sum(receiver_buffered_bytes)", "at receivers: not stored and processed"),
    ]
