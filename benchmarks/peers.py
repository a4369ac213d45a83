"""Other programs, the same file: `python -m benchmarks.peers [--quick] [--publish]`."""

import argparse
import sys
from contextlib import suppress
from functools import partial

from .audio import noise
from .contenders import WrongAudioError
from .contenders.ours import DURABLE, NONE
from .contenders.peers.grpc import GRPC, GRPC_SYNCED
from .contenders.peers.gstreamer import GSTREAMER, GSTREAMER_SYNCED
from .contenders.peers.nats import NATS, NATS_SYNCED
from .contenders.peers.nginx import NGINX, NGINX_SYNCED
from .contenders.peers.picows import PICOWS, PICOWS_SYNCED
from .contenders.peers.rsync import RSYNC, RSYNC_SYNCED
from .contenders.peers.whisperlive import WHISPERLIVE
from .contenders.peers.zeromq import ZEROMQ, ZEROMQ_SYNCED
from .contenders.tcp import FFMPEG, FFMPEG_16, FFMPEG_16_SYNCED, FFMPEG_SYNCED
from .control import Control
from .processes import child
from .report import HERE, Published, cell, publish
from .results import SECONDS, Case
from .rounds import SEND_S, in_turn, scratch
from .usage import cpu_seconds, family_cpu_seconds

NAME = "peers"
PROMISES = ("resume", "durable", "verified", "acknowledged", "arrays")
CPU_PER_HOUR = "CPU s per hour of audio"
RECEIVER, SENDER = "receiver's", "sender's"
OURS = "times as long as ours"

DURABLY = {
    DURABLE: PROMISES,
    FFMPEG_SYNCED: (),
    FFMPEG_16_SYNCED: (),
    RSYNC_SYNCED: ("resume", "durable", "verified", "acknowledged"),
    NGINX_SYNCED: ("acknowledged",),
    GSTREAMER_SYNCED: (),
    ZEROMQ_SYNCED: (),
    GRPC_SYNCED: ("acknowledged",),
    NATS_SYNCED: ("resume", "durable", "acknowledged"),
    PICOWS_SYNCED: (),
}
"""What each promises by itself; README.md says what the words mean."""

FLEETING = {
    NONE: ("resume", "verified", "acknowledged", "arrays"),
    FFMPEG: (),
    FFMPEG_16: (),
    RSYNC: ("resume", "verified", "acknowledged"),
    NGINX: ("acknowledged",),
    GSTREAMER: (),
    ZEROMQ: (),
    GRPC: ("acknowledged",),
    NATS: ("resume", "acknowledged"),
    PICOWS: (),
    WHISPERLIVE: ("arrays",),
}
"""The same without a sync: in memory, in the page cache, or counted and thrown away."""

PUBLISHED = partial(Published, HERE / "peers.json", HERE / "README.md", NAME)


def main():
    """Compare; return 1 only if audio was wrong."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--quick", action="store_true", help="a short file, one round")
    parser.add_argument("--only", action="append", help="contenders whose names begin so, and ours")
    parser.add_argument("--rounds", type=int, help="5, or 1 in a quick run")
    parser.add_argument("--publish", action="store_true", help="peers.json and README.md")
    chosen = parser.parse_args()
    control = Control()
    try:
        rounds = chosen.rounds or (1 if chosen.quick else 5)
        seconds, names = 60 if chosen.quick else 600, tuple(chosen.only or [""])
        case = compared(seconds, rounds, names, control)
    except WrongAudioError as exc:
        print(f"{NAME}: WRONG AUDIO: {exc}", file=sys.stderr)
        return 1
    control.measure()
    print(table(case))
    if chosen.publish:
        publish([case], control.medians, PUBLISHED(table))
    return 0


def compared(seconds, rounds, names, control):
    """Have all contenders send the same file by turns; measure the control before each round."""
    case = Case(NAME, f"one {seconds} s WAV, 16 bit stereo at 44.1 kHz")
    with scratch() as folder:
        sound = noise(folder / "noise.wav", seconds)
        chosen = [
            each
            for each in (*DURABLY, *FLEETING)
            if each in {DURABLE, NONE} or each.name.startswith(names)
        ]
        for _ in range(rounds):
            control.measure()
            in_turn(case, chosen, 1, lambda each: measured(each, sound))
    return case


def measured(contender, sound):
    """Return the seconds and what all processes of both ends spent on them."""
    with scratch() as folder:
        with (
            contender.serve(folder) as server,
            child(contender.send, server.url, [sound]) as client,
        ):
            client.hear()
            before = family_cpu_seconds(server.pid), cpu_seconds(client.pid)
            client.tell()
            answer = client.hear(SEND_S)
            sending = cpu_seconds(client.pid) - before[1]
            receiving = None
            with suppress(OSError):  # it may have ended
                receiving = family_cpu_seconds(server.pid) - before[0]
            if answer.get("proves"):
                client.tell()
                answer |= client.hear(SEND_S)
        if server.spent is not None and not answer.get("proves"):
            receiving = server.spent - before[0]
        contender.check(answer, [sound], folder)
    hours = sound.seconds / 3600
    sending = answer.get("cpu_seconds", sending)
    return {
        SECONDS: answer["seconds"],
        CPU_PER_HOUR: (receiving + sending) / hours,
        RECEIVER: receiving / hours,
        SENDER: sending / hours,
    }


def table(case):
    """Return both halves as Markdown: speed, costs and promises."""
    lines = [f"{case.work[0].upper()}{case.work[1:]}.", ""]
    for title, ours, contenders in (
        ("Into a durable file", DURABLE.name, DURABLY),
        ("Without", NONE.name, FLEETING),
    ):
        columns = (SECONDS, OURS, CPU_PER_HOUR, RECEIVER, SENDER)
        lines += [f"| {title} | {' | '.join((*columns, *PROMISES))} |"]
        lines += [f"| --- |{' ---: |' * len(columns)}{' --- |' * len(PROMISES)}"]
        for contender, promises in contenders.items():
            name = contender.name
            if why := case.absent.get(name):
                lines.append(f"| {name} | absent: {why} |")
            elif name in case.figures:
                figures = case.figures[name] | {OURS: ratios(case, name, ours)}
                cells = [cell(figures[column]) for column in columns]
                cells += ["yes" if each in promises else "no" for each in PROMISES]
                lines.append(f"| {name} | {' | '.join(cells)} |")
        lines.append("")
    return "\n".join(lines)


def ratios(case, name, ours):
    """Return how many times as long as ours it took, of the same round each."""
    pairs = zip(case.values(name), case.values(ours), strict=True)
    return [theirs / own for theirs, own in pairs]


if __name__ == "__main__":
    sys.exit(main())
