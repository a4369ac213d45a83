"""Damaged files: the sender sends each, or names it with the reason, and survives all of them."""

import json
import re

from tests.support.commands import COMMANDS, sent, started
from tests.support.mutations import make_bases, mutate
from tests.support.recorder import Recorder, listening

NAMES = (
    *("s16.wav", "ima.wav", "s24.aiff", "s16.flac", "vorbis.ogg", "layer3.mp3", "alac24.caf"),
    *("aac.m4a", "opus.webm", "wma.wma", "flac16.oga"),
)


def write_mutations(folder, seeds, names=NAMES):
    """Write a damaged file for each seed; return the folder."""
    bases = make_bases(folder / "bases", names)
    (folder / "files").mkdir()
    for seed in seeds:
        name, data = mutate(bases, seed)
        (folder / "files" / name).write_bytes(data)
    return folder / "files"


async def probe_and_send(folder, files):
    """Probe all files with counts, then send them; both programs must end well."""
    limits = ("--decode-wall-seconds", "10", "--decode-cpu-seconds", "10")
    paths = sorted(files.iterdir())
    looking = (COMMANDS / "sender", "probe", "--count", "--output", "json", *limits, *paths)
    async with started(*looking) as program:
        assert await program.ended() in (0, 1)
    found = [json.loads(line) for line in program.lines]
    assert not program.errors

    report, recorder = folder / "report.jsonl", Recorder()
    async with listening(recorder) as running:
        program, code = await sent(*paths, "--to", running.url, "--report", report, *limits)
    assert code in (0, 1)
    outcomes = {line["name"]: line for line in map(json.loads, report.read_text().splitlines())}
    return {each["name"]: (each, outcomes[each["name"]]) for each in found}


async def test_mutated_files_are_sent_or_named(tmp_path):
    """Each counted frame arrives; `send` refuses the same files as `probe`, for the same reason."""
    files = write_mutations(tmp_path, range(8))
    both = await probe_and_send(tmp_path, files)

    assert 8 == len(both)
    require_agreement(both)


def place(error):
    """
    Return the text of an error up to its frame.

    ffmpeg's demuxer and decoder are threads, so the text after the frame differs between runs.
    """
    found = re.match(r".* at frame \d+: ", error)
    return found[0] if found else error


def require_agreement(both):
    """Require that both commands say the same of each file, in one line."""
    for name, (found, outcome) in both.items():
        if "error" in found:
            assert "failed" == outcome["result"]
            assert place(f"{name}: {found['error']}") == place(outcome["error"])
            assert "\n" not in found["error"]
        else:
            assert ("sent", None) == (outcome["result"], outcome["error"])
            assert found["frames"] == outcome["receipt"]["frames"]
    results = {outcome["result"] for _, outcome in both.values()}
    assert {"sent", "failed"} == results, "mutations that do nothing, or destroy everything"
