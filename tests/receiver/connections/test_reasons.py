"""Every reason for which a handshake is refused is one that the metrics know from the start."""

import re
from pathlib import Path

from receiver.metrics import UNANSWERED

SOURCE = Path(__file__).parents[3] / "receiver" / "connections"
REASON = re.compile(
    r"""Refused\(\s*HTTPStatus\.\w+,\s*"(\w+)" | Full\(\s*"(\w+)" | _refuse\(\s*\w+,\s*"(\w+)" """,
    re.VERBOSE,
)


def test_each_reason_is_a_label_of_the_metric():
    """A series that appeared with its first refusal would hide that refusal from every rate."""
    found = {
        next(filter(None, groups))
        for path in SOURCE.rglob("*.py")
        for groups in REASON.findall(path.read_text())
    }

    assert {"address", "connections", "host", "token"} <= found <= set(UNANSWERED)
