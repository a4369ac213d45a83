"""One command, and the sample audio has arrived."""

from datetime import datetime
from pathlib import Path

import pytest
import soundfile

from tests.containers.deadlines import until
from tests.containers.metrics import query
from tests.containers.system import running
from tests.support.sounds import write

pytestmark = pytest.mark.containers


@pytest.fixture(name="system", scope="module")
def _system(images, tmp_path_factory):
    """Start a system for this module only, with two replicas, so that no other stream counts."""
    with running(tmp_path_factory.mktemp("fresh"), RECEIVER_REPLICAS="2") as system:
        yield system


def frames(folder):
    """Return the frames of each audio file in *folder*, by name."""
    paths = [path for path in folder.iterdir() if path.suffix in (".wav", ".flac")]
    return {path.name: len(soundfile.read(path)[0]) for path in paths}


def delivered(system):
    """Return the frames that receivers have committed, by the name of the file."""
    lines = system.logged("receiver", "stream_ended", result="committed")
    return {Path(line["name"]).name: line["frames"] for line in lines}


def receipts(system):
    """Return the sender's log lines of streams with a receipt."""
    return system.logged("sender", "stream_ended", result="sent")


def assert_counted(system, count):
    """Require that Prometheus sees *count* frames in all replicas together."""

    def seen():
        ((_, value),) = query(system.prometheus, "sum(receiver_frames_total)") or [({}, 0)]
        return value

    within = "frames in Prometheus"

    assert count == until(seen, lambda value: value >= count, 20, within)


def test_first_receipt(system, figure):
    """Soon after `up`, the sender's log has the first receipt."""
    first = until(lambda: receipts(system), bool, 30, "receipts in the sender's log")[0]
    seconds = (datetime.fromisoformat(first["timestamp"]) - system.started).total_seconds()
    figure(f"from `up` to the first receipt: {seconds:.1f} s")

    assert 32 == len(first["digest"])
    assert 0 < seconds < 60


def test_every_sample_file(system):
    """Each file has a receipt, a receiver committed all frames, and Prometheus has the sum."""
    expected = frames(system.audio)
    until(lambda: delivered(system), lambda seen: len(seen) == len(expected), 30, "files")

    assert len(expected) >= 4
    assert expected == delivered(system)
    until(lambda: receipts(system), lambda seen: len(seen) == len(expected), 10, "receipts")
    assert set(expected) == {Path(line["name"]).name for line in receipts(system)}
    assert_counted(system, sum(expected.values()))


def test_new_file(system, tmp_path):
    """The sender delivers a file that a user moves into the folder."""
    source = write(system.audio.parent / "new.wav", 50_003, 2, "PCM_24")
    source.replace(system.audio / "new.wav")
    expected = frames(system.audio)
    until(lambda: delivered(system), lambda seen: "new.wav" in seen, 30, "files")

    assert expected == delivered(system)
    assert_counted(system, sum(expected.values()))
    until(lambda: receipts(system), lambda seen: len(seen) == len(expected), 10, "receipts")
