"""The dashboards that are committed, and the metrics that their queries may name."""

import json
import re
from collections import defaultdict
from pathlib import Path

import pytest

from deploy.grafana.__main__ import BOARDS, FOLDER
from docs.metrics import families

DEPLOY = Path(__file__).parents[2] / "deploy"
GATEWAY = (DEPLOY / "haproxy" / "haproxy.cfg").read_text()
BACKENDS = set(re.findall(r"^backend (\w+)", GATEWAY, re.MULTILINE))
FRONTENDS = set(re.findall(r"^frontend (\w+)", GATEWAY, re.MULTILINE))

SERVER = {"proxy": BACKENDS, "server": set()}
BACKEND = {"proxy": BACKENDS}
FRONTEND = {"proxy": FRONTENDS}
STATES = {"UP", "DOWN", "NOLB", "DRAIN", "MAINT"}
FOREIGN = {
    "ALERTS": {"alertname": set(), "alertstate": {"firing", "pending"}, "severity": set()},
    "up": {},
    "haproxy_process_build_info": {"version": set()},
    "haproxy_process_start_time_seconds": {},
    "haproxy_process_idle_time_percent": {},
    "haproxy_frontend_connections_total": FRONTEND,
    "haproxy_frontend_current_sessions": FRONTEND,
    "haproxy_frontend_limit_sessions": FRONTEND,
    "haproxy_frontend_requests_denied_total": FRONTEND,
    "haproxy_frontend_denied_connections_total": FRONTEND,
    "haproxy_backend_active_servers": BACKEND,
    "haproxy_backend_connection_errors_total": BACKEND,
    "haproxy_backend_client_aborts_total": BACKEND,
    "haproxy_backend_server_aborts_total": BACKEND,
    "haproxy_backend_retry_warnings_total": BACKEND,
    "haproxy_backend_redispatch_warnings_total": BACKEND,
    "haproxy_server_bytes_in_total": SERVER,
    "haproxy_server_check_failures_total": SERVER,
    "haproxy_server_current_sessions": SERVER,
    "haproxy_server_sessions_total": SERVER,
    "haproxy_server_status": {**SERVER, "state": STATES},
}
"""Metrics of Prometheus and HAProxy 3.0: their labels, and the values that may be asked for."""

RULES = {
    "replica:receiver_missing:info": {"replica": set()},
    "server:receiver_gateway:info": {"server": set(), "replica": set()},
    "job:receiver_store_full:eta_seconds": {},
    "job:receiver_durable_late:ratio_rate1h": {},
    "job:receiver_receipt_late:ratio_rate1h": {},
}
"""Recording rules of deploy/prometheus, and their labels besides the job."""


@pytest.fixture(name="exported", scope="session")
def _exported():
    """Return what receivers and senders export: for each name its labels and their values."""
    exported = defaultdict(lambda: defaultdict(set))
    for service, metrics in families().items():
        added = {"replica": ""} if service == "receiver" else {}
        for sample in (sample for metric in metrics for sample in metric.samples):
            for label, value in {**sample.labels, **added}.items():
                exported[sample.name][label].add(value)
            exported[sample.name]  # also those without labels
    return {name: dict(labels) for name, labels in exported.items()}


@pytest.fixture(name="known", scope="session")
def _known(exported):
    """Return every metric that a query may name; Prometheus adds the job and the instance."""
    added = {"job": set(), "instance": set()}
    every = FOREIGN | RULES | exported
    return {metric: {**labels, **added} for metric, labels in every.items()}


@pytest.fixture(name="dashboards", scope="session")
def _dashboards():
    """Return each dashboard as its file has it, by the name of the file."""
    return {board.file: json.loads((FOLDER / board.file).read_text()) for board in BOARDS}
