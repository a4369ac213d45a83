"""The modules that `import sender` and `import receiver` load, and the names that they offer."""

import subprocess
import sys

import pytest

import receiver
import sender

HEAVY = ("numpy", "websockets", "soundfile", "structlog", "prometheus_client")


@pytest.mark.parametrize("module", ["sender.__main__", "receiver.__main__"])
def test_a_command_line_loads_nothing_heavy(module):
    """--version and --help load no heavy module, and so take 0.2 s."""
    program = f"import sys, {module}; print([each for each in {HEAVY} if each in sys.modules])"
    answer = subprocess.run((sys.executable, "-c", program), capture_output=True, check=True)

    assert b"[]\n" == answer.stdout


@pytest.mark.parametrize("package", [sender, receiver])
def test_all_that_is_offered_is_there(package):
    """Each offered name is loaded from its module on first use."""
    for name in package.__all__:
        assert name == getattr(package, name).__name__
    with pytest.raises(AttributeError, match="has no attribute 'nothing'"):
        _ = package.nothing
