"""Fixtures for every test: an ffmpeg on PATH, from a Python package, and unconfigured logs."""

import os
import tempfile
from pathlib import Path

import imageio_ffmpeg
import pytest
import structlog


@pytest.fixture(autouse=True, scope="session")
def _ffmpeg_on_path():
    """Put the ffmpeg first on PATH, also for the programs that tests start."""
    with tempfile.TemporaryDirectory(prefix="sonoduct-ffmpeg-") as folder:
        (Path(folder) / "ffmpeg").symlink_to(imageio_ffmpeg.get_ffmpeg_exe())
        before = os.environ["PATH"]
        os.environ["PATH"] = f"{folder}:{before}"
        yield
        os.environ["PATH"] = before


@pytest.fixture(autouse=True)
def _fresh_logging():
    """Reset the logs after each test: a receiver inside a program quietens unconfigured logs."""
    yield
    structlog.reset_defaults()
