"""promtool, of the image that runs Prometheus, checks the rules and runs their tests."""

import json

import pytest

from tests.containers.engine import ENVIRONMENT, ROOT, CommandFailedError, docker, inside
from tests.containers.metrics import ASK, RECEIVER, SENDER

pytestmark = pytest.mark.containers

FOLDER = ROOT / "deploy" / "prometheus"
TESTS = sorted(path.name for path in (FOLDER / "tests").glob("*.yml"))


@pytest.fixture(name="promtool", scope="module")
def _promtool(engine):
    """Return a function that runs promtool in a folder like ours; it returns all the output."""
    config = ("compose", "--file", ROOT / "docker-compose.yml", "config", "--format", "json")
    image = json.loads(docker(*config, env=ENVIRONMENT))["services"]["prometheus"]["image"]

    def run(*arguments, folder=FOLDER):
        return docker(
            *("run", "--rm", "--network", "none", "--entrypoint", "promtool"),
            *("--volume", f"{folder}:/etc/prometheus:ro,z", "--workdir", "/etc/prometheus"),
            *(image, *arguments),
            within=300,
            both=True,
        )

    run.image = image
    return run


def test_configuration_is_valid(promtool):
    """Prometheus accepts its configuration and finds the rules, each of them without a fault."""
    said = promtool("check", "config", "prometheus.yml")

    assert "2 rule files found" in said


def test_rules_are_valid(promtool):
    """Each rule file is accepted, also by promtool's own lint."""
    files = sorted(f"rules/{path.name}" for path in (FOLDER / "rules").glob("*.yml"))
    said = promtool("check", "rules", "--lint=all", "--lint-fatal", *files)

    assert len(files) == said.count("SUCCESS")


@pytest.mark.parametrize("name", TESTS)
def test_rules_do_as_their_tests_say(promtool, name):
    """Each alert fires when it should, and only then; each recorded series has its value."""
    promtool("test", "rules", f"tests/{name}")


def test_a_test_of_rules_can_fail(promtool, tmp_path):
    """With another threshold in a rule promtool fails."""
    for path in FOLDER.rglob("*.yml"):
        copy = tmp_path / path.relative_to(FOLDER)
        copy.parent.mkdir(parents=True, exist_ok=True)
        copy.write_text(path.read_text().replace(") > 0.8", ") > 0.81"))
    tmp_path.chmod(0o755)

    with pytest.raises(CommandFailedError, match="GatewaySaturated"):
        promtool("test", "rules", "tests/gateway.yml", folder=tmp_path)


@pytest.mark.parametrize("service", ["receiver", "sender"])
def test_metrics_are_as_prometheus_wants_them(promtool, system, tmp_path, service):
    """Promtool finds no fault in the names, types, units and help of a running service."""
    url = {"receiver": RECEIVER, "sender": SENDER}[service]
    container = min(system.containers(service))
    (tmp_path / "metrics").write_text(inside(container, "python", "-c", ASK, url))
    (tmp_path / "metrics").chmod(0o644)
    tmp_path.chmod(0o755)
    said = docker(
        *("run", "--rm", "--network", "none", "--entrypoint", "sh"),
        *("--volume", f"{tmp_path}:/checked:ro,z"),
        *(promtool.image, "-c", "promtool check metrics < /checked/metrics"),
        both=True,
    )

    assert "" == said
