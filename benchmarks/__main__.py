"""Run the cases: `python -m benchmarks [--quick] [--only CASE] [--publish]`."""

import argparse
import sys
import time

from .cases import (
    Scale,
    bulk,
    crowd,
    ended,
    live,
    many_files,
    memory,
    scale,
    scrape,
    start,
    takeover,
    wire_bytes,
)
from .contenders import WrongAudioError
from .control import Control
from .report import Published, markdown, publish

CASES = {
    "bulk-wav": bulk.wav,
    "bulk-flac": bulk.flac,
    "many-files": many_files.many,
    "live-500": live.live,
    "live-4000": crowd.live,
    "idle": crowd.idle,
    "wire-bytes": wire_bytes.wire,
    "memory": memory.memory,
    "scrape": scrape.scrape,
    "start": start.start,
    "ended": ended.ended,
    "scale": scale.several,
    "takeover": takeover.takeover,
}


def main():
    """Run the cases that are named; return 1 only if audio was wrong."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--quick", action="store_true", help="less of everything, in a minute")
    parser.add_argument("--only", action="append", choices=CASES, help="this case; again for more")
    parser.add_argument("--rounds", type=int, help="5 or fewer, by the case; 1 in a quick run")
    parser.add_argument("--publish", action="store_true", help="results.json and README.md")
    chosen = parser.parse_args()
    rounds = chosen.rounds or (1 if chosen.quick else 5)
    amount = Scale(rounds, chosen.quick, asked=bool(chosen.rounds))
    cases, control = [], Control()
    for name in chosen.only or CASES:
        if chosen.publish:
            control.measure()
        started = time.monotonic()
        try:
            case = CASES[name](amount)
        except WrongAudioError as exc:
            print(f"{name}: WRONG AUDIO: {exc}", file=sys.stderr)
            return 1
        print(markdown(case))
        print(f"({time.monotonic() - started:.0f} s)\n", flush=True)
        cases.append(case)
    if chosen.publish:
        control.measure()
        publish(cases, control.medians, Published())
    return 0


if __name__ == "__main__":
    sys.exit(main())
