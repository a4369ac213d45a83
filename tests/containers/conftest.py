"""A system that tests share, figures for the log, and the containers' logs of a failed test."""

import time

import pytest

from tests.containers import system as compose
from tests.containers.engine import absent

FIGURES = pytest.StashKey[list]()


def pytest_collection_finish(session):
    """If there is no engine, end the run once instead of failing in every test."""
    needed = any("engine" in getattr(item, "fixturenames", ()) for item in session.items)
    if needed and not session.config.option.collectonly and (reason := absent()):
        pytest.exit(f"the container tests need a Docker engine: {reason}", returncode=1)


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(item):
    """Add the containers' logs to the report of a test that failed."""
    report = yield
    system = getattr(item, "funcargs", {}).get("system")
    if report.failed and system is not None:
        report.sections.append(("last words of the containers", system.last_words()))
    return report


def pytest_terminal_summary(terminalreporter, config):
    """Print the measured figures."""
    if figures := config.stash.get(FIGURES, []):
        terminalreporter.section("figures")
        terminalreporter.write("".join(f"{line}\n" for line in figures))


@pytest.fixture(name="figure", scope="session")
def _figure(pytestconfig):
    """Return a function that adds a line to the log, whether tests pass or not."""
    return pytestconfig.stash.setdefault(FIGURES, []).append


@pytest.fixture(name="engine", scope="session")
def _engine():
    """Mark a test as one that needs an engine; see pytest_collection_finish."""


@pytest.fixture(name="images", scope="session")
def _images(engine, figure):
    """Build both images from the present code."""
    started = time.monotonic()
    compose.build()
    figure(f"building both images, from what is cached: {time.monotonic() - started:.1f} s")
    return {name: f"sonoduct-{name}:{compose.TAG}" for name in ("sender", "receiver")}


@pytest.fixture(name="system", scope="session")
def _system(images, tmp_path_factory):
    """Start the system that tests share; each test brings it into the state that it needs."""
    with compose.running(tmp_path_factory.mktemp("system")) as system:
        yield system
