"""One very long file at full speed: memory stays flat."""

from benchmarks.audio import silence
from benchmarks.contenders.ours import NONE, check
from benchmarks.processes import child
from benchmarks.results import Case
from benchmarks.rounds import scratch
from benchmarks.usage import Meter

OVER_IDLE = ("receiver MiB over idle", "sender MiB over idle")


def memory(scale):
    """A WAV of silence that takes no room on the disk; one round, as it is long."""
    gigabytes = scale.pick(3, 1)
    case = Case("memory", f"one {gigabytes} GB WAV at full speed, store none")
    with scratch() as folder:
        sound = silence(folder / "silence.wav", gigabytes * 10**9)
        with NONE.serve(folder) as server, child(NONE.send, server.url, [sound]) as client:
            client.hear()
            meters = Meter(server.pid), Meter(client.pid)
            client.tell()
            answer = client.hear(300)
            over = [meter.cost().peak_mib - meter.idle_mib for meter in meters]
        check(answer, [sound], folder)
    case.add(NONE.name, seconds=answer["seconds"], **dict(zip(OVER_IDLE, over, strict=True)))
    for figure in OVER_IDLE:
        case.goal(figure, case.median(NONE.name, figure), most=64)
    return case
