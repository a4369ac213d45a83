"""What a receipt says about processors, within what a control message can hold."""

from __future__ import annotations

from typing import Final

import msgspec

from sonoduct.wire import CONTROL_BYTES, Value

ROOM: Final = CONTROL_BYTES - 512
"""JSON bytes for reports and failures; the rest of a receipt and what wraps it take below 512."""


def fit(reports: dict[str, dict[str, Value]], failures: dict[str, str]) -> None:
    """Turn the largest reports into failures, and then leave failures out, until all fits."""
    while reports and _size(reports) + _size(failures) > ROOM:
        name = max(reports, key=lambda each: _size(reports[each]))
        failures[name] = f"no room for its report of {_size(reports.pop(name))} bytes"
    while failures and _size(reports) + _size(failures) > ROOM:
        failures.popitem()


def _size(part: object) -> int:
    return len(msgspec.json.encode(part))
