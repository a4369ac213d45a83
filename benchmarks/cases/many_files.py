"""Many short files: many-files."""

from benchmarks.audio import noise
from benchmarks.contenders.limits import DISK_MANY
from benchmarks.contenders.ours import FOLDER
from benchmarks.contenders.tutorial import TUTORIAL
from benchmarks.results import Case
from benchmarks.rounds import in_turn, run, scratch

FIGURE = "ms per file"


def many(scale):
    """A folder, against the tutorial's client in a loop, which is slow and gets fewer files."""
    files, fewer = scale.pick(1000, 100), scale.pick(50, 20)
    work = f"{files} WAVs of 1 s, 16 bit stereo at 44.1 kHz ({fewer} for the tutorial)"
    case = Case("many-files", work)
    with scratch() as folder:
        sounds = [noise(folder / f"{number:04}.wav", 1, seed=number) for number in range(files)]

        def one(contender):
            chosen = sounds[:fewer] if contender is TUTORIAL else sounds
            figures = run(contender, chosen)
            return {FIGURE: figures["seconds"] * 1000 / len(chosen)} | figures

        in_turn(case, [FOLDER, DISK_MANY, TUTORIAL], scale.few(3), one)
    reached = case.ratio(TUTORIAL.name, FOLDER.name, FIGURE)
    case.goal("times as fast as the tutorial's client, for each file", reached, least=15)
    return case
