"""Fixtures of every test of files that mean harm."""

from tests.faults.processes.extent import _chance, _quiet, _say

__all__ = ["_chance", "_quiet", "_say"]
