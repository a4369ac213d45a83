"""The command `docker`, and its answers about images and containers."""

import json
import os
import shutil
import subprocess
from pathlib import Path

ROOT = Path(__file__).parents[2]
DOCKER = shutil.which("docker") or "docker"
OURS = (
    *("SENDER_", "RECEIVER_", "GATEWAY_", "PROMETHEUS_", "ALERTMANAGER_", "GRAFANA_"),
    *("SONODUCT_", "COMPOSE_"),
)
ENVIRONMENT = {
    **{key: value for key, value in os.environ.items() if not key.startswith(OURS)},
    "COMPOSE_DISABLE_ENV_FILE": "1",
}
"""Nothing in it changes what docker-compose.yml says by default."""

PATIENCE_S = 60
"""How long a command may take that does no more than ask."""


class CommandFailedError(Exception):
    """A command ended with a code other than 0; *output* is its output."""

    def __init__(self, command, output):
        super().__init__(f"{' '.join(command)}: {output.strip()}")
        self.output = output


def docker(*arguments, within=PATIENCE_S, env=None, binary=False, both=False):
    """
    Run `docker` in the repository's root; return its standard output.

    The result is bytes if *binary*; it has standard error as well if *both*.

    Raises:
        CommandFailedError: if the exit code is not 0.
    """
    command = [DOCKER, *map(str, arguments)]
    ended = subprocess.run(command, capture_output=True, timeout=within, env=env, cwd=ROOT)
    errors = ended.stderr.decode(errors="replace")
    if ended.returncode:
        raise CommandFailedError(command, errors or ended.stdout.decode(errors="replace"))
    if binary:
        return ended.stdout
    return ended.stdout.decode() + (errors if both else "")


def absent():
    """Return in one line why no engine can be used; None if one answers."""
    try:
        docker("info", "--format", "{{.ServerVersion}}")
    except FileNotFoundError:
        return "there is no command docker"
    except (CommandFailedError, subprocess.TimeoutExpired) as exc:
        return " ".join(str(exc).split())
    return None


def inspect(container):
    """Return the engine's facts about a container."""
    return json.loads(docker("container", "inspect", container))[0]


def inspect_image(image):
    """Return the engine's facts about an image."""
    return json.loads(docker("image", "inspect", image))[0]


def inside(container, *command, user=None, **how):
    """Run *command* in a container, as its own user or another; return its standard output."""
    return docker("exec", *(["--user", user] if user else []), container, *command, **how)


def events(container):
    """Return the JSON lines that one of our programs has logged in its container."""
    lines = docker("logs", container, both=True).splitlines()
    return [json.loads(line) for line in lines if line.startswith("{")]
