"""What every test finds: an ffmpeg on PATH, from a Python package, and unconfigured logs."""

import os
import tempfile
from pathlib import Path

import imageio_ffmpeg
import pytest
import structlog


@pytest.fixture(autouse=True, scope="session")
def _ffmpeg_on_path():
    """Also for the programs that tests start; whatever the machine has comes second."""
    with tempfile.TemporaryDirectory(prefix="sonoduct-ffmpeg-") as folder:
        (Path(folder) / "ffmpeg").symlink_to(imageio_ffmpeg.get_ffmpeg_exe())
        before = os.environ["PATH"]
        os.environ["PATH"] = f"{folder}:{before}"
        yield
        os.environ["PATH"] = before


@pytest.fixture(autouse=True)
def _fresh_logging():
    """A receiver or sender inside a program quietens logs that are not configured."""
    yield
    structlog.reset_defaults()
