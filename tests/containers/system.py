"""The whole system of docker-compose.yml, with its own project name and ports."""

import itertools
import os
import random
import shutil
import signal
import socket
import subprocess
import sys
import time
from contextlib import contextmanager, suppress
from datetime import UTC, datetime

from tests.containers.deadlines import until
from tests.containers.engine import ENVIRONMENT, ROOT, docker, events, inspect
from tests.containers.metrics import metrics_of, total

TAG = "e2e"
SERVICES = ("receiver", "gateway", "sender", "prometheus")
"""All but grafana, which shows only what Prometheus has; tests/test_dashboard.py looks at it."""

BUILDING_S = 900
STARTING_S = 120

_numbers = itertools.count()


def build():
    """Build both images, with the build settings of the environment and .env."""
    docker(
        *("compose", "--file", ROOT / "docker-compose.yml", "build", "--quiet"),
        *("receiver", "sender"),
        within=BUILDING_S,
        env={**os.environ, "SONODUCT_TAG": TAG, "DOCKER_BUILDKIT": "1"},
    )


def free_port():
    """
    Return a port on which no program listens at the moment.

    The kernel gives none from this range to connections, which could take it before the engine.
    """
    while True:
        with suppress(OSError):
            with socket.create_server(("127.0.0.1", random.randrange(20_000, 32_000))) as server:
                return server.getsockname()[1]


class System:
    """One compose project."""

    def __init__(self, audio, overrides, variables):
        self.audio = audio
        """What the sender watches."""
        self.project = f"sonoduct-e2e-{os.getpid()}-{next(_numbers)}"
        port, metrics_port = free_port(), free_port()
        self.url = f"ws://127.0.0.1:{port}"
        self.prometheus = f"http://127.0.0.1:{metrics_port}"
        self.started = datetime.now(UTC)
        self.env = {
            **ENVIRONMENT,
            "COMPOSE_FILE": os.pathsep.join(
                str(ROOT / each)
                for each in (
                    "docker-compose.yml",
                    *(f"deploy/compose/{name}.yml" for name in overrides),
                )
            ),
            "COMPOSE_PROJECT_NAME": self.project,
            "SONODUCT_TAG": TAG,
            "SONODUCT_ADDRESS": "127.0.0.1",
            "SONODUCT_PORT": str(port),
            "PROMETHEUS_PORT": str(metrics_port),
            "AUDIO": str(audio),
            **variables,
        }

    def compose(self, *arguments, within=STARTING_S):
        """Run `docker compose` on this project; return its standard output."""
        return docker("compose", *arguments, within=within, env=self.env)

    def containers(self, service):
        """Return the ids of a service's running containers."""
        return set(self.compose("ps", "--quiet", service).split())

    def container(self, service):
        """Return the id of the only container of *service*."""
        (only,) = self.containers(service)
        return only

    def scale(self, count):
        """Scale as `make scale` does; return the time at its end."""
        self.compose(
            *("up", "--detach", "--no-deps", "--no-recreate"),
            *("--scale", f"receiver={count}", "receiver"),
        )
        return time.monotonic()

    def settle(self, count):
        """Bring up *count* replicas, healthy and known to the gateway; return their ids."""
        self.scale(count)
        replicas = self.containers("receiver")
        for replica in replicas:
            self.await_healthy(replica)
        until(self.known_to_gateway, lambda seen: seen == count, 10, "replicas behind the gateway")
        return replicas

    def await_healthy(self, container):
        """Wait until the engine's health check passes."""

        def health():
            return inspect(container)["State"]["Health"]["Status"]

        until(health, lambda status: status == "healthy", 30, f"health of {container}")

    def known_to_gateway(self):
        """Return the number of replicas that the gateway sends streams to."""
        asking = next(iter(self.containers("receiver")))
        found = metrics_of(asking, "http://gateway:8404/metrics")
        return total(found, "haproxy_server_status", proxy="receivers", state="UP")

    def logged(self, service, event, **facts):
        """Return the log lines with *event* and *facts* of a service's containers."""
        lines = [line for each in self.containers(service) for line in events(each)]
        return [line for line in lines if line["event"] == event and facts.items() <= line.items()]

    def last_words(self):
        """Return the ends of all logs, for the report of a failed test."""
        quiet = ("--ansi", "never")
        with suppress(subprocess.TimeoutExpired):
            return self.compose(*quiet, "ps", "--all") + self.compose(
                *quiet, "logs", "--tail", "50", "--no-color", "--timestamps"
            )
        return "the engine does not answer"


@contextmanager
def running(folder, *overrides, **variables):
    """
    Start everything, with *variables* and a copy of the sample audio; always take it down.

    *overrides* are names of files in deploy/compose.
    """
    audio = folder / "audio"
    shutil.copytree(ROOT / "audio", audio)
    audio.chmod(0o755)  # the sender in its container is another user
    system = System(audio, overrides, variables)
    handler = signal.signal(signal.SIGTERM, signal.default_int_handler)  # clean up then as well
    try:
        system.compose("up", "--detach", *SERVICES)
        yield system
    except Exception:
        sys.stderr.write(system.last_words())
        raise
    finally:
        signal.signal(signal.SIGTERM, handler)
        system.compose("down", "--volumes", "--remove-orphans")
