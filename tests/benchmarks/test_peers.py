"""Programs that are compared: absent ones get a line, and ratios are those of the same round."""

import sys

import pytest

from benchmarks.contenders import AbsentError
from benchmarks.contenders.ours import DURABLE
from benchmarks.contenders.peers import needs_package, needs_program
from benchmarks.contenders.peers.nats import find_server
from benchmarks.contenders.peers.rsync import RSYNC_SYNCED
from benchmarks.lag import longest
from benchmarks.peers import CPU_PER_HOUR, RECEIVER, SENDER, table
from benchmarks.results import Case


def figures(seconds):
    return {"seconds": seconds, CPU_PER_HOUR: 2.0, RECEIVER: 1.5, SENDER: 0.5}


def test_the_ratio_to_ours_is_the_median_over_rounds():
    """Load in one round slows both; the ratio of the medians would be 1."""
    case = Case("peers", "one file")
    for ours, theirs in ((1.0, 4.0), (5.0, 20.0), (4.0, 3.0)):
        case.add(DURABLE.name, **figures(ours))
        case.add(RSYNC_SYNCED.name, **figures(theirs))
    assert f"| {RSYNC_SYNCED.name} | 4 (3 to 20) | 4 (0.75 to 4) | 2 |" in table(case)


def test_a_peer_that_is_absent_has_a_line_that_says_why():
    """The others stay in the table."""
    case = Case("peers", "one file")
    case.add(DURABLE.name, **figures(1.0))
    case.absent[RSYNC_SYNCED.name] = "no program rsync"
    assert f"| {RSYNC_SYNCED.name} | absent: no program rsync |" in table(case)
    assert f"| {DURABLE.name} | 1 | 1 | 2 |" in table(case)


def test_what_is_missing_is_named(tmp_path, monkeypatch):
    """A program, a package."""
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(AbsentError, match="no program rsync"):
        needs_program("rsync")
    with pytest.raises(AbsentError, match="no Python package no_such_peer"):
        needs_package("no_such_peer")


def test_a_server_that_cannot_sync_each_message_is_absent(tmp_path, monkeypatch):
    """Debian 12 has such a one."""
    program = tmp_path / "nats-server"
    program.write_text("#!/bin/sh\necho nats-server: v2.9.10\n")
    program.chmod(0o755)
    monkeypatch.setattr(sys, "executable", str(tmp_path / "python"))
    with pytest.raises(AbsentError, match=r"v2\.9\.10 cannot sync each message; expected 2\.10"):
        find_server()
    program.write_text("#!/bin/sh\necho nats-server: v2.10.0\n")
    assert find_server() == str(program)


def test_lags_outside_of_the_time_that_counts_do_not_count():
    """Connecting may take long."""
    seen = [(0.0, 0.5), (1.0, 0.002), (1.5, 0.004), (3.0, 0.7)]
    assert longest(seen, 0.5, 2.0) == pytest.approx(4)
