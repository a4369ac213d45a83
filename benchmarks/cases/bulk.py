"""One long file to its receipt: bulk-wav and bulk-flac."""

from benchmarks.audio import noise
from benchmarks.contenders import AbsentError
from benchmarks.contenders.bare import BARE
from benchmarks.contenders.decoder import DECODER
from benchmarks.contenders.ours import DURABLE, NONE
from benchmarks.contenders.tcp import FFMPEG, RAW, find_ffmpeg
from benchmarks.contenders.tutorial import TUTORIAL
from benchmarks.results import Case
from benchmarks.rounds import in_turn, run, scratch

CD = "16 bit stereo at 44.1 kHz"


def wav(scale):
    """Against everything that there is."""
    seconds = scale.pick(600, 60)
    case = Case("bulk-wav", f"one {seconds} s WAV, {CD}, to its receipt")
    with scratch() as folder:
        sound = noise(folder / "noise.wav", seconds)
        contenders = [NONE, DURABLE, BARE, RAW, FFMPEG, TUTORIAL]
        try:
            find_ffmpeg()
        except AbsentError as exc:
            case.absent[FFMPEG.name] = str(exc)
        in_turn(case, contenders, scale.rounds, lambda each: run(each, [sound]))
    none, durable, bare = NONE.name, DURABLE.name, BARE.name
    tutorial, ffmpeg = TUTORIAL.name, FFMPEG.name
    case.goal("store none: times as fast as the tutorial", case.ratio(tutorial, none), least=100)
    case.goal("store none: part of the bare library's speed", case.ratio(bare, none), least=0.7)
    case.goal("durable: times as fast as the tutorial", case.ratio(tutorial, durable), least=60)
    case.goal("durable: times as fast as ffmpeg over TCP", case.ratio(ffmpeg, durable), least=2)
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
