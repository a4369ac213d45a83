"""The tutorial's client, on the host, against the port that the gateway publishes."""

import json
import subprocess
import sys

import pytest
import xxhash

from tests.containers.engine import ROOT
from tests.support.sounds import samples, write

pytestmark = pytest.mark.containers

SEED = ROOT / "tests" / "seed" / "client.py"


@pytest.mark.parametrize(("samplerate", "channels"), [(44_100, 2), (16_000, 1)])
def test_arrives_bit_for_bit(system, tmp_path, samplerate, channels):
    """The answer has the frames and the digest of the file's float32 samples."""
    path = write(tmp_path / "a.wav", 100_001, channels, "FLOAT", samplerate=samplerate)
    url = f"{system.url}/?samplerate={samplerate}&channels={channels}"
    ended = subprocess.run(
        [sys.executable, SEED, path, url, "--listen"], capture_output=True, text=True, timeout=60
    )

    assert (0, "") == (ended.returncode, ended.stderr)
    said, answer, last = ended.stdout.splitlines()
    assert ("sent 25 blocks", "Done!") == (said, last)
    facts = json.loads(answer)
    assert (100_001, 25) == (facts["frames"], facts["chunks"])
    assert xxhash.xxh3_128_hexdigest(samples(path).tobytes()) == facts["digest"]
