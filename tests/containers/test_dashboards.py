"""Prometheus parses what the dashboards ask."""

import json
import re

import pytest

from deploy.grafana.__main__ import FOLDER
from tests.containers.engine import ROOT, docker

pytestmark = pytest.mark.containers

VARIABLES = {
    "__rate_interval": "1m",
    "__interval": "15s",
    "__interval_ms": "15000",
    "__range": "30m",
    "__range_s": "1800",
}


def expressions():
    """Yield every expression of the dashboards, with values for their variables."""
    for path in FOLDER.iterdir():
        board = json.loads(path.read_text())
        targets = [target for panel in board["panels"] for target in panel.get("targets") or ()]
        for each in [*targets, *board["annotations"]["list"]]:
            yield re.sub(r"\$([a-z_]+)", lambda name: VARIABLES.get(name[1], ".+"), each["expr"])


def test_prometheus_parses_every_expression(tmp_path, engine):
    """Each expression of a panel or an annotation is a rule that promtool accepts."""
    rules = [{"record": f"dashboard:{n}", "expr": each} for n, each in enumerate(expressions())]
    tmp_path.chmod(0o755)
    (tmp_path / "rules.yml").write_text(json.dumps({"groups": [{"name": "all", "rules": rules}]}))
    config = json.loads(
        docker("compose", "--file", ROOT / "docker-compose.yml", "config", "--format", "json")
    )
    image = config["services"]["prometheus"]["image"]
    mounted = f"{tmp_path}:/rules:ro,z"
    command = ("check", "rules", "/rules/rules.yml")
    said = docker("run", "--rm", "-v", mounted, "--entrypoint", "promtool", image, *command)

    assert f"SUCCESS: {len(rules)} rules found" in said
