"""The promises of docker-compose.yml for every service; needs the command, but no engine."""

import json

import pytest

from tests.containers.engine import ENVIRONMENT, ROOT, docker

pytestmark = pytest.mark.containers

SERVICES = ("gateway", "receiver", "sender", "prometheus", "alertmanager", "grafana")
FILE = ("compose", "--file", ROOT / "docker-compose.yml")
ALL = (*FILE, "--profile", "alerts")


@pytest.fixture(name="services", scope="module")
def _services():
    """Return each service as compose reads it, with no variable set, and with every profile."""
    return json.loads(docker(*ALL, "config", "--format", "json", env=ENVIRONMENT))["services"]


def test_file_is_valid(services):
    """The file is valid, and has only the services that the tests below check."""
    docker(*ALL, "config", "--quiet")

    assert set(SERVICES) == set(services)


def test_alertmanager_is_not_started_unasked():
    """Without its profile, compose starts every service but Alertmanager."""
    started = docker(*FILE, "config", "--services", env=ENVIRONMENT).split()

    assert set(SERVICES) - {"alertmanager"} == set(started)


@pytest.mark.parametrize("name", SERVICES)
def test_services_have_no_privileges(services, name):
    """No privilege, only a small writable /tmp, and a reaper as the first process."""
    service = services[name]

    assert service["read_only"] is True
    assert service["init"] is True
    assert ["ALL"] == service["cap_drop"]
    assert ["no-new-privileges:true"] == service["security_opt"]
    assert ["/tmp:rw,noexec,nosuid,nodev,size=64m"] == service["tmpfs"]  # noqa: S108  # in the container
    for extra in ("cap_add", "devices", "network_mode", "pid", "ipc", "privileged", "userns_mode"):
        assert extra not in service


@pytest.mark.parametrize("name", SERVICES)
def test_every_resource_has_a_limit(services, name):
    """Memory, swap, processors, processes, logs and the time to stop are bounded."""
    service = services[name]

    assert 0 < int(service["mem_limit"]) == int(service["memswap_limit"])
    assert 0 < float(service["cpus"]) <= 2
    assert 0 < service["pids_limit"] <= 256
    assert {"driver": "json-file", "options": {"max-file": "3", "max-size": "10m"}} == (
        service["logging"]
    )
    assert "unless-stopped" == service["restart"]


@pytest.mark.parametrize("name", SERVICES)
def test_health(services, name):
    """Each service has a health check, in the file or in our image, and the check ends in time."""
    service = services[name]
    if "build" in service:
        text = (ROOT / service["build"]["dockerfile"]).read_text()

        assert "\nHEALTHCHECK --interval=5s --timeout=3s" in text
    else:
        assert "CMD" == service["healthcheck"]["test"][0]
        assert "timeout" in service["healthcheck"]
        assert "disable" not in service["healthcheck"]


def test_ports(services):
    """Other machines can reach one port of the gateway only."""
    published = {
        name: [(port.get("host_ip"), port["target"]) for port in service.get("ports", [])]
        for name, service in services.items()
    }

    assert {
        "gateway": [("127.0.0.1", 8766)],
        "prometheus": [("127.0.0.1", 9090)],
        "alertmanager": [("127.0.0.1", 9093)],
        "grafana": [("127.0.0.1", 3000)],
        "receiver": [],
        "sender": [],
    } == published


def test_time_to_stop(services):
    """An engine gives a receiver and a sender enough time to end before it kills them."""
    assert "30s" == services["receiver"]["stop_grace_period"]
    assert "15s" == services["sender"]["stop_grace_period"]


def test_audio_is_read_only(services):
    """The sender only reads audio; recordings and the sender's records are in volumes."""
    audio, ledger = services["sender"]["volumes"]
    (recordings,) = services["receiver"]["volumes"]

    assert ("/audio", True) == (audio["target"], audio["read_only"])
    assert ("volume", "/ledger") == (ledger["type"], ledger["target"])
    assert ("volume", "/recordings") == (recordings["type"], recordings["target"])
