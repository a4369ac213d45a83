"""Freed memory is used again."""

import subprocess
import sys

FAULTS = """
import resource, sys
from sonoduct.runtime.loop import reuse_freed_memory
if sys.argv[1] == "reuse":
    reuse_freed_memory()
before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
for _ in range(100):
    blocks = [bytearray(1 << 20) for _ in range(4)]
print(resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before)
"""


def faults(how):
    ran = subprocess.run([sys.executable, "-c", FAULTS, how], capture_output=True, check=True)
    return int(ran.stdout)


def test_large_blocks_cost_no_page_faults_again():
    """A block of 1 MiB is 256 pages; by default the allocator maps most of them anew."""
    assert faults("reuse") * 4 < faults("default")
