"""What `import sender` and `import receiver` load, and what they offer."""

import subprocess
import sys

import pytest

import receiver
import sender

HEAVY = ("numpy", "websockets", "soundfile", "structlog", "prometheus_client")


@pytest.mark.parametrize("module", ["sender.__main__", "receiver.__main__"])
def test_a_command_line_loads_nothing_heavy(module):
    """It answers --version and --help in 0.2 s because of that."""
    program = f"import sys, {module}; print([each for each in {HEAVY} if each in sys.modules])"
    answer = subprocess.run((sys.executable, "-c", program), capture_output=True, check=True)

    assert b"[]\n" == answer.stdout


@pytest.mark.parametrize("package", [sender, receiver])
def test_all_that_is_offered_is_there(package):
    """Each name is loaded from its module when it is asked for."""
    for name in package.__all__:
        assert name == getattr(package, name).__name__
    with pytest.raises(AttributeError, match="has no attribute 'nothing'"):
        _ = package.nothing
