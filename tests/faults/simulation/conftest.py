"""Fixtures of the simulation."""

from tests.faults.processes.extent import _say

__all__ = ["_say"]
