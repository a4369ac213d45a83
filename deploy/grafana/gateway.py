"""Does the gateway pass connections on, evenly, and whom does it refuse?"""

from typing import Final

from deploy.grafana.board import Board
from deploy.grafana.panels import ZERO_IS_GOOD, AnyPanel, bars, lines, stat
from deploy.grafana.queries import query, refusals

NAMED: Final = "* on (server) group_left (replica) server:receiver_gateway:info"
"""Gives the gateway's servers the names of the replicas, whichever container is behind them."""


GONE: Final = (
    'unless on (job, instance, server) haproxy_server_status{proxy="receivers", state="MAINT"} == 1'
)
"""Leaves out the places of the gateway without a container, which keep a name for an hour."""


LOADS: Final = "sum by (replica) (receiver_active_connections)"


def by_replica(metric: str) -> str:
    """Return an expression of *metric* for each replica that is there; a counter as events."""
    selected = f'{metric}{{proxy="receivers"}}'
    if metric.endswith("_total"):
        return f"sum by (replica) (counted({selected}[$__interval]) {NAMED})"
    return f"sum by (replica) (({selected} {GONE}) {NAMED})"


NOW: Final[list[AnyPanel]] = [
    stat(
        "Receivers that get connections",
        "As the gateway sees them. Fewer than replicas: a check fails, a receiver drains, or its"
        " store is full.",
        "short",
        query('max(haproxy_backend_active_servers{proxy="receivers"})'),
        colours={0: "red", 1: "green"},
        decimals=0,
        width=6,
    ),
    stat(
        "Connections now",
        "Through all gateways.",
        "short",
        query('sum(haproxy_frontend_current_sessions{proxy="streams"})'),
        decimals=0,
        width=6,
    ),
    stat(
        "Share of its limit",
        "Connections, as a share of GATEWAY_MAX_CONNECTIONS. At 100 % new ones wait outside."
        " Above 80 %: raise the limit, with the file descriptors.",
        "percentunit",
        query(
            'max(haproxy_frontend_current_sessions{proxy="streams"}'
            ' / haproxy_frontend_limit_sessions{proxy="streams"})'
        ),
        colours={0: "green", 0.8: "orange", 0.95: "red"},
        width=6,
    ),
    stat(
        "Refused in this range",
        "Connections that the gateway turned away: over the limits of one address, or because no"
        " receiver answered.",
        "short",
        query(
            'sum(counted(haproxy_frontend_requests_denied_total{proxy="streams"}[$__range]))'
            " + sum(counted("
            'haproxy_frontend_denied_connections_total{proxy="streams"}[$__range])) or vector(0)',
            "limits of an address",
        ),
        query(
            "sum(counted("
            'haproxy_backend_connection_errors_total{proxy="receivers"}[$__range])) or vector(0)',
            "no receiver",
        ),
        colours=ZERO_IS_GOOD,
        decimals=0,
        width=6,
    ),
]

BALANCE: Final[list[AnyPanel]] = [
    lines(
        "Connections by replica",
        "Connections that the gateway holds to each receiver. Even lines: balanced. Streams stay"
        " where they are, so a new replica fills up with new ones only.",
        "short",
        query(by_replica("haproxy_server_current_sessions"), "{{replica}}"),
        whole=True,
    ),
    lines(
        "Most loaded replica against the average",
        "As receivers count connections. 1 is even, or the most loaded one has no more than 10"
        " above the average. Above 1.5 for long: new streams are few; roll, and senders spread"
        " again.",
        "short",
        query(
            f"max({LOADS}) / avg({LOADS}) and max({LOADS}) > 10 + avg({LOADS}) or avg({LOADS}) ^ 0",
            "most / average",
        ),
        colours={0: "green", 1.5: "orange"},
    ),
    bars(
        "New connections by replica",
        "Connections that the gateway gave to each receiver. The one with the fewest"
        " connections gets the next, so a new replica gets most of them for a while. When a replica"
        " takes the place of one that left, the bar of that moment has the connections of both.",
        query(by_replica("haproxy_server_sessions_total"), "{{replica}}"),
    ),
]

HEALTH: Final[list[AnyPanel]] = [
    lines(
        "Receivers by state",
        "As the gateway sees them. UP gets connections. NOLB keeps its streams and gets no new"
        " ones: it is about to stop, or its store is full. DOWN fails its checks: its log says"
        " why.",
        "short",
        query(
            "sum by (state) "
            '(haproxy_server_status{proxy="receivers", state=~"UP|DOWN|NOLB|DRAIN"})',
            "{{state}}",
        ),
        width=6,
        whole=True,
        paint={"UP": "green", "NOLB": "yellow", "DRAIN": "yellow", "DOWN": "red"},
    ),
    bars(
        "Checks that failed",
        "Health checks without a good answer, by replica. A few at the end of a"
        " container are normal.",
        query(by_replica("haproxy_server_check_failures_total"), "{{replica}}"),
        width=6,
    ),
    bars(
        "Refused, by reason",
        "Connections that a receiver or the gateway turned away. One connection of"
        " an address too many: GATEWAY_CLIENT_CONNECTIONS and GATEWAY_CLIENT_RATE; its address is"
        " in the gateway's log.",
        *refusals(),
        width=12,
    ),
    bars(
        "Connections tried again",
        "The first receiver did not answer, and the gateway tried once more, at"
        " another one. Normal for a second after a replica left.",
        query(
            'sum(counted(haproxy_backend_retry_warnings_total{proxy="receivers"}[$__interval]))',
            "tried again",
        ),
        query(
            'sum(counted(haproxy_backend_redispatch_warnings_total{proxy="receivers"}'
            "[$__interval]))",
            "at another receiver",
        ),
        width=6,
    ),
    lines(
        "New connections",
        "Each second, with those that are refused. High and steady: senders come back again and"
        " again; the dashboard Delivery has their reasons.",
        "suffix: /s",
        query(
            'sum(rate(haproxy_frontend_connections_total{proxy="streams"}[$__rate_interval]))',
            "connections",
        ),
        width=6,
    ),
    lines(
        "Time since the last check, by replica",
        "The gateway checks each receiver once a second. A line that climbs: this receiver works,"
        " and the gateway does not know it; look at DNS and at the gateway's log.",
        "s",
        query(
            "time() - max by (replica) (receiver_gateway_check_timestamp_seconds)", "{{replica}}"
        ),
        colours={0: "green", 15: "red"},
        width=6,
    ),
    lines(
        "How busy the gateway is",
        "Share of the time in which its threads worked. Above 80 %: more CPU for it.",
        "percentunit",
        query("1 - min by (instance) (haproxy_process_idle_time_percent) / 100", "{{instance}}"),
        colours={0: "green", 0.8: "red"},
        width=6,
        top=1,
    ),
]

GATEWAY: Final = Board(
    file="gateway.json",
    uid="sonoduct-gateway",
    title="Sonoduct: gateway",
    description="Does the gateway pass connections on, evenly, and whom does it refuse?",
    rows={"Now": NOW, "Balance": BALANCE, "Health": HEALTH},
)
