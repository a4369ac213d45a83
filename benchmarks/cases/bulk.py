"""One long file to its receipt: bulk-wav and bulk-flac."""

from benchmarks.audio import noise
from benchmarks.contenders import AbsentError
from benchmarks.contenders.bare import BARE
from benchmarks.contenders.decoder import DECODER
from benchmarks.contenders.limits import DISK, WORK
from benchmarks.contenders.ours import DURABLE, NONE
from benchmarks.contenders.tcp import FFMPEG, FFMPEG_SYNCED, RAW, find_ffmpeg
from benchmarks.contenders.tutorial import TUTORIAL
from benchmarks.results import Case
from benchmarks.rounds import in_turn, run, scratch

CD = "16 bit stereo at 44.1 kHz"

FIGURE = "ms per minute of audio"
CPU_PER_HOUR = "CPU s per hour of audio"
"""Of receiver and sender together."""


def wav(scale):
    """Against all contenders. The tutorial is slow, so it gets a part of the file."""
    seconds, fewer = scale.pick(600, 60), scale.pick(60, 12)
    work = f"one {seconds} s WAV, {CD}, to its receipt ({fewer} s for the tutorial)"
    case = Case("bulk-wav", work)
    with scratch() as folder:
        whole, part = noise(folder / "noise.wav", seconds), noise(folder / "part.wav", fewer)
        try:
            find_ffmpeg()
        except AbsentError as exc:
            case.absent |= dict.fromkeys((FFMPEG.name, FFMPEG_SYNCED.name), str(exc))

        def one(contender):
            sound = part if contender is TUTORIAL else whole
            figures = _with_cost(run(contender, [sound]), sound)
            return {FIGURE: figures["seconds"] * 60_000 / sound.seconds} | figures

        contenders = [NONE, DURABLE, BARE, WORK, DISK, RAW, FFMPEG, FFMPEG_SYNCED, TUTORIAL]
        in_turn(case, contenders, scale.rounds, one)
    none, durable, bare = NONE.name, DURABLE.name, BARE.name
    tutorial, ffmpeg = TUTORIAL.name, FFMPEG.name

    def times(slow, fast):
        return case.ratio(slow, fast, FIGURE)

    case.goal("store none: times as fast as the tutorial", times(tutorial, none), least=150)
    case.goal("store none: part of the bare library's speed", times(bare, none), least=0.6)
    with_work = "store none: part of the speed of the bare library with the work"
    case.goal(with_work, times(WORK.name, none))
    case.goal("durable: times as fast as the tutorial", times(tutorial, durable), least=100)
    synced = times(FFMPEG_SYNCED.name, durable)
    case.goal("durable: times as fast as ffmpeg into a synced file", synced, least=1.5)
    case.goal("durable: times as fast as ffmpeg over TCP", times(ffmpeg, durable), least=1.2)
    case.goal("durable: part of the disk's speed alone", times(DISK.name, durable))
    case.goal("the disk alone: times as fast as ffmpeg over TCP", times(ffmpeg, DISK.name))
    for ours, most in ((none, 1.3), (durable, 2.0)):
        case.goal(f"{ours}: {CPU_PER_HOUR}", case.median(ours, CPU_PER_HOUR), most=most)
    return case


def flac(scale):
    """Against the decoder."""
    seconds = scale.pick(600, 60)
    case = Case("bulk-flac", f"one {seconds} s FLAC, {CD}, to its receipt")
    with scratch() as folder:
        sound = noise(folder / "noise.flac", seconds)

        def one(contender):
            return _with_cost(run(contender, [sound]), sound)

        in_turn(case, [NONE, DURABLE, DECODER], scale.few(3), one)
    for ours in (NONE.name, DURABLE.name):
        reached = case.ratio(DECODER.name, ours)
        case.goal(f"{ours}: times as fast as soundfile decodes in one thread", reached, least=1.3)
    return case


def _with_cost(figures, sound):
    spent = figures["receiver CPU s"] + figures["sender CPU s"]
    return figures | {CPU_PER_HOUR: spent * 3600 / sound.seconds}
