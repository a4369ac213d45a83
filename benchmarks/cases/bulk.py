"""One long file to its receipt: bulk-wav and bulk-flac."""

from benchmarks.audio import noise
from benchmarks.contenders import AbsentError
from benchmarks.contenders.bare import BARE
from benchmarks.contenders.decoder import DECODER
from benchmarks.contenders.limits import DISK, WORK
from benchmarks.contenders.ours import DURABLE, NONE
from benchmarks.contenders.tcp import FFMPEG, RAW, find_ffmpeg
from benchmarks.contenders.tutorial import TUTORIAL
from benchmarks.results import Case
from benchmarks.rounds import in_turn, run, scratch

CD = "16 bit stereo at 44.1 kHz"


FIGURE = "ms per minute of audio"


def wav(scale):
    """Against all contenders. The tutorial is slow, so it gets a part of the file."""
    seconds, fewer = scale.pick(600, 60), scale.pick(120, 12)
    work = f"one {seconds} s WAV, {CD}, to its receipt ({fewer} s for the tutorial)"
    case = Case("bulk-wav", work)
    with scratch() as folder:
        whole, part = noise(folder / "noise.wav", seconds), noise(folder / "part.wav", fewer)
        try:
            find_ffmpeg()
        except AbsentError as exc:
            case.absent[FFMPEG.name] = str(exc)

        def one(contender):
            sound = part if contender is TUTORIAL else whole
            figures = run(contender, [sound])
            return {FIGURE: figures["seconds"] * 60_000 / sound.seconds} | figures

        contenders = [NONE, DURABLE, BARE, WORK, DISK, RAW, FFMPEG, TUTORIAL]
        in_turn(case, contenders, scale.rounds, one)
    none, durable, bare = NONE.name, DURABLE.name, BARE.name
    tutorial, ffmpeg = TUTORIAL.name, FFMPEG.name

    def times(slow, fast):
        return case.ratio(slow, fast, FIGURE)

    case.goal("store none: times as fast as the tutorial", times(tutorial, none), least=100)
    case.goal("store none: part of the bare library's speed", times(bare, none), least=0.7)
    with_work = "store none: part of the speed of the bare library with the work"
    case.goal(with_work, times(WORK.name, none))
    case.goal("durable: times as fast as the tutorial", times(tutorial, durable), least=60)
    case.goal("durable: times as fast as ffmpeg over TCP", times(ffmpeg, durable), least=2)
    case.goal("durable: part of the disk's speed alone", times(DISK.name, durable))
    case.goal("the disk alone: times as fast as ffmpeg over TCP", times(ffmpeg, DISK.name))
    return case


def flac(scale):
    """Against the decoder."""
    seconds = scale.pick(600, 60)
    case = Case("bulk-flac", f"one {seconds} s FLAC, {CD}, to its receipt")
    with scratch() as folder:
        sound = noise(folder / "noise.flac", seconds)
        in_turn(case, [NONE, DURABLE, DECODER], scale.rounds, lambda each: run(each, [sound]))
    for ours in (NONE.name, DURABLE.name):
        reached = case.ratio(DECODER.name, ours)
        case.goal(f"{ours}: part of soundfile's speed", reached, least=0.9)
    return case
