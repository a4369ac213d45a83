"""The promises of docker-compose.yml for every service; needs the command, but no engine."""

import json
import subprocess

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


def override(*names, **variables):
    """Return each service as compose reads it with these files of deploy/compose."""
    more = [each for name in names for each in ("--file", ROOT / f"deploy/compose/{name}.yml")]
    environment = {**ENVIRONMENT, **variables}
    return json.loads(docker(*ALL[:3], *more, "config", "--format", "json", env=environment))


def test_published_where_the_operator_says():
    """Only the gateway's port can be published on another address."""
    ports = {
        name: [(port["host_ip"], port["target"]) for port in service["ports"]]
        for name, service in override(SONODUCT_ADDRESS="192.0.2.7")["services"].items()
        if "ports" in service
    }

    assert [("192.0.2.7", 8766)] == ports.pop("gateway")
    assert {"127.0.0.1"} == {host for each in ports.values() for host, _ in each}


def test_seccomp_and_apparmor_are_not_switched_off(services):
    """No service has an option but the one that takes privileges away."""
    assert {"no-new-privileges:true"} == {
        option for service in services.values() for option in service["security_opt"]
    }


def test_tokens():
    """With the override for tokens, receivers are not open, and both ends read a secret file."""
    found = override("tokens")
    receiver, sender = (found["services"][name] for name in ("receiver", "sender"))

    assert "false" == receiver["environment"]["RECEIVER_OPEN"]
    for service, variable, secret in (
        (receiver, "RECEIVER_TOKENS", "receiver_tokens"),
        (sender, "SENDER_TOKEN_FILE", "sender_token"),
    ):
        assert f"/run/secrets/{secret}" == service["environment"][variable]
        assert [secret] == [each["source"] for each in service["secrets"]]
        assert str(ROOT / "secrets") in found["secrets"][secret]["file"]


def test_tls():
    """With the override for TLS, the gateway has a certificate, and the sender checks it."""
    found = override("tls")
    gateway, sender = (found["services"][name] for name in ("gateway", "sender"))

    assert gateway["environment"]["GATEWAY_BIND"].startswith(":8766 ssl crt /run/secrets/")
    assert "ssl-min-ver TLSv1.2" in gateway["environment"]["GATEWAY_BIND"]
    assert "wss://gateway:8766" == sender["environment"]["SENDER_TO"]
    assert "/run/secrets/ca_of_gateway" == sender["environment"]["SENDER_CA_FILE"]


def test_overrides_change_nothing_else(services):
    """Each override leaves the limits and the hardening of every service as they are."""
    for name, service in override("tokens", "tls", "grafana-admin")["services"].items():
        for key, value in services[name].items():
            if key not in ("environment", "secrets", "entrypoint"):
                assert value == service[key], (name, key)


def test_grafana_has_no_known_password(services):
    """Grafana has no administrator; with the override one, whose password is in a secret file."""
    plain = services["grafana"]["environment"]
    administered = override("grafana-admin")["services"]["grafana"]

    assert "true" == plain["GF_SECURITY_DISABLE_INITIAL_ADMIN_CREATION"]
    assert not [name for name in plain if "PASSWORD" in name]
    assert "false" == administered["environment"]["GF_SECURITY_DISABLE_INITIAL_ADMIN_CREATION"]
    assert ["GF_SECURITY_ADMIN_PASSWORD__FILE"] == [
        name for name in administered["environment"] if "PASSWORD" in name
    ]


@pytest.mark.parametrize(("password", "code"), [("", 1), ("\n", 1), ("right", 127)])
def test_grafana_does_not_start_with_an_empty_password(tmp_path, password, code):
    """Grafana would take its known default; with a password, the override starts /run.sh."""
    secret = tmp_path / "password"
    secret.write_text(password)
    script = override("grafana-admin")["services"]["grafana"]["entrypoint"][2]
    script = script.replace("$$", "$").replace("/run/secrets/grafana_password", str(secret))

    ended = subprocess.run(["/bin/sh", "-c", script], capture_output=True, text=True)

    assert code == ended.returncode
    assert ("is empty" in ended.stderr) == (code == 1)


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
