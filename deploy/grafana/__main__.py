"""Writes the dashboards as JSON: `python -m deploy.grafana`."""

import json
from pathlib import Path
from typing import Final

from grafana_foundation_sdk.cog.encoder import JSONEncoder

from deploy.grafana.board import Board
from deploy.grafana.delivery import DELIVERY
from deploy.grafana.gateway import GATEWAY
from deploy.grafana.overview import OVERVIEW
from deploy.grafana.processors import PROCESSORS
from deploy.grafana.receiver import RECEIVER

FOLDER: Final = Path(__file__).parent / "dashboards"
BOARDS: Final = (OVERVIEW, RECEIVER, DELIVERY, PROCESSORS, GATEWAY)


HIDDEN: Final = ("placement", "inControlsMenu")
"""The SDK puts it on all links and marks, and cannot leave it out: it hides them in a menu."""


def as_json(board: Board) -> str:
    """Return *board* as the text of its file."""
    text = json.dumps(board.build(), cls=JSONEncoder)
    shown = json.loads(text, object_pairs_hook=lambda pairs: dict(without(HIDDEN, pairs)))
    return json.dumps(shown, indent=2, sort_keys=True) + "\n"


def without(pair: tuple[str, str], pairs: list[tuple[str, object]]) -> list[tuple[str, object]]:
    """Return *pairs* of a JSON object, but not *pair*."""
    return [each for each in pairs if each != pair]


def main() -> None:
    """Write each dashboard to its file."""
    for board in BOARDS:
        (FOLDER / board.file).write_text(as_json(board))


if __name__ == "__main__":
    main()
