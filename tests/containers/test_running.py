"""The running containers are as docker-compose.yml and the images describe them."""

import json

import pytest

from tests.containers.deadlines import until
from tests.containers.engine import CommandFailedError, inside, inspect
from tests.containers.metrics import query, targets
from tests.containers.system import SERVICES
from tests.support.sounds import write

pytestmark = pytest.mark.containers

PROGRAMS = {"gateway": "haproxy"}
"""What runs in a service's container, where that is not named like the service."""


@pytest.fixture(name="service", params=SERVICES)
def _service(request):
    return request.param


@pytest.fixture(name="container")
def _container(system, service):
    return next(iter(system.containers(service)))


def processes(container):
    """Return the kernel's facts on each process in a container, by their names in its status."""
    asked = "Name|Pid|Uid|Gid|CapInh|CapPrm|CapEff|CapBnd|CapAmb|NoNewPrivs"
    script = f"grep -hsE '^({asked}):' /proc/[0-9]*/status; true"  # some may end meanwhile
    found = []
    for line in inside(container, "sh", "-c", script).splitlines():
        name, _, value = line.partition(":")
        if name == "Name":
            found.append({})
        found[-1][name] = value.split()
    return found


def test_privileges(service, container):
    """No process is root, has any capability or could gain one; the first one reaps the others."""
    found = processes(container)

    assert ["docker-init"] == next(each["Name"] for each in found if each["Pid"] == ["1"])
    assert [PROGRAMS.get(service, service)] in [each["Name"] for each in found]
    for process in found:
        assert "0" not in process["Uid"] + process["Gid"]
        assert ["1"] == process["NoNewPrivs"]
        for capabilities in ("CapInh", "CapPrm", "CapEff", "CapBnd", "CapAmb"):
            assert 0 == int(process[capabilities][0], 16)


def test_system_calls(container):
    """The engine's list of system calls is in force, and no process has been let off it."""
    asked = "grep -hsE '^(Seccomp):' /proc/[0-9]*/status; true"
    modes = set(inside(container, "sh", "-c", asked).split())
    options = inspect(container)["HostConfig"]["SecurityOpt"]

    assert {"Seccomp:", "2"} == modes
    assert ["no-new-privileges:true"] == options


def test_file_system(container):
    """The image's files are read-only; /tmp is small and cannot run programs."""
    lines = inside(container, "cat", "/proc/mounts").splitlines()
    mounts = {line.split()[1]: line.split()[3].split(",") for line in lines}

    assert "ro" in mounts["/"]
    assert {"rw", "noexec", "nosuid", "nodev", "size=65536k"} <= set(mounts["/tmp"])  # noqa: S108
    with pytest.raises(CommandFailedError, match="Read-only file system"):
        inside(container, "sh", "-c", "echo >/etc/passwd || echo >/var/tmp/new", user="0")


def test_limits(system, container):
    """The engine enforces the container's limits, and reports it healthy."""
    system.await_healthy(container)
    facts = inspect(container)
    limits = facts["HostConfig"]

    assert 0 < limits["Memory"] == limits["MemorySwap"]
    assert limits["NanoCpus"] > 0
    assert limits["PidsLimit"] > 0
    assert limits["ReadonlyRootfs"]
    assert not limits["Privileged"]
    assert {"Type": "json-file", "Config": {"max-file": "3", "max-size": "10m"}} == (
        limits["LogConfig"]
    )
    assert 0 == facts["RestartCount"]


def test_published_ports(system):
    """Only 8766 of the gateway and, on loopback, 9090 of Prometheus can be reached."""
    published = {}
    for service in SERVICES:
        for container in system.containers(service):
            for port, bindings in inspect(container)["NetworkSettings"]["Ports"].items():
                for binding in bindings or []:
                    published[service, port] = (binding["HostIp"], binding["HostPort"])

    assert {
        ("gateway", "8766/tcp"): ("127.0.0.1", system.env["SONODUCT_PORT"]),
        ("prometheus", "9090/tcp"): ("127.0.0.1", system.env["PROMETHEUS_PORT"]),
    } == published


def test_recordings(system):
    """Replicas share a volume of this project, which their user can write to."""
    replica = next(iter(system.containers("receiver")))
    mounts = {mount["Destination"]: mount for mount in inspect(replica)["Mounts"]}
    inside(replica, "sh", "-c", "echo >/recordings/new && rm /recordings/new")

    assert "volume" == mounts["/recordings"]["Type"]
    assert f"{system.project}_recordings" == mounts["/recordings"]["Name"]
    assert "10001:10001" == inside(replica, "stat", "-c", "%u:%g", "/recordings").strip()


def test_audio(system):
    """The sender can read the files in its folder, and change none."""
    sender = system.container("sender")

    assert "voice-mono-16bit.wav" in inside(sender, "ls", "/audio")
    with pytest.raises(CommandFailedError, match="Read-only file system"):
        inside(sender, "sh", "-c", "echo >/audio/new")


def test_scraped(system):
    """Prometheus has the series of receivers, of the sender and of the gateway."""
    for job in ("receiver", "sender", "gateway", "prometheus"):
        seen = until(
            lambda job=job: targets(system.prometheus, job),
            lambda seen: set(seen.values()) == {"up"},
            20,
            f"targets of {job}",
        )

        assert len(seen) == max(1, len(system.containers(job)))
    for expression in (
        'receiver_build_info{job="receiver", protocol!=""} == 1',
        'sender_streams_total{job="sender", result="sent"} > 0',
        'haproxy_process_current_connections{job="gateway"}',
        'haproxy_frontend_sessions_total{job="gateway", proxy="streams"} > 0',
        'haproxy_server_status{job="gateway", proxy="receivers", state="UP"} == 1',
    ):
        read = lambda expression=expression: query(system.prometheus, expression)  # noqa: E731

        assert until(read, bool, 20, expression)


def test_status_finds_every_replica(system):
    """`receiver status` in a container finds the replicas by DNS, by their containers' names."""
    replicas = system.settle(2)
    answer = inside(min(replicas), "receiver", "status", "receiver", "--json")
    rows = {row["replica"]: row["state"] for row in map(json.loads, answer.splitlines())}

    names = {inspect(each)["Name"].strip("/") for each in replicas}
    assert dict.fromkeys(names, "ready") == rows


def test_peers_have_their_own_addresses(system):
    """Behind the gateway a receiver's log names the sender's address, not the gateway's."""
    (address,) = {
        network["IPAddress"]
        for network in inspect(system.container("sender"))["NetworkSettings"]["Networks"].values()
    }
    name = write(system.audio / "peer.wav", 1000).name
    ended = until(
        lambda: system.logged("receiver", "stream_ended", name=f"/audio/{name}"),
        bool,
        30,
        "the stream in a receiver's log",
    )

    assert [address] == [line["peer"].rpartition(":")[0] for line in ended]
