"""The gateway's configuration and the files for compose fit together; no engine is needed."""

import re
from pathlib import Path

import pytest
import yaml

ROOT = Path(__file__).parents[2]
OVERRIDES = sorted((ROOT / "deploy" / "compose").glob("*.yml"))
BASE = yaml.safe_load((ROOT / "docker-compose.yml").read_text())


def test_the_gateway_gets_each_variable_that_its_configuration_names():
    """HAProxy takes a variable that is not set for an empty one."""
    named = re.findall(r"\$\{?([A-Z_]+)", (ROOT / "deploy/haproxy/haproxy.cfg").read_text())

    assert "GATEWAY_BIND" in named
    assert set(named) <= BASE["services"]["gateway"]["environment"].keys()


def test_no_password_and_no_token_is_a_variable():
    """A variable would show them in `docker inspect`; files do not."""
    for path in (ROOT / "docker-compose.yml", *OVERRIDES):
        for service in yaml.safe_load(path.read_text())["services"].values():
            for name, value in (service.get("environment") or {}).items():
                if re.search("PASSWORD|TOKEN|KEY|SECRET", name):
                    assert value is None or str(value).startswith("/run/secrets/"), (path, name)


@pytest.mark.parametrize("path", OVERRIDES, ids=lambda path: path.stem)
def test_each_secret_is_a_file_of_the_folder_of_secrets(path):
    """Each override has a service for each of its secrets, and every file is in one folder."""
    override = yaml.safe_load(path.read_text())
    used = {name for each in override["services"].values() for name in each.get("secrets", ())}

    assert used == override["secrets"].keys()
    for secret in override["secrets"].values():
        assert re.fullmatch(r"\$\{SONODUCT_SECRETS:-\./secrets\}/[a-z.]+", secret["file"])
